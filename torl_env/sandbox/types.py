"""The nouns of code execution: limits in, an execution out; what all backends offer and share."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol, Self, runtime_checkable

from torl_env.errors import SandboxError


class Status(StrEnum):
    """How a program ended, by its own doing; the machine's fault is `SandboxError`."""

    OK = "ok"
    ERROR = "error"
    """An uncaught exception or a non-zero exit code."""
    SYNTAX_ERROR = "syntax_error"
    TIMEOUT = "timeout"
    """Out of CPU seconds, or of wall seconds while it slept."""
    MEMORY = "memory"
    """An uncaught `MemoryError`, or killed with its memory full."""
    OUTPUT_LIMIT = "output_limit"
    """It was ended because it wrote more than the hard output limit."""
    KILLED = "killed"
    """It died of a signal (segmentation fault, abort, forbidden system call)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use. CPU seconds are its limit; wall seconds only guard the machine."""

    cpu_seconds: float = 2.0
    wall_seconds: float = 10.0
    memory_mb: int = 1024
    output_bytes: int = 65_536
    """Kept per stream, head and tail; writing goes on unharmed up to 16 times this."""
    processes: int = 64
    """Threads and processes together."""
    open_files: int = 256

    def __post_init__(self) -> None:
        for name in (
            "cpu_seconds",
            "wall_seconds",
            "memory_mb",
            "output_bytes",
            "processes",
            "open_files",
        ):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"Limits.{name} must be positive, got {value!r}")


@dataclass(frozen=True, slots=True)
class Execution:
    """What one program did."""

    status: Status
    stdout: str = ""
    """Bounded by `Limits.output_bytes`; text printed before a limit struck is kept."""
    stderr: str = ""
    """Warnings and the traceback; bounded likewise."""
    error: str = ""
    """The last line of the traceback (`NameError: name 'a' is not defined`), or on the limit."""
    output_truncated: bool = False
    """Some of its text or pictures was left out."""
    exit_code: int = 0
    """As the operating system says it; negative for a signal."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    images: tuple[bytes, ...] = ()
    """PNG files of the figures that it drew with matplotlib, where the sandbox loads it."""
    self_reported: bool = False
    """`error`, and a status of `MEMORY`, are what the program says of itself and may have forged,
    as it may its output. `False` where the kernel or the sandbox says it; `exit_code` and every
    other status are theirs always."""

    @property
    def ok(self) -> bool:
        """Whether the program ran to its end without an error, printed something or not."""
        return self.status is Status.OK

    @property
    def error_type(self) -> str:
        """Name of the exception (`NameError`), or of the status where there was none; `""` when ok.

        >>> Execution(Status.ERROR, error="numpy.linalg.LinAlgError: Singular matrix").error_type
        'LinAlgError'
        """
        if self.ok:
            return ""
        head = self.error.split(":", 1)[0].strip()
        name = head.rpartition(".")[2]
        return name if head.replace(".", "").isidentifier() else str(self.status)


@runtime_checkable
class Session(Protocol):
    """An interpreter whose variables live from one `run` to the next."""

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run `code` with the variables left by earlier calls; a failed turn is rolled back.

        After a kill (timeout, memory) the state before the turn is kept where the backend can, and
        otherwise the session is fresh and `restarted` is True.
        """
        ...

    @property
    def restarted(self) -> bool:
        """Whether variables were lost in the last `run`."""
        ...

    def branch(self) -> "Session":
        """An independent copy of the live state."""
        ...

    def close(self) -> None:
        """End the interpreter; idempotent."""
        ...


@runtime_checkable
class Sandbox(Protocol):
    """Runs untrusted Python. Every method may be called from any thread.

    Raises:
        SandboxError: From `run`, from the future of `submit` and from `session`, when the machine
            and not the program failed.
    """

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one program in a fresh interpreter and wait for it."""
        ...

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start one program and return at once; cancelling the future kills it."""
        ...

    def session(self, limits: Limits | None = None) -> Session:
        """Open an interpreter that keeps its variables."""
        ...

    def close(self) -> None:
        """Kill what still runs and release everything; idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


_REPLAY: Final = """
def __torl_main__(turns, code):
    import io, linecache, os, sys, traceback
    del globals()["__torl_main__"]
    def execute(source, number):
        source = source.removeprefix("\\ufeff")
        name = "<program>" if number < 2 else f"<turn {number}>"
        lines = io.StringIO(source + "\\n", newline=None).readlines()
        linecache.cache[name] = (len(source), None, lines, name)
        exec(compile(source, name, "exec", dont_inherit=True), globals())
    # What earlier turns wrote has been read, also what goes past sys.stdout.
    kept, null = (os.dup(1), os.dup(2)), os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    os.close(null)
    try:
        for number, turn in enumerate(turns, 1):
            try:
                execute(turn, number)
            except SystemExit:
                pass
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except Exception:
                    pass
    finally:
        for number, file in enumerate(kept, 1):
            os.dup2(file, number)
            os.close(file)
    try:
        execute(code, len(turns) + 1)
    except BaseException as error:
        frames = error.__traceback__.tb_next.tb_next
        if sys.excepthook is sys.__excepthook__:
            # Without the frames of these functions.
            sys.excepthook = lambda kind, value, _: traceback.print_exception(kind, value, frames)
        raise
"""

_REFUSALS: Final = ("SyntaxError", "IndentationError", "TabError")


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
                program = f"{_REPLAY}\n__torl_main__({self._log!r}, {code!r})\n"
                result = self._run(program, _longer(wanted, len(self._log) + 1))
                if result.error_type in _REFUSALS:
                    # Alone, a program that does not compile is told from one that compiles another.
                    alone = self._run(code, wanted)
                    result = alone if alone.status is Status.SYNTAX_ERROR else result
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


class CallableSandbox(ABC):
    """A sandbox that starts programs by `submit`; its sessions are replays unless it has better.

    Args:
        limits: For calls that give none.
    """

    def __init__(self, limits: Limits | None) -> None:
        self.limits = limits if limits is not None else Limits()

    @abstractmethod
    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start one program and return at once; cancelling the future kills it."""

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and release everything; idempotent."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it takes no more programs."""

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one program in a fresh interpreter and wait for it."""
        call = self.submit(code, limits)
        try:
            return call.result()
        except BaseException:
            # Whoever is interrupted, as by Ctrl-C, does not wait for it any more.
            call.cancel()
            raise

    async def arun(self, code: str, limits: Limits | None = None) -> Execution:
        """`run` for asyncio; cancelling the task kills the program."""
        import asyncio

        return await asyncio.wrap_future(self.submit(code, limits))

    def session(self, limits: Limits | None = None) -> Session:
        """Open an interpreter that keeps its variables."""
        self.check_open()
        return ReplaySession(self.run, self.limits if limits is None else limits)

    def check_open(self) -> None:
        """Raise `SandboxError` once it is closed."""
        if self.closed:
            raise SandboxError("the sandbox is closed; make a new one")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def conclude(call: Future[Execution], outcome: Execution | Exception) -> None:
    """End a call with its result or error, unless it was cancelled."""
    if not call.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        call.set_exception(outcome)
    else:
        call.set_result(outcome)
