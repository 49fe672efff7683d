"""One episode's interpreter: opened when first used, branched alive or replayed from its log."""

import threading
from collections.abc import Callable
from contextlib import suppress

from torl_env.errors import SandboxError
from torl_env.sandbox.types import Execution, Limits, Session


class CodeSession:
    """A lazily opened `Session` with the log that can rebuild it.

    Args:
        open_session: Opens a fresh interpreter.
        log: Programs to run first, in order; their results are dropped.
        live: An interpreter that has already run the log; this object closes it.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        log: tuple[str, ...] = (),
        live: Session | None = None,
    ) -> None:
        self._open_session = open_session
        self._log = log
        self._live = live
        self._lock = threading.Lock()
        self._running = False
        self._closed = False

    @property
    def log(self) -> tuple[str, ...]:
        """Programs that made the present variables: the ones that ended well since a restart."""
        return self._log

    def run(self, code: str, limits: Limits) -> tuple[Execution, bool]:
        """Run `code`; the flag says whether earlier variables were lost."""
        with self._lock:
            self._running = True
        try:
            live = self._interpreter(limits)
            execution = live.run(code, limits)
            lost = live.restarted and bool(self._log)
            if live.restarted:
                self._log = ()
            # A failed turn is rolled back by the session, so that a replay leaves it out.
            if execution.ok:
                self._log = (*self._log, code)
            return execution, lost
        finally:
            with self._lock:
                self._running = False
                closed = self._closed
            if closed:
                self.close()

    def _interpreter(self, limits: Limits) -> Session:
        if self._live is None:
            self._live = self._open_session()
            # Results are dropped: they are in the transcript already.
            for code in self._log:
                self._live.run(code, limits)
        return self._live

    def branch(self) -> "CodeSession":
        """An independent copy: a copy of the live interpreter, or a replay when next used."""
        live = None
        if self._live is not None:
            # A backend that cannot copy a live interpreter leaves it to the replay.
            with suppress(SandboxError):
                live = self._live.branch()
        return CodeSession(self._open_session, self._log, live)

    def renewed(self) -> "CodeSession":
        """End the interpreter and get a session that begins with a replay of the log.

        What a thread may still be doing with this one cannot reach the new one.
        """
        log = self._log
        self.close()
        return CodeSession(self._open_session, log)

    def close(self) -> None:
        """End the interpreter, after the turn that it may be running; never waits; idempotent."""
        with self._lock:
            self._closed = True
            if self._running:
                return
            live, self._live = self._live, None
        if live is not None:
            live.close()
