"""What a step learns from: trajectories of all processes, credited as one batch.

Every process samples whole groups of its own. Credit and reports are taken over the groups of all
processes together, so that an algorithm sees one batch, however many processes share it.
"""

from collections.abc import Callable, Sequence

from agents.core.algorithm import Algorithm, Group
from agents.core.credit import shaped
from agents.core.trainer import distributed
from agents.core.trainer.dynamic_sampling import resampled
from agents.core.trainer.options import Training, check_scorable
from agents.core.trainer.weight_sync import Sampler
from agents.core.types import Trajectory
from torl_env.problems.types import Problem

Log = Callable[[dict[str, float]], None]
"""Takes numbers for the metrics of the step."""


class Collector:
    """Samples the trajectories of a step and says how they are credited.

    Args:
        algorithm: Credit.
        training: Sizes.
        problems: Of the whole training, in the order of their use.
        sampler: Samples.
        log: Takes numbers of what dynamic sampling did.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        training: Training,
        problems: Sequence[Problem],
        sampler: Sampler,
        log: Log,
    ) -> None:
        self._algorithm, self._training, self._problems = algorithm, training, problems
        self._sampler, self._log = sampler, log
        self.own: list[Trajectory] = []
        """The trajectories of this process."""
        self.all: list[Trajectory] = []
        """Those of all processes, in the order of the problems."""
        self.branches: list[Trajectory] = []
        """What was sampled from inside them, by all processes."""
        self.first = 0
        """Index of the step's first problem."""

    def collect(self, indices: Sequence[int], seed: int, step: int) -> list[Trajectory]:
        """Sample for this process.

        Args:
            indices: The problem of each row, group by group.
            seed: Of this step.
            step: Its number, for messages.

        Raises:
            RuntimeError: A group is split over processes.
            TrainingError: Nothing can be scored, in any process.
        """
        size = self._training.group_size
        problems = [self._problems[index] for index in indices[::size]]
        if len(indices) % size or any(
            self._problems[index] is not problems[i // size] for i, index in enumerate(indices)
        ):
            raise RuntimeError(
                "a group is split over processes: make the rows of a process "
                "(micro_batch x accumulation) a multiple of group_size"
            )
        everyone = distributed.gather(list(indices))
        self.first = min(everyone)
        rows = self._sampler.collect(problems, size, seed)
        self.own = self._resampled(rows, everyone, seed, step)
        self.all = distributed.gather(self.own)
        check_scorable(self.all, step)
        return self.own

    def credit(self) -> list[list[float]]:
        """An advantage for each id of this process's trajectories."""
        credit = self._algorithm.assign_credit(self._shaped(self.groups(self.all)))
        start = distributed.rank() * len(self.own)
        return credit[start : start + len(self.own)]

    def paid(self) -> list[Trajectory]:
        """This process's trajectories with what the algorithm adds to their rewards."""
        return [t for group in self._shaped(self.groups(self.own)) for t in group]

    def shaping_metrics(self) -> dict[str, float]:
        """The mean reward with all that is added to it, where anything is."""
        if not self._algorithm.shaping:
            return {}
        paid = [
            t.reward for group in self._shaped(self.groups(self.all)) for t in group if t.scorable
        ]
        return {"reward_shaped": sum(paid) / len(paid)}

    def _shaped(self, groups: Sequence[Group]) -> list[Group]:
        return [shaped(group, self._algorithm.shaping) for group in groups]

    def groups(self, rows: Sequence[Trajectory]) -> list[Group]:
        """Rows as groups."""
        size = self._training.group_size
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    def _resampled(
        self, rows: list[Trajectory], everyone: Sequence[int], seed: int, step: int
    ) -> list[Trajectory]:
        """Dynamic sampling: groups of other problems in place of those that teach nothing.

        Processes take turns in choosing.
        """
        if not self._algorithm.resample:
            return rows
        spare = self._spare(everyone, step)
        found = resampled(
            self.groups(rows),
            self._has_signal,
            lambda some: self.groups(self._sampler.collect(some, self._training.group_size, seed)),
            spare[distributed.rank() :: distributed.world_size()],
            self._algorithm.resample,
        )
        self._log(
            {
                "groups_resampled": sum(distributed.gather([found.replaced])),
                "groups_zero_variance": sum(distributed.gather([found.zero_variance])),
            }
        )
        return [t for group in found.groups for t in group]

    def _spare(self, everyone: Sequence[int], step: int) -> list[Problem]:
        """Problems to put in place of others, fresh ones first.

        Fresh are those behind the schedule, of which each step has a stretch of its own. Those that
        the schedule holds anyway, the next first, serve where there are no fresh ones left.
        """
        planned = self._training.steps * self._training.prompts_per_step
        fresh = self._problems[planned:]
        wanted = self._algorithm.resample * self._training.prompts_per_step
        start = (step - 1) * wanted % max(1, len(fresh))
        after, seen = max(everyone) + 1, {self._problems[i].id for i in everyone}
        order = (
            *fresh[start : start + wanted],
            *self._problems[after:planned],
            *self._problems[: min(everyone)],
        )
        return [p for p in {p.id: p for p in order}.values() if p.id not in seen]

    def _has_signal(self, group: Group) -> bool:
        return any(any(credit) for credit in self._algorithm.assign_credit(self._shaped([group])))
