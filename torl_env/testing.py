"""Small real parts for the tests of people who build on the environment: no mocks, no isolation."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from torl_env.errors import SandboxError
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox.types import Execution, Limits, Session, Status


def problem_list(pairs: Iterable[tuple[str, str]], name: str = "list") -> Listed:
    """A source of (question, answer) pairs with the ids `name-0`, `name-1`, ..."""
    return Listed(
        name, [Problem(f"{name}-{i}", q, a, source=name) for i, (q, a) in enumerate(pairs)]
    )


class SubprocessSandbox:
    """A fresh `python -c` for each call, without any isolation: for trusted programs in tests.

    Sessions run the log of the session again before each call, so they are slow and simple.
    """

    def __init__(self, workers: int = 8) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="test-sandbox")
        self._children: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one program and wait."""
        limits = limits or Limits()
        started = time.monotonic()
        if self._closed:
            raise SandboxError("the sandbox is closed")
        child = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                "import sys; exec(sys.stdin.read(), {'__name__': '__main__'})",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        with child, self._tracked(child):
            try:
                out, err = child.communicate(code, timeout=limits.wall_seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
                return Execution(Status.TIMEOUT, out, err, "the program ran out of time")
        if self._closed:
            raise SandboxError("the sandbox was closed while the program ran")
        return _execution(child.returncode, out, err, time.monotonic() - started)

    def _tracked(self, child: "subprocess.Popen[str]") -> "_Tracked":
        return _Tracked(self._children, self._lock, child)

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start one program."""
        return self._pool.submit(self.run, code, limits)

    def session(self, limits: Limits | None = None) -> "ReplaySession":
        """Open an interpreter that keeps its variables by running all programs again."""
        return ReplaySession(lambda code: self.run(code, limits))

    def close(self) -> None:
        """Kill what runs; idempotent."""
        self._closed = True
        with self._lock:
            for child in self._children:
                child.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Tracked:
    """Keeps a child in a set while it runs."""

    def __init__(
        self,
        children: "set[subprocess.Popen[str]]",
        lock: threading.Lock,
        child: "subprocess.Popen[str]",
    ) -> None:
        self._children, self._lock, self._child = children, lock, child

    def __enter__(self) -> None:
        with self._lock:
            self._children.add(self._child)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._children.discard(self._child)


def _execution(returncode: int, out: str, err: str, wall: float) -> Execution:
    if returncode == 0:
        return Execution(Status.OK, out, err, wall_seconds=wall)
    last = (err.strip().splitlines() or [f"exit code {returncode}"])[-1]
    status = Status.SYNTAX_ERROR if last.startswith("SyntaxError") else Status.ERROR
    return Execution(status, out, err, last, exit_code=returncode, wall_seconds=wall)


class ReplaySession:
    """A session over any `run`: earlier programs run again, silently, before each new one."""

    def __init__(self, run: Callable[[str], Execution], log: tuple[str, ...] = ()) -> None:
        self._run, self._log = run, log
        self.restarted = False

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run `code` with the variables of the log."""
        lines = ["import io, sys", "_out, sys.stdout = sys.stdout, io.StringIO()"]
        lines += [f"exec({earlier!r}, globals())" for earlier in self._log]
        execution = self._run(
            "\n".join([*lines, "sys.stdout = _out", f"exec({code!r}, globals())"])
        )
        if execution.ok:
            self._log = (*self._log, code)
        return execution

    def branch(self) -> Session:
        """An independent copy."""
        return ReplaySession(self._run, self._log)

    def close(self) -> None:
        """Forget everything."""
        self._log = ()


class FaultySandbox(SubprocessSandbox):
    """Fails as a machine does, by `SandboxError`, in chosen calls.

    Args:
        faults: Tells from the program and from the number of its tries so far whether to fail.
    """

    def __init__(self, faults: Callable[[str, int], bool], workers: int = 8) -> None:
        super().__init__(workers)
        self._faults = faults
        self.tries: dict[str, int] = {}

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run, or fail."""
        with self._lock:
            tries = self.tries[code] = self.tries.get(code, 0) + 1
        if self._faults(code, tries):
            raise SandboxError("a worker was killed")
        return super().run(code, limits)
