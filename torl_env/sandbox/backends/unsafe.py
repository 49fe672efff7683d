"""Programs inside this very process: no isolation at all, for teaching and for tests."""

import contextlib
import ctypes
import io
import sys
import threading
import time
import traceback
import types
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from torl_env.errors import SandboxError
from torl_env.sandbox import results
from torl_env.sandbox.run_queue import is_runnable, waited_seconds
from torl_env.sandbox.types import CallableSandbox, Execution, Limits, Session

_POLL_SECONDS: Final = 0.01
_FILENAME: Final = "<program>"
_C_LONG: Final = 1 << 63
_ONE_AT_A_TIME: Final = threading.Lock()
"""Standard output belongs to the whole process."""


class _Stopped(BaseException):
    """Thrown into a program that is over a limit."""


class _Writer(io.TextIOBase):
    """Counts what is written and stops the program that writes far too much."""

    def __init__(self, hard_limit: int) -> None:
        self.data = bytearray()
        self._hard_limit = hard_limit

    @property
    def full(self) -> bool:
        return len(self.data) >= self._hard_limit

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        data = text.encode("utf-8")
        self.data += data[: self._hard_limit - len(self.data)]
        if self.full:
            raise _Stopped
        return len(text)


class _Program:
    """One program in a thread of its own, so that it can be interrupted."""

    def __init__(self, code: str, namespace: dict[str, Any], limits: Limits) -> None:
        self._code = code.removeprefix("\ufeff")
        self._namespace = namespace
        self._limits = limits
        hard = limits.output_bytes * results.HARD_LIMIT_FACTOR
        self._out, self._err = _Writer(hard), _Writer(hard)
        self._compiled = True
        self._exit_code = 0
        self._error = ""
        self._memory = False
        self._timed_out = ""
        self._cpu = 0.0

    def run(self) -> Execution:
        began = time.monotonic()
        thread = threading.Thread(target=self._main, name="torl-unsafe", daemon=True)
        with (
            _ONE_AT_A_TIME,
            contextlib.redirect_stdout(self._out),
            contextlib.redirect_stderr(self._err),
            _empty_stdin(),
        ):
            thread.start()
            self._wait(thread, began)
        streams = results.Streams.of_bytes(
            bytes(self._out.data), bytes(self._err.data), self._limits
        )
        ended = results.Ended(
            exit_code=self._exit_code,
            timed_out=self._timed_out,
            compiled=self._compiled,
            memory_error=self._memory,
            error=self._error,
        )
        wall = time.monotonic() - began
        return results.execution(ended, streams, self._limits, self._cpu, wall)

    def _wait(self, thread: threading.Thread, began: float) -> None:
        thread.join(_POLL_SECONDS)
        deadline: float | None = None
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            now = time.monotonic()
            if deadline is not None:
                if now > deadline:
                    # A loop inside C code cannot be interrupted; the thread is left to itself.
                    return
                continue
            if self._cpu_of(thread) >= self._limits.cpu_seconds:
                self._timed_out = "cpu"
            elif now - began - _waited(thread) >= self._limits.wall_seconds:
                self._timed_out = "wall"
            if self._timed_out:
                _interrupt(thread)
                deadline = now + 0.1

    def _cpu_of(self, thread: threading.Thread) -> float:
        with contextlib.suppress(OSError, AttributeError):
            self._cpu = time.clock_gettime(time.pthread_getcpuclockid(thread.ident or 0))
        return self._cpu

    def _main(self) -> None:
        try:
            code = compile(self._code, _FILENAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            self._compiled = False
            self._fail(error, with_frames=False)
            return
        try:
            exec(code, self._namespace)
        except SystemExit as leaving:
            self._leave(leaving.code)
        except _Stopped:
            self._exit_code = 1
        except BaseException as error:  # noqa: BLE001 - the program may raise anything
            self._memory = isinstance(error, MemoryError)
            self._fail(error, with_frames=True)
        finally:
            self._cpu = time.thread_time()

    def _leave(self, code: object) -> None:
        if code is None:
            return
        self._exit_code = 1
        if isinstance(code, int):
            # As CPython: a C integer or -1, and no method of a class derived from int is asked.
            number = int.__index__(code)
            self._exit_code = number & 255 if -_C_LONG <= number < _C_LONG else 255
        self._error = f"SystemExit: {code}"
        if not isinstance(code, int):
            self._err.write(f"{code}\n")

    def _fail(self, error: BaseException, *, with_frames: bool) -> None:
        self._exit_code = 1
        lines = traceback.format_exception_only(error)
        # Notes follow the words, and before those of a syntax error stands what it quotes.
        self._error = " ".join(lines[-1 if isinstance(error, SyntaxError) else 0].split())
        frames = error.__traceback__.tb_next if with_frames and error.__traceback__ else None
        if with_frames:
            lines = traceback.format_exception(type(error), error, frames)
        with contextlib.suppress(_Stopped):
            self._err.write("".join(lines))


def _waited(thread: threading.Thread) -> float:
    """Seconds that a thread was ready and had no processor, where the kernel tells."""
    place = Path(f"/proc/self/task/{thread.native_id}")
    try:
        if is_runnable((place / "stat").read_bytes()):
            # The present wait is not counted yet, and a loop ends by its CPU limit.
            return float("inf")
        return waited_seconds((place / "schedstat").read_bytes())
    except (OSError, IndexError, ValueError):
        return 0.0


def _interrupt(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stopped)
    )


@contextlib.contextmanager
def _empty_stdin() -> Any:
    before, sys.stdin = sys.stdin, io.StringIO("")
    try:
        yield
    finally:
        sys.stdin = before


def _fresh_namespace() -> dict[str, Any]:
    return types.ModuleType("__main__").__dict__


class UnsafeSession:
    """Keeps a dictionary of variables; a failed turn gives the names back their former values."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._namespace = _fresh_namespace()
        self._log: list[str] = []
        self._closed = False

    restarted = False

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one turn."""
        if self._closed:
            raise SandboxError("the session is closed")
        before = dict(self._namespace)
        result = _Program(code, self._namespace, limits or self._limits).run()
        if result.ok:
            self._log.append(code)
        else:
            self._namespace.clear()
            self._namespace.update(before)
        return result

    def branch(self) -> "UnsafeSession":
        """A session that has run the same turns again."""
        if self._closed:
            raise SandboxError("the session is closed")
        other = UnsafeSession(self._limits)
        for code in self._log:
            other.run(code)
        return other

    def close(self) -> None:
        """Forget the variables."""
        self._closed = True
        self._namespace = {}


class UnsafeSandbox(CallableSandbox):
    """NOT A SANDBOX: runs programs in this process, with all its rights, one at a time.

    A program can read, change and end everything that this process can. Loops inside C code are
    not interrupted, memory is not bounded. Use it to teach, or to test other parts without servers.

    Args:
        limits: For calls that give none.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start one program in a thread; a program that has not started yet can be cancelled."""
        self.check_open()
        program = _Program(code, _fresh_namespace(), limits or self.limits)
        future: Future[Execution] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                future.set_result(program.run())

        threading.Thread(target=work, name="torl-unsafe-call", daemon=True).start()
        return future

    def session(self, limits: Limits | None = None) -> Session:
        """Open a namespace that is kept."""
        self.check_open()
        return UnsafeSession(limits or self.limits)

    def close(self) -> None:
        """Refuse further calls; idempotent."""
        self._closed = True
