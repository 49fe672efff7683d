"""One request to a fork server from the client's side: its memory files, its future, its end."""

import fcntl
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Protocol

from torl_env.errors import SandboxError
from torl_env.sandbox import results
from torl_env.sandbox.forkserver.wire import (
    Ending,
    Job,
    Mark,
    Op,
    Reply,
    Request,
    read_records,
)
from torl_env.sandbox.types import Execution, Limits, conclude

_MOST: Final = 2**31 - 1
"""Of any limit on the wire."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MOST_IMAGES: Final = 16


class PendingRequest(Protocol):
    """A request that waits for its reply."""

    server: object
    """Where it was sent."""

    @property
    def cancelled_early(self) -> bool:
        """It need not be sent any more."""
        ...

    def begin(self, call: int) -> tuple[Request, list[int]]:
        """The packet and the descriptors to send with it; the caller does not close them."""
        ...

    def settle(self, reply: Reply) -> None:
        """Take the reply."""
        ...

    def fail(self, error: SandboxError) -> None:
        """No reply will come."""
        ...


def _bounded(amount: float) -> int:
    return max(int(min(amount, _MOST)), 1)


def job_of(limits: Limits, source_bytes: int, turn: int = 0) -> Job:
    """Limits in the units of the wire."""
    return Job(
        cpu_ms=_bounded(limits.cpu_seconds * 1000),
        wall_ms=_bounded(limits.wall_seconds * 1000),
        memory_mb=_bounded(limits.memory_mb),
        output_bytes=_bounded(limits.output_bytes * results.HARD_LIMIT_FACTOR),
        processes=_bounded(limits.processes),
        open_files=_bounded(limits.open_files),
        source_bytes=source_bytes,
        turn=turn,
    )


class Files:
    """A program's three memory files: source (then report), output, errors."""

    def __init__(self, code: str, stdin: str, *, kept: bool = False) -> None:
        self._kept = kept
        """A session may hold them when its turn is over."""
        self.descriptors: list[int] = []
        source = code.encode("utf-8", "surrogatepass")
        self.source_bytes = len(source)
        try:
            for name in ("source", "stdout", "stderr"):
                flags = os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if kept else 0)
                self.descriptors.append(os.memfd_create(f"torl-{name}", flags))
            self._write(source + stdin.encode("utf-8", "surrogatepass"))
        except BaseException:
            self.close()
            raise

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptors[0], view) :]

    def report(self, limits: Limits) -> tuple[str, bool, tuple[bytes, ...], bool]:
        """What the program's interpreter left.

        Returns:
            The last line of its traceback, whether that is a memory error, what it drew, and
            whether some of that was left out.
        """
        hard = limits.output_bytes * results.HARD_LIMIT_FACTOR + 16_384
        # A buffer is made of the size that is asked for, and a limit may be a terabyte.
        size = min(os.fstat(self.descriptors[0]).st_size, hard)
        error, memory, images, left_out = "", False, list[bytes](), False
        for kind, data in read_records(os.pread(self.descriptors[0], size, 0)):
            if kind in (b"E", b"M"):
                error, memory = data[:16_384].decode("utf-8", "replace"), kind == b"M"
            elif kind == b"P" and data.startswith(_PNG) and len(images) < _MOST_IMAGES:
                images.append(data)
            elif kind == b"L":
                left_out = True
        return error, memory, tuple(images), left_out

    def close(self) -> None:
        """Give the memory back: what a session holds of them stays empty."""
        while self.descriptors:
            descriptor = self.descriptors.pop()
            if self._kept:
                # Without seccomp it may have sealed them itself.
                with suppress(OSError):
                    os.ftruncate(descriptor, 0)
                    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
            os.close(descriptor)


class ProgramCall(Future[Execution]):
    """The future of one program; cancelling it kills the program."""

    def __init__(
        self,
        code: str,
        limits: Limits,
        op: Op = Op.RUN,
        session: int = 0,
        stdin: str = "",
        turn: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(code, str):
            raise TypeError(f"a program is text, got {type(code).__name__}")
        self._stdin = stdin
        self.limits = limits
        self.op = op
        self.session = session
        self._number = turn
        self.reply: Reply | None = None
        self.over = threading.Event()
        """The server has done with it, also where it was cancelled."""
        self.server: object = None
        self._code = code
        self._files: Files | None = None
        self.on_cancel: Callable[[ProgramCall], None] = lambda _: None

    @property
    def cancelled_early(self) -> bool:
        """Whether it was cancelled; before it is sent, that is the end of it."""
        return self.cancelled()

    def cancel(self) -> bool:
        """Kill the program; `False` when it has ended already."""
        if not super().cancel():
            return False
        self.on_cancel(self)
        return True

    def begin(self, call: int) -> tuple[Request, list[int]]:
        """Write the program into memory files."""
        self._files = Files(self._code, self._stdin, kept=self.op is not Op.RUN)
        job = job_of(self.limits, self._files.source_bytes, self._number)
        request = Request(self.op, call, session=self.session, job=job)
        return request, self._files.descriptors

    def settle(self, reply: Reply) -> None:
        """Turn the reply and the files into the result."""
        self.reply = reply
        try:
            outcome: Execution | SandboxError = self._outcome(reply)
        except (OSError, MemoryError, OverflowError) as error:
            # Whatever cannot be read, its caller must hear of it: nothing else will end this call.
            outcome = SandboxError(f"the output of a program cannot be read: {error!r}")
        finally:
            self._close()
            self.over.set()
        conclude(self, outcome)

    def fail(self, error: SandboxError) -> None:
        """The machine's fault."""
        self._close()
        self.over.set()
        conclude(self, error)

    def _close(self) -> None:
        if self._files is not None:
            self._files.close()

    def _outcome(self, reply: Reply) -> Execution | SandboxError:
        if self._files is None:
            raise AssertionError("a reply came before its request was sent")
        error, memory, images, left_out = self._files.report(self.limits)
        _, stdout, stderr = self._files.descriptors
        streams = results.Streams.of_files(stdout, stderr, self.limits, images, cut=left_out)
        if reply.ending is Ending.FAILED:
            return SandboxError(
                f"the sandbox server could not start a program (error {reply.code}): "
                f"{streams.stderr.strip() or os.strerror(abs(reply.code))}"
            )
        if reply.ending is Ending.KILLED:
            return SandboxError("the program was killed because its call was cancelled")
        timed_out = {Ending.CPU: "cpu", Ending.WALL: "wall"}.get(reply.ending, "")
        ended = results.Ended(
            exit_code=reply.code,
            timed_out=timed_out,
            compiled=bool(reply.mark & Mark.COMPILED),
            interpreter_ended=bool(reply.mark & Mark.INTERPRETER_ENDED),
            memory_error=memory,
            error=error,
            rss_mb=reply.rss_kb / 1024,
        )
        return results.execution(
            ended, streams, self.limits, reply.cpu_us / 1e6, reply.wall_us / 1e6
        )


class ControlCall(Future[Reply]):
    """A request without a program: a session is opened or branched."""

    def __init__(self, op: Op, session: int, branch: int = 0) -> None:
        super().__init__()
        self.server: object = None
        self._op = op
        self._session = session
        self._branch = branch

    @property
    def cancelled_early(self) -> bool:
        """Never: these are not cancelled."""
        return False

    def begin(self, call: int) -> tuple[Request, list[int]]:
        """The bare packet."""
        return Request(self._op, call, self._session, self._branch), []

    def settle(self, reply: Reply) -> None:
        """Take the reply."""
        self.set_result(reply)

    def fail(self, error: SandboxError) -> None:
        """The machine's fault."""
        self.set_exception(error)


Completion = Callable[[], None]


def run_all(completions: list[Completion]) -> None:
    """Settle requests, which the pool does without its lock."""
    for completion in completions:
        completion()


def success(pending: PendingRequest, reply: Reply) -> Completion:
    """To be run later: the reply has come."""
    return lambda: pending.settle(reply)


def failure(pending: PendingRequest, error: SandboxError) -> Completion:
    """To be run later: there will be none."""
    return lambda: pending.fail(error)
