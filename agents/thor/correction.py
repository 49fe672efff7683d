"""Self-correction at inference: a failed step is taken back and written again.

THOR (arXiv 2509.13761, section 2.4) goes back to the prefix and the untouched part of the thought,
and samples the rest of the step anew, up to four times for each failed call. The environment goes
back with it, so a call that is taken back is not charged to the tool budget; what it has cost is
accounted for here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agents.core.rollout.branching import Point, point_at
from agents.core.rollout.engine import Rollout
from agents.core.types import Trajectory
from agents.thor.cutting import Repair, cut
from torl_env import EnvState, StepResult
from torl_env.problems.types import Problem


@dataclass(frozen=True, slots=True)
class Correction:
    """How to correct."""

    repair: Repair = Repair.SUFFIX
    """What to take back (THOR: the suffix of the step)."""
    suffix_tokens: int = 100
    """L_suf (THOR: 100, for long reasoning 500)."""
    tries: int = 4
    """N_corr, for each failed call (THOR: 4). After them the episode goes on with the error."""

    def __post_init__(self) -> None:
        # By its name too, as the command line and a reader of the page give it.
        object.__setattr__(self, "repair", Repair(self.repair))
        if self.tries < 0 or self.suffix_tokens < 0:
            raise ValueError(
                f"tries and suffix_tokens must be >= 0, got {self.tries} and {self.suffix_tokens}"
            )


@dataclass(slots=True)
class Account:
    """What an episode has cost beside what is left of it."""

    tries: int = 0
    discarded_tokens: int = 0
    """Sampled ids that were taken back."""
    discarded_calls: int = 0
    """Programs that ran and were taken back, or were not charged."""


class SelfCorrecting:
    """Collects as a `Rollout` does, with failed calls corrected.

    Args:
        rollout: With `keep_states`; its environment should not end episodes at failures.
        how: The correction.

    Raises:
        ValueError: The rollout keeps no states, or samples greedily, which would write the same
            failure again.
    """

    def __init__(self, rollout: Rollout, how: Correction | None = None) -> None:
        self.how = how or Correction()
        if not rollout.keep_states:
            raise ValueError("self-correction goes back: make the rollout with keep_states=True")
        if rollout.sampling.temperature == 0 and self.how.repair is not Repair.SHOWN:
            raise ValueError(
                "a greedy policy writes the same failure again: set a temperature above 0, or "
                "repair='shown'"
            )
        self.rollout = rollout
        self.accounts: list[Account] = []
        """Of the last batch, in the order of its trajectories."""

    def collect(
        self,
        problems: Sequence[Problem],
        group_size: int,
        seed: int,
        on_end: Callable[[Trajectory], None] = lambda trajectory: None,
    ) -> list[Trajectory]:
        """As `Rollout.collect`; see `accounts` for what was taken back."""
        rows = self.rollout.collect(problems, group_size, seed, until=_failed)
        self.accounts = [Account() for _ in rows]
        tried = [0] * len(rows)
        last_failure = [-1] * len(rows)
        while left := [i for i, row in enumerate(rows) if not row.stop_reason]:
            points = []
            for i in left:
                place = len(rows[i].turns) - 1
                # Where nothing is taken back, a chain of failures is one failure tried again.
                if self._is_new(rows[i], last_failure[i]):
                    tried[i] = 0
                last_failure[i] = place
                points.append(self._point(rows[i], self.accounts[i], tried[i]))
                tried[i] += 1
            for i, row in zip(
                left, self.rollout.go_on(points, 1, seed, until=_failed), strict=True
            ):
                rows[i] = row
        self.rollout.forget()
        for row in rows:
            on_end(row)
        return rows

    def _is_new(self, row: Trajectory, last_failure: int) -> bool:
        place = len(row.turns) - 1
        if self.how.repair is Repair.SHOWN:
            return place != last_failure + 1
        return place != last_failure

    def _point(self, row: Trajectory, account: Account, tried: int) -> Point:
        """Where a row that has just failed goes on."""
        states, place = self.rollout.states(row), len(row.turns) - 1
        after = Point(row, place + 1, len(row.ids), tuple(states[:-1]), states[-1], tried)
        if tried >= self.how.tries:
            return after
        account.tries += 1
        account.discarded_calls += 1
        if self.how.repair is Repair.SHOWN:
            return replace(after, state=_uncharged(states[-1]))
        tokenizer = self.rollout.policy.tokenizer
        how = (tokenizer, self.how.repair, self.how.suffix_tokens, self.rollout.parser)
        keep = cut(row, row.turns[place], *how)
        account.discarded_tokens += sum(row.loss_mask[keep:])
        return replace(point_at(row, place, keep, states), attempt=tried + 1)


def _failed(result: StepResult) -> bool:
    """Whether the step's call failed through the model's own fault."""
    return result.info["tool_status"] not in ("", "ok")


def _uncharged(state: EnvState) -> EnvState:
    """The state without the last call on its bill."""
    episode = state.episode
    return replace(state, episode=replace(episode, tool_calls=episode.tool_calls - 1))
