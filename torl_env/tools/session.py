"""One episode's interpreter: opened when first used, branched alive or replayed from its log."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from torl_env.errors import SandboxError
from torl_env.sandbox.types import Execution, Limits, Session, Status


class LoggedTurn(NamedTuple):
    """A program that an interpreter has run."""

    code: str
    ok: bool = True
    """Whether it ended well; the variables of one that did not were rolled back, its files stay."""


class CodeSession:
    """A lazily opened `Session` with the log that can rebuild it.

    Args:
        open_session: Opens a fresh interpreter.
        log: Turns to run first, in order; each has to end as it did.
        live: An interpreter that has already run the log; this object closes it.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        log: tuple[LoggedTurn, ...] = (),
        live: Session | None = None,
    ) -> None:
        self._open_session = open_session
        self._log = log
        self._live = live
        self._lock = threading.Lock()
        self._running = False
        self._closed = False

    @property
    def log(self) -> tuple[LoggedTurn, ...]:
        """Turns that made the present variables and files: all that have run since a restart."""
        return self._log

    def run(self, code: str, limits: Limits) -> tuple[Execution, bool]:
        """Run `code`; the flag says whether earlier variables were lost.

        Raises:
            SandboxError: The machine failed, or a turn of the log ended otherwise than it did.
        """
        with self._lock:
            self._running = True
        try:
            live = self._interpreter(limits)
            if self._closed:
                raise SandboxError("the session was closed before its turn began")
            execution = live.run(code, limits)
            lost = live.restarted and any(turn.ok for turn in self._log)
            if live.restarted:
                self._log = ()
            # What does not compile has done nothing. Every other failure may have left files.
            left_nothing = live.restarted or execution.status is Status.SYNTAX_ERROR
            if execution.ok or not left_nothing:
                self._log = (*self._log, LoggedTurn(code, execution.ok))
            return execution, lost
        finally:
            with self._lock:
                self._running = False
                closed = self._closed
            if closed:
                self.close()

    def _interpreter(self, limits: Limits) -> Session:
        if self._live is None:
            live = self._open_session()
            try:
                for number, turn in enumerate(self._log):
                    _replay(live, turn, number, limits)
            except BaseException:
                live.close()
                raise
            self._live = live
        return self._live

    def branch(self, open_session: Callable[[], Session] | None = None) -> "CodeSession":
        """An independent copy: a copy of the live interpreter, or a replay when next used.

        Args:
            open_session: Opens an interpreter for the copy, should it have to be built again; by
                default that of the original, which may be closed by then.
        """
        live = None
        if self._live is not None:
            # A backend that cannot copy a live interpreter leaves it to the replay.
            with suppress(SandboxError):
                live = self._live.branch()
        return CodeSession(open_session or self._open_session, self._log, live)

    def renewed(self, log: tuple[LoggedTurn, ...]) -> "CodeSession":
        """End the interpreter and get a session that begins with a replay.

        What a thread may still be doing with this one cannot reach the new one.

        Args:
            log: As it was before what shall be undone.
        """
        self.close()
        return CodeSession(self._open_session, log)

    def close(self) -> None:
        """End the interpreter and kill the turn that runs in it; never waits; idempotent."""
        with self._lock:
            self._closed = True
            live, running = self._live, self._running
            if not running:
                self._live = None
        if live is None:
            return
        if running:
            # The end of a turn is waited for, and who closes may be an event loop.
            threading.Thread(target=live.close, name="torl-close", daemon=True).start()
        else:
            live.close()


def _replay(live: Session, turn: LoggedTurn, number: int, limits: Limits) -> None:
    """Run a turn again; only its outcome is looked at, for the transcript has its result already.

    A turn that just kept within its limits must not fail on a slower machine, so it has more time.
    """
    if turn.ok:
        limits = replace(
            limits, cpu_seconds=2 * limits.cpu_seconds, wall_seconds=2 * limits.wall_seconds
        )
    execution = live.run(turn.code, limits)
    if execution.ok is not turn.ok or live.restarted:
        ended = f"{execution.status} {execution.error}".strip()
        raise SandboxError(
            f"an interpreter cannot be rebuilt: turn {number + 1} of its log, which "
            f"{'ended well' if turn.ok else 'failed'}, now ended with: {ended}"
        )
