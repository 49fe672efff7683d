"""Going on from inside an episode: where to, and who samples it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agents.core.types import Trajectory
from torl_env import EnvState, Parser
from torl_env.problems.types import Problem


@dataclass(frozen=True, slots=True)
class Point:
    """A place in an episode to go on from: the ids kept, and the environment as it was there.

    The environment stands before the turn that is being written; the ids may hold the beginning of
    that turn, so that it goes on in its middle.
    """

    trajectory: Trajectory
    """The episode that is left here."""
    turn: int
    """Index of the turn that is written anew; one past the last for a turn of its own."""
    keep: int
    """How many of the trajectory's ids stay; at least those before the turn."""
    before: Sequence[EnvState]
    """The environment before each earlier turn; empty where they are not kept."""
    state: EnvState
    """The environment before this turn."""
    attempt: int = 0
    """Which try this is; others sample other ids."""

    def __post_init__(self) -> None:
        turns = self.trajectory.turns
        end = turns[self.turn].end if self.turn < len(turns) else len(self.trajectory.ids)
        if not self.turn_start <= self.keep <= end:
            raise ValueError(
                f"a cut lies inside its own turn, ids {self.turn_start} to {end}, never inside "
                f"tool output: got {self.keep}"
            )

    @property
    def name(self) -> str:
        """What the random streams of its continuations are named after.

        With the ids of the episode that is left: the same turn of another sample of a problem that
        comes twice, or of what was written after a correction, is another place.
        """
        left = self.trajectory
        said = hashlib.sha256(repr(tuple(left.ids)).encode()).hexdigest()[:16]
        return f"{left.sample}/{said}/{self.turn}/{self.attempt}"

    @property
    def turn_start(self) -> int:
        """Index of the first id of the turn."""
        turns = self.trajectory.turns
        return turns[self.turn].start if self.turn < len(turns) else len(self.trajectory.ids)

    @property
    def problem(self) -> Problem:
        """The problem of the episode.

        Raises:
            ValueError: The state was read from JSON, which holds no problem.
        """
        if self.state.problem is None:
            raise ValueError("a state to go on from holds its problem: take it from a rollout")
        return self.state.problem


class Brancher(Protocol):
    """Samples continuations."""

    @property
    def tokenizer(self) -> Any:
        """Between text and ids, of the policy."""
        ...

    @property
    def parser(self) -> Parser:
        """How the environment reads calls."""
        ...

    def states(self, trajectory: Trajectory) -> Sequence[EnvState]:
        """The environment before each turn of a trajectory of this step."""
        ...

    def branch(
        self, points: Sequence[Point], samples: int, seed: int, *, to_end: bool = False
    ) -> list[Trajectory]:
        """`samples` continuations of each point, grouped by point.

        Args:
            points: Where to leave earlier episodes of this step.
            samples: Of each.
            seed: Of this batch.
            to_end: Go on to the end of the episode; else it is left after the turn of the point.

        Returns:
            Whole trajectories, what was kept included; `states` knows them too.
        """
        ...


def point_at(
    trajectory: Trajectory, index: int, keep: int, states: Sequence[EnvState], attempt: int = 0
) -> Point:
    """The place before turn `index` with `keep` ids, given the states before all turns."""
    return Point(trajectory, index, keep, tuple(states[:index]), states[index], attempt)


def turn_of(trajectory: Trajectory, keep: int) -> int:
    """Index of the turn that goes on after the first `keep` ids.

    Where a turn begins there, it is that one, which is then written as a whole.

    Raises:
        ValueError: The next id is none that the policy sampled.
    """
    for i, turn in enumerate(trajectory.turns):
        if turn.start <= keep < turn.end:
            return i
    raise ValueError(f"expected a place before a sampled id, got {keep} ids kept")


def turn_row(trajectory: Trajectory, index: int, keep: int) -> Trajectory:
    """Turn `index` as a row of its own: everything before id `keep` becomes its prompt.

    Nothing before `keep` can then be trained on, nor anything after the turn.
    """
    turn = trajectory.turns[index]
    kept = slice(keep, turn.end)
    return replace(
        trajectory,
        prompt_ids=(*trajectory.prompt_ids, *trajectory.ids[:keep]),
        ids=trajectory.ids[kept],
        loss_mask=trajectory.loss_mask[kept],
        logprobs=trajectory.logprobs[kept],
        turns=(replace(turn, start=0, end=turn.end - keep),),
    )
