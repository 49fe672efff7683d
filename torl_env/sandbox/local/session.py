"""A session of the local sandbox, from the client's side."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Final

from torl_env.errors import SandboxError
from torl_env.sandbox.forkserver.wire import Ending, Mark, Op, Reply
from torl_env.sandbox.local.pool import ServerPool
from torl_env.sandbox.local.request import ControlCall, ProgramCall
from torl_env.sandbox.local.server_process import ServerProcess
from torl_env.sandbox.types import Execution, Limits

_numbers: Final = itertools.count(1)
_KILL_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class SessionBook:
    """Counts a sandbox's open sessions."""

    pool: Callable[[], ServerPool]
    most: int
    open: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> int:
        """Number of a new session.

        Raises:
            SandboxError: When too many are open.
        """
        number = next(_numbers)
        with self.lock:
            if len(self.open) >= self.most:
                raise SandboxError(
                    f"{len(self.open)} sessions are open, and at most {self.most} may be: "
                    "close some, or make the sandbox with a larger `sessions`"
                )
            self.open.add(number)
        return number

    def leave(self, number: int) -> None:
        """The session is gone."""
        self.open.discard(number)


class LocalSession:
    """An interpreter that keeps its variables, in a process of its own.

    Args:
        book: Of the sandbox.
        limits: For turns that give none.
        preload: Libraries that are loaded from the start.
        in_place: Do not fork for a turn; see `LocalSandbox.open_session`.
    """

    def __init__(self, book: SessionBook, limits: Limits, preload: str, in_place: bool) -> None:
        self._book = book
        self._limits = limits
        self._preload = preload
        self._in_place = in_place
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._restarted = False
        self._lost = False
        """Variables were lost outside of a turn, which the next one will say."""
        self._closed = False
        self._turn: ProgramCall | None = None
        self._number = 0
        self._turns = 0
        self._pool = book.pool()
        self._server: ServerProcess | None = None
        self._open()

    @classmethod
    def _from_branch(cls, parent: "LocalSession", number: int) -> "LocalSession":
        branch = cls.__new__(cls)
        branch._book, branch._limits, branch._preload = (
            parent._book,
            parent._limits,
            parent._preload,
        )
        branch._in_place, branch._pool = parent._in_place, parent._pool
        branch._server, branch._number = parent._server, number
        branch._process = parent._process
        branch._lock, branch._restarted, branch._closed = threading.Lock(), False, False
        branch._turn, branch._lost = None, False
        branch._turns = parent._turns
        return branch

    def _open(self) -> None:
        number = self._book.enter()
        call = ControlCall(Op.OPEN, number)
        self._granted(call, number, "opened")
        if not isinstance(call.server, ServerProcess):
            raise AssertionError("an answered call has a server")
        self._number, self._server, self._turns = number, call.server, 0

    def _granted(self, call: ControlCall, number: int, what: str) -> Reply:
        """The server's answer; without one the number is free again."""
        try:
            self._pool.submit(self._preload, call, self._server)
            reply = call.result()
            if reply.ending is not Ending.DONE:
                raise SandboxError(f"a session could not be {what} (error {reply.code})")
        except BaseException:
            self._book.leave(number)
            raise
        return reply

    @property
    def restarted(self) -> bool:
        """Whether variables were lost in the last `run`."""
        return self._restarted

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one turn and wait for it."""
        self._check_process()
        with self._lock:
            self._restarted, self._lost = self._lost, False
            if self._closed:
                raise SandboxError("the session is closed")
            if self._server is None:
                self._open()
            op = Op.TURN_IN_PLACE if self._in_place else Op.TURN
            # Failed ones count too: no name stands for two programs.
            self._turns += 1
            call = ProgramCall(code, limits or self._limits, op, self._number, turn=self._turns)
            call.on_cancel = self._pool.kill
            self._turn = call
            try:
                self._pool.submit(self._preload, call, self._server)
                if self._closed:
                    call.cancel()
                return call.result()
            except CancelledError:
                raise SandboxError("the session was closed while a turn ran") from None
            except SandboxError:
                self._forget()
                self._closed = True
                raise
            except BaseException:
                self._interrupt(call)
                raise
            finally:
                self._turn = None
                if call.reply is not None and Mark.SESSION_LOST in call.reply.mark:
                    self._restarted = True
                    self._forget()

    def _interrupt(self, call: ProgramCall) -> None:
        """Kill a turn for which nobody waits any more, as after Ctrl-C; that undoes it."""
        call.cancel()
        if not call.over.wait(_KILL_SECONDS):
            self._discard()
            self._lost = True
        elif call.reply is not None:
            self._lost = Mark.SESSION_LOST in call.reply.mark

    def branch(self) -> "LocalSession":
        """Fork the live interpreter."""
        self._check_process()
        with self._lock:
            if self._closed:
                raise SandboxError("the session is closed")
            if self._server is None:
                return LocalSession(self._book, self._limits, self._preload, self._in_place)
            number = self._book.enter()
            call = ControlCall(Op.BRANCH, self._number, number)
            reply = self._granted(call, number, "branched")
            if Mark.SESSION_LOST in reply.mark:
                self._forget()
            branch = LocalSession._from_branch(self, number)
            if Mark.INTERPRETER_ENDED in reply.mark:
                # It would not fork: its variables are lost to the branch, which starts afresh.
                branch._forget()
                branch._lost = True
            return branch

    def close(self) -> None:
        """End the interpreter and kill the turn that runs in it, if any; idempotent."""
        self._closed = True
        if os.getpid() != self._process:
            return
        turn = self._turn
        if turn is not None:
            turn.cancel()
        with self._lock:
            if self._discard():
                self._pool.sweep()

    def _check_process(self) -> None:
        """In a fork of its process the lock may be held by a thread that is not there."""
        if os.getpid() != self._process:
            raise SandboxError("a session cannot be used in a fork of its process; open a new one")

    def __enter__(self) -> "LocalSession":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_server", None) is not None:
            self._discard()

    def _discard(self) -> bool:
        server, number = self._server, self._number
        if server is None:
            return False
        self._forget()
        self._pool.discard(number, server)
        return True

    def _forget(self) -> None:
        self._server = None
        self._book.leave(self._number)
