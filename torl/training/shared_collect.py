"""An evaluation whose answers are written by all processes of a training."""

from collections.abc import Iterator, Sequence

from agents.core.trainer import distributed
from agents.core.types import Trajectory
from benchmarks.heldout.evaluate import Collect
from torl_env.problems.types import Problem


class SharedCollect:
    """In the first process what an evaluation asks; in the others what follows its questions.

    Problems are dealt out like cards, so that processes have similar ones; what a row samples
    depends on its problem and sample alone, so the answers are those that one process would give.

        if distributed.is_main():
            with shared:
                evaluate(shared, problems, ...)
        else:
            shared.follow()

    Args:
        collect: Answers in this process.
    """

    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def __call__(self, problems: Sequence[Problem], k: int, seed: int) -> Iterator[Trajectory]:
        """`k` answers to each problem, in the order of the problems; only in the first process."""
        distributed.broadcast((list(problems), k, seed))
        yield from self._answers(problems, k, seed)

    def follow(self) -> None:
        """Answer this process's share of every question, until the first one asks no more."""
        nothing: tuple[list[Problem], int, int] | None = None
        while (asked := distributed.broadcast(nothing)) is not None:
            self._answers(*asked)

    def _answers(self, problems: Sequence[Problem], k: int, seed: int) -> list[Trajectory]:
        first, step = distributed.rank(), distributed.world_size()
        own = problems[first::step]
        rows = distributed.gather(list(self._collect(own, k, seed)) if own else [])
        place = {problem.id: i for i, problem in enumerate(problems)}
        return sorted(rows, key=lambda t: (place[t.problem_id], t.sample))

    def __enter__(self) -> "SharedCollect":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Let the others go on; after an error they hear of it by `distributed.watched`."""
        if error is None:
            distributed.broadcast(None)
