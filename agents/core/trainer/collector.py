"""What a step learns from: trajectories of all processes, credited as one batch.

Every process samples whole groups of its own. Credit and reports are taken over the groups of all
processes together, so that an algorithm sees one batch, however many processes share it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from agents.core.algorithm import Algorithm, Group
from agents.core.credit import shaped
from agents.core.credit.trees import counted_once
from agents.core.curriculum import Pools
from agents.core.downsampling import kept_metrics, resample_on_correct
from agents.core.replay import Memory
from agents.core.rollout.trees import TreeSampler, check_tree, collect_trees, tree_metrics
from agents.core.trainer import distributed
from agents.core.trainer.async_sampler import AsyncSampler, staleness
from agents.core.trainer.dynamic_sampling import resampled
from agents.core.trainer.options import Training, check_credit, check_scorable
from agents.core.trainer.weight_sync import Sampler
from agents.core.types import Trajectory
from torl_env.problems.types import Problem

Log = Callable[[dict[str, float]], None]
"""Takes numbers for the metrics of the step."""
_SEEDS = 1009
"""A seed of a step makes so many of single groups."""


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
        check_tree(algorithm, training)
        self._algorithm, self._training, self._problems = algorithm, training, problems
        self._sampler, self._log = sampler, log
        self.own: list[Trajectory] = []
        """The trajectories of this process."""
        self.all: list[Trajectory] = []
        """Those of all processes, in the order of the problems."""
        self.branches: list[Trajectory] = []
        """What was sampled from inside this process's trajectories."""
        self.sampled: list[Trajectory] = []
        """Those that were sampled in this step: all but replayed ones."""
        self.replayed: list[bool] = []
        """Which of this process's trajectories are from earlier steps."""
        self._offered: list[list[Trajectory]] = []
        """All samples of each group, where the algorithm keeps some of them."""
        self._kept: list[list[Trajectory]] = []
        """And those that it keeps."""
        self.epochs: Mapping[str, int] = {}
        """How often each problem was in an earlier step, by its id."""
        how = training.curriculum
        self._pools = Pools(how, problems) if how.on else None
        self._memory = Memory(training.replay)
        if training.staleness and not isinstance(sampler, AsyncSampler):
            raise ValueError(
                f"staleness {training.staleness} needs a sampler in a process of its own: expected "
                f"an AsyncSampler, got {type(sampler).__name__}"
            )
        self.oldest: int | None = None
        """The first version whose ids are learned from in this batch, where several sample."""
        self._begun: int | None = None
        """The last step whose groups are being sampled, where sampling runs ahead."""
        self._again: list[Problem] = []
        """What was in flight when the run that this one resumes ended."""

    def sampling(self) -> AbstractContextManager[None]:
        """Within this block what samples is there, in a process of its own where it has one."""
        if self._training.staleness:
            return cast(AsyncSampler, self._sampler).running()
        return nullcontext()

    def hand_over(self, model: Any, step: int) -> None:
        """Let a step be sampled with these weights, or go on to be."""
        if self._training.staleness:
            cast(AsyncSampler, self._sampler).publish(model, step - 1)
        else:
            self._sampler.sync(model)

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
        first = min(everyone)
        self.epochs = Counter(p.id for p in self._problems[:first])
        if self._pools is not None:
            self.epochs = Counter(self._pools.drawn)
        self._offered, self._kept = [], []
        if self._training.staleness:
            sampled = [t for group in self._ahead(step, seed) for t in group]
        else:
            if self._pools is not None:
                chosen = self._pools.choose(len(everyone) // size, seed)
                start = distributed.rank() * len(problems)
                problems = chosen[start : start + len(problems)]
            rows = [t for group in self._sampled(problems, seed) for t in group]
            sampled = self._resampled(rows, problems, everyone, seed, step)
        if self._algorithm.oversample > 1:
            # Here and not where a group is sampled: dynamic sampling does that in the processes
            # alone whose groups teach nothing, and the others would not come to the exchange.
            both = (self._offered, self._kept)
            self._log(kept_metrics(*(distributed.gather(_rows(groups)) for groups in both)))
        self.sampled = distributed.gather(sampled)
        self.own, self.replayed = self._memory.replayed(self.groups(sampled), step)
        self.all = distributed.gather(self.own)
        check_scorable(self.all, step)
        self._note(step)
        return self.own

    def _ahead(self, step: int, seed: int) -> list[Group]:
        """Begin the groups of later steps; take those of this one, which began some steps ago."""
        sampler = cast(AsyncSampler, self._sampler)
        training = self._training
        size = self._algorithm.oversample * training.group_size
        # Seeds of this step's batch and of the next ones; groups begin one by one.
        for i, problem in enumerate(self._again):
            sampler.begin(problem, size, -(_SEEDS * seed + i) - 1)
        self._again = []
        self._begun = step - 1 if self._begun is None else self._begun
        while self._begun < min(step + training.staleness, training.steps):
            later = seed + (self._begun + 1 - step) * training.optimizer_steps
            for i, problem in enumerate(self._drawn(self._begun + 1, later)):
                sampler.begin(problem, size, _SEEDS * later + i)
            self._begun += 1
        groups = [list(g) for g in sampler.take(training.prompts_per_step, training.late)]
        self._log(sampler.waits())
        rows, version = [t for group in groups for t in group], step - 1
        self.oldest = version - training.staleness
        self._log(staleness(rows, version, self.oldest))
        return self._chosen(groups, seed)

    def _drawn(self, step: int, seed: int) -> list[Problem]:
        """The problems of a step that has not come yet."""
        count = self._training.prompts_per_step
        if self._pools is not None:
            return self._pools.choose(count, seed)
        return list(self._problems[(step - 1) * count : step * count])

    def _note(self, step: int) -> None:
        """Tell curriculum and memory of what was sampled."""
        groups = self.groups(self.sampled)
        if self._pools is not None:
            self._pools.update(groups)
            self._log(self._pools.metrics())
        if self._training.replay.keep:
            self._memory.update(groups, step)
            count = float(sum(distributed.gather(self.replayed)))
            self._log({"replayed": count, "replay_size": float(len(self._memory))})
        if self._algorithm.tree_rule is not None:
            self._log(tree_metrics(self.sampled))

    def _sampled(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        """A group of each problem, of more samples than it keeps where the algorithm wants that."""
        size, times = self._training.group_size, self._algorithm.oversample
        if (tree := self._algorithm.tree_rule) is not None:
            rows = collect_trees(cast(TreeSampler, self._sampler), problems, size, seed, tree)
            return list(self.groups(rows))
        rows = self._sampler.collect(problems, times * size, seed)
        return self._chosen(
            [rows[i : i + times * size] for i in range(0, len(rows), times * size)], seed
        )

    def _chosen(self, groups: Sequence[list[Trajectory]], seed: int) -> list[Group]:
        """Of each group the samples that it keeps."""
        size = self._training.group_size
        if self._algorithm.oversample == 1:
            return list(groups)
        kept = [resample_on_correct(g, size, f"{seed}/{g[0].problem_id}") for g in groups]
        self._offered += groups
        self._kept += kept
        return list(kept)

    def state_dict(self) -> dict[str, Any]:
        """Of curriculum, memory and what is being sampled, for a checkpoint."""
        pools = {} if self._pools is None else self._pools.state_dict()
        state: dict[str, Any] = {"curriculum": pools, "replay": self._memory.state_dict()}
        if self._begun is not None:
            flying = cast(AsyncSampler, self._sampler).in_flight
            state["ahead"] = {"begun": self._begun, "in_flight": [p.id for p in flying]}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        if self._pools is not None:
            self._pools.load_state_dict(state["curriculum"])
        self._memory.load_state_dict(state["replay"])
        if "ahead" in state:
            known = {problem.id: problem for problem in self._problems}
            self._begun = state["ahead"]["begun"]
            self._again = [known[name] for name in state["ahead"]["in_flight"]]

    def advantages(self, ids_BT: Tensor) -> Tensor:
        """Of each id of this process's trajectories, 0 on padding: (B, T) as `ids_BT`."""
        groups = self.groups(self.all)
        credit = self._credit(groups)
        if (tree := self._algorithm.tree_rule) is not None:
            rows = iter(credit)
            parts = ((group, [next(rows) for _ in group]) for group in groups)
            credit = [row for group, own in parts for row in counted_once(group, own, tree.share)]
        start = distributed.rank() * len(self.own)
        advantages = torch.zeros(ids_BT.shape, device=ids_BT.device)
        for i, row in enumerate(credit[start : start + len(self.own)]):
            advantages[i, : len(row)] = torch.tensor(row)
        return advantages

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
        self,
        rows: list[Trajectory],
        problems: Sequence[Problem],
        everyone: Sequence[int],
        seed: int,
        step: int,
    ) -> list[Trajectory]:
        """Dynamic sampling: groups of other problems in place of those that teach nothing.

        Processes take turns in choosing.
        """
        if not self._algorithm.resample:
            return rows
        if self._pools is None:
            spare = self._spare(everyone, step)
        else:
            wanted = self._algorithm.resample * self._training.prompts_per_step
            there = [p.id for p in distributed.gather(list(problems))]
            spare = self._pools.choose(wanted, seed + 1, there)
        found = resampled(
            self.groups(rows),
            self._has_signal,
            lambda some: self._sampled(some, seed),
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
        return any(any(row) for row in self._credit([group]))

    def _credit(self, groups: Sequence[Group]) -> list[list[float]]:
        credit = self._algorithm.assign_credit(self._shaped(groups))
        check_credit(credit, groups)
        return credit


def _rows(groups: Sequence[Sequence[Trajectory]]) -> list[Trajectory]:
    return [t for group in groups for t in group]
