"""Small real parts for the tests of people who build on the environment: no mocks."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

from torl_env.errors import SandboxError
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox import SubprocessSandbox
from torl_env.sandbox.types import Execution, Limits


def problem_list(pairs: Iterable[tuple[str, str]], name: str = "list") -> Listed:
    """A source of (question, answer) pairs with the ids `name-0`, `name-1`, ..."""
    return Listed(
        name, [Problem(f"{name}-{i}", q, a, source=name) for i, (q, a) in enumerate(pairs)]
    )


def children(pid: int) -> list[int]:
    """Processes that any thread of this one has started and that are there; Linux only."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        # It, or a thread of it, has ended while it was looked at.
        return found
    return found


def descendants(pid: int) -> list[int]:
    """Its children, their children, and so on, parents first."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


class FaultySandbox(SubprocessSandbox):
    """Fails as a machine does, by `SandboxError`, in chosen calls.

    Args:
        faults: Says from the program and from the number of its tries so far whether to fail.
        concurrency: Programs at once.
    """

    def __init__(self, faults: Callable[[str, int], bool], concurrency: int = 8) -> None:
        super().__init__(concurrency=concurrency)
        self._faults = faults
        self.tries: dict[str, int] = {}

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start the program, or fail in its place."""
        self.tries[code] = self.tries.get(code, 0) + 1
        if not self._faults(code, self.tries[code]):
            return super().submit(code, limits)
        failed: Future[Execution] = Future()
        failed.set_exception(SandboxError("a worker was killed"))
        return failed
