"""Sessions for sandboxes that keep nothing: every turn runs the earlier ones again, in silence."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from torl_env.errors import SandboxError
from torl_env.sandbox.types import Execution, Limits

_REPLAY: Final = """
import contextlib, io
_space = {{"__name__": "__main__"}}
for _turn in {turns!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(_turn, "<program>", "exec"), _space)
exec(compile({code!r}, "<program>", "exec"), _space)
"""


class ReplaySession:
    """Keeps the log of successful turns and no process.

    A turn costs what all turns before it cost, and what draws on time or chance outside the seeded
    generators may differ from run to run.

    Args:
        run: Of the sandbox.
        limits: For turns that give none; CPU and wall seconds grow with the length of the log.
    """

    restarted = False
    """Variables are never lost."""

    def __init__(self, run: Callable[[str, Limits], Execution], limits: Limits) -> None:
        self._run = run
        self._limits = limits
        self._log: list[str] = []
        self._lock = threading.Lock()
        self._closed = False

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one turn after all earlier ones."""
        with self._lock:
            self._check_open()
            wanted = limits if limits is not None else self._limits
            if not self._log:
                result = self._run(code, wanted)
            else:
                program = _REPLAY.format(turns=self._log, code=code)
                result = self._run(program, _longer(wanted, len(self._log) + 1))
            if result.ok:
                self._log.append(code)
            return result

    def branch(self) -> "ReplaySession":
        """A session with the same log."""
        self._check_open()
        other = ReplaySession(self._run, self._limits)
        other._log = list(self._log)
        return other

    def close(self) -> None:
        """Forget the log; idempotent."""
        self._closed = True
        self._log = []

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxError("the session is closed")


def _longer(limits: Limits, times: int) -> Limits:
    return replace(
        limits,
        cpu_seconds=limits.cpu_seconds * times,
        wall_seconds=limits.wall_seconds * times,
    )
