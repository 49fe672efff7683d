"""The child's side: finish the isolation, take one program, run it, say how it ended.

Nothing here trusts what happens after the program has started: the server reads the end of the
process from the kernel, and the report that this code leaves in standard input's memory file only
words the program's own error.
"""

import _thread
import atexit
import gc
import io
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from resource import (
    RLIMIT_AS,
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_NOFILE,
    RLIMIT_NPROC,
    getrlimit,
    setrlimit,
)
from typing import Any, Final, NoReturn

from torl_env.sandbox.forkserver import kernel, pictures
from torl_env.sandbox.forkserver.areas import Area
from torl_env.sandbox.forkserver.config import ServerConfig
from torl_env.sandbox.forkserver.isolation import Isolation
from torl_env.sandbox.forkserver.wire import Job, record
from torl_env.sandbox.forkserver.wording import (
    FILENAME,
    describe,
    hide_origins,
    hint,
    show_refusal,
    show_source,
    show_traceback,
)

_exit: Final = os._exit
_objects: Final = gc.get_objects
"""A program may replace the names in its own copies of the modules."""
COMPILING, COMPILED = 1, 2
"""Values of a child's byte in the shared page; 0 while it is not ready."""
CONTROL: Final = 3
"""A session's descriptor to the server."""
NULL: Final = 4
"""/dev/null, for a session."""
_REPORT_CHARS: Final = 2_000
_WRITERS: Final = frozenset(map(id, (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)))
"""By their addresses, for to look at a type is to copy its page."""
_MARK_BYTES: Final = 32
_SPARE_BYTES: Final = 32 << 20
"""Address space kept back from the program, to word a memory error."""
_SPARE_FILES: Final = 16
_FEW_FILES: Final = 32
_C_LONG: Final = 1 << 63
_FILES: Final = struct.Struct("3i")
_THREE_FILES: Final = socket.CMSG_SPACE(_FILES.size)


def open_streams() -> None:
    """Give the interpreter standard streams without buffers, so that a kill loses no text."""

    def stream(number: int, errors: str) -> io.TextIOWrapper:
        raw: Any = io.FileIO(number, "w", closefd=False)
        return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)

    source = io.BufferedReader(io.FileIO(0, "r", closefd=False))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(source, encoding="utf-8", errors="replace")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = stream(1, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stream(2, "backslashreplace")  # type: ignore[misc]


def drop_identity(isolation: Isolation, offset: int, nice: int) -> None:
    """Become a user of one's own, without the few rights the server has."""
    if isolation.first_uid:
        uid = isolation.first_uid + offset
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        kernel.checked(kernel.forbid_tracing(), "prctl")
    if isolation.first_uid or isolation.areas is not None:
        kernel.checked(kernel.drop_capabilities(), "capset")
    if not isolation.private_pids:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if nice:
        os.nice(nice)


def set_limits(job: Job, child: "Child", *, session: bool = False) -> None:
    """Apply a job's limits to this process and what it forks, for good.

    Args:
        job: Of the request.
        child: What the server shares with its children.
        session: The process that follows this one needs a few descriptors to take the next turn;
            and all of a session have one user id, so that the kernel cannot count the threads of
            one turn (see `clones.CloneGate`).
    """
    seconds = job.cpu_ms // 1000 + 2
    memory = child.baseline + (job.memory_mb << 20)
    isolation = child.isolation
    threads = job.processes if isolation.first_uid else isolation.shared_processes
    if session:
        threads = isolation.shared_processes or child.sessions * 2 + 4096
        most = getrlimit(RLIMIT_CPU)[1]
        setrlimit(RLIMIT_CPU, (seconds if most < 0 else min(seconds, most), most))
    else:
        setrlimit(RLIMIT_CPU, (seconds, seconds + 1))
    limit = _lower if session else setrlimit
    limit(RLIMIT_FSIZE, (job.output_bytes, job.output_bytes))
    limit(RLIMIT_AS, (memory, memory + _SPARE_BYTES))
    files = open_files(job)
    limit(RLIMIT_NOFILE, (files, files + (_SPARE_FILES if session else 0)))
    if threads:
        limit(RLIMIT_NPROC, (threads, threads))


def open_files(job: Job) -> int:
    """Descriptors of a program: no more than its memory limit has room for.

    What lies unread in a socket is the kernel's memory, which no limit of a process counts: up to
    twice `net.core.wmem_default`, 0.42 MB for each descriptor. So all of them hold less than a
    quarter of the memory limit and 14 MB.
    """
    return min(job.open_files, _FEW_FILES + job.memory_mb // 2)


def _lower(what: int, limits: tuple[int, int]) -> None:
    """Set a limit as far as an earlier turn allows: none can be raised again."""
    most = getrlimit(what)[1]
    soft, hard = limits
    setrlimit(what, limits if most < 0 else (min(soft, most), min(hard, most)))


def take_source(length: int) -> str:
    """Read the program from standard input's memory file and leave what follows it."""
    _left[0] = 0
    source = os.pread(0, length, 0)
    os.lseek(0, length, os.SEEK_SET)
    # As of a file, the mark of its encoding is no part of it.
    return source.decode("utf-8", "surrogatepass").removeprefix("\ufeff")


def report(text: str, *, memory: bool = False) -> None:
    """Leave the last line of the traceback where the client finds it."""
    line = " ".join(text.split())[:_REPORT_CHARS].encode("utf-8", "backslashreplace")
    with suppress(OSError):
        os.ftruncate(0, 0)
        _left[0] = os.pwrite(0, record(b"M" if memory else b"E", line), 0)


def leave_pictures() -> None:
    """Leave what was drawn behind the report, and say so where it does not fit."""
    try:
        pictures.take()
        if not pictures.taken:
            return
        if _left[0] == 0:
            os.ftruncate(0, 0)
        room = getrlimit(RLIMIT_FSIZE)[0]
        for picture in pictures.taken:
            data = record(b"P", picture)
            if room < 0 or _left[0] + len(data) < room - _MARK_BYTES:
                _left[0] += os.pwrite(0, data, _left[0])
            else:
                pictures.left_out[0] = True
        if pictures.left_out[0] and (room < 0 or _left[0] + _MARK_BYTES <= room):
            _left[0] += os.pwrite(0, record(b"L", b""), _left[0])
    except BaseException:  # noqa: BLE001 - the program may have broken its matplotlib
        return
    finally:
        pictures.taken.clear()
        pictures.left_out[0] = False


_left: Final = [0]
"""Bytes of records in standard input's file."""


def run(
    source: str,
    filename: str,
    namespace: dict[str, object],
    room: int,
    begin: Callable[[str, str], object],
) -> int:
    """Compile and execute; the exit code, as the interpreter would give it.

    In a session code that earlier turns have left may run in here, in `begin`, in a warning of the
    compiler or in a destructor. So everything that decides is looked up before, and the compiled
    program waits on the interpreter's stack, where no code of Python's reaches it.

    Args:
        source: The program.
        filename: Of its code.
        namespace: Its `__main__`.
        room: Characters of a traceback.
        begin: Called with source and name between the two: from then on the program runs.
    """
    execute, leaving, wrong, whole, index = exec, SystemExit, BaseException, int, int.__index__
    refused = (SyntaxError, ValueError, RecursionError, OverflowError)
    word_exit, word, word_refusal, is_a = _word_exit, fail, _word_refusal, isinstance
    try:
        execute(
            (compile(source, filename, "exec", dont_inherit=True), begin(source, filename))[0],
            namespace,
        )
    except leaving as left:
        number, code = 1, left.code  # type: int, Any
        if code is None:
            return 0
        if is_a(code, whole):
            # As CPython: a C integer or -1, and no method of a class derived from int is asked.
            number = index(code)
            number = number & 255 if -_C_LONG <= number < _C_LONG else 255
        word_exit(code)
        return number
    except wrong as error:
        own = error.__traceback__
        if own and not own.tb_next and is_a(error, refused):
            # No frame but this one: it is the compiler's.
            word_refusal(error, source, room)
        else:
            word(error, room)
        return 1
    return 0


def _word_exit(code: object) -> None:
    with suppress(BaseException):
        report(f"SystemExit: {code}")
        if not isinstance(code, int):
            sys.stderr.write(f"{code}\n")


def _word_refusal(error: BaseException, source: str, room: int) -> None:
    report(describe(error))
    show_refusal(error, source, room)


def fail(error: BaseException, room: int) -> None:
    """Show an uncaught error, with the address space that was kept back for that."""
    memory = isinstance(error, MemoryError)
    if memory:
        _, hard = getrlimit(RLIMIT_AS)
        setrlimit(RLIMIT_AS, (hard, hard))
    with suppress(BaseException):
        hide_origins(error)
    said, added = type(error).__name__, ""
    # The status does not depend on the words, nor these on a hint, nor what is shown on them. They
    # are asked for once: the program's own `__str__` may be slow, or print.
    try:
        said = describe(error)
        with suppress(BaseException):
            added = hint(error, said)
        report(said + added, memory=memory)
    except BaseException:  # noqa: BLE001
        report(said, memory=memory)
    with suppress(BaseException):
        show_traceback(error, said, added, room)


def flush_streams() -> None:
    """As the interpreter does at its end: a closed stream is no error."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    kernel.flush_c_streams()


def flush_writers(objects: Callable[[], list[Any]]) -> None:
    """Write what other open files hold, as the interpreter's end does when it closes them."""
    try:
        found = objects()
    except MemoryError:
        return
    for item in found:
        if id(type(item)) in _WRITERS:
            with suppress(OSError, ValueError):
                item.flush()


def word_last_error(error: BaseException) -> None:
    """The program has ended well, and then its streams or exit functions failed."""
    with suppress(BaseException):
        said = describe(error)
        report(said)
        os.write(2, f"Exception ignored at the end of the program:\n{said}\n".encode())


def finish(code: int) -> NoReturn:
    """End as the interpreter ends: wait for threads, run exit functions, flush."""
    try:
        if _thread._count() > 0:
            threading._shutdown()  # type: ignore[attr-defined]
        leave_pictures()
        atexit._run_exitfuncs()
        flush_streams()
        # Of what the server has made it knows nothing: that is frozen.
        flush_writers(_objects)
    except BaseException as error:  # noqa: BLE001 - exit functions are the program's
        if code == 0:
            code = 120
            word_last_error(error)
    _exit(code)


def new_main() -> dict[str, object]:
    """An empty `__main__`."""
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    # Programs ask where they lie, although nothing lies there.
    module.__dict__["__file__"] = "/sandbox/main.py"
    sys.modules["__main__"] = module
    return module.__dict__


class Child:
    """What every forked child shares with the server that made it."""

    def __init__(
        self, isolation: Isolation, phases: mmap.mmap, null: int, config: ServerConfig
    ) -> None:
        self.isolation = isolation
        self.phases = phases
        self.baseline = 0
        """Bytes of address space that the server occupies."""
        self.null = null
        self.seed = config.seed
        self.sessions = config.sessions
        self.nice = config.nice
        self.namespace = new_main()
        """Of every program: each fork has a copy of its own."""

    def settle(self, channel: int, first: int, offset: int, area: Area | None) -> None:
        """Become a user of one's own and close all descriptors from `first` on but `channel`.

        Standard error is still the server's log, so that a failure here is heard of.
        """
        ruleset = self.isolation.ruleset
        if area is not None:
            area.enter()
            ruleset = area.ruleset
        drop_identity(self.isolation, offset, self.nice)
        if ruleset is not None:
            ruleset.restrict()
        kernel.close_from(first, channel - 1)
        kernel.close_from(channel + 1)

    def serve_one(self, channel: socket.socket, slot: int, area: Area | None) -> NoReturn:
        """Wait for a job on `channel`, run it and end.

        Every object that is looked at here is a page that each program must copy: what can be made
        before the fork is made there.
        """
        try:
            self.settle(channel.fileno(), CONTROL, slot, area)
            if self.isolation.program_filter is not None:
                self.isolation.program_filter.install(os.getpid())
            job, source = self._take_job(channel)
            self.phases[slot] = COMPILING
        except BaseException as error:  # noqa: BLE001 - the server reads the phase
            os.write(2, f"sandbox: cannot prepare a program: {error!r}\n".encode())
            _exit(1)

        def begin(source: str, filename: str) -> None:
            show_source(source, filename)
            self.phases[slot] = COMPILED
            # From here on no path leads from the program to the server.
            self.phases.close()

        gc.enable()
        finish(run(source, FILENAME, self.namespace, job.output_bytes // 16, begin))

    def _take_job(self, channel: socket.socket) -> tuple[Job, str]:
        data, ancillary, _, _ = channel.recvmsg(64, _THREE_FILES)
        if not ancillary:
            # The server is gone, or has no need of this child.
            _exit(0)
        for number, file in enumerate(_FILES.unpack(ancillary[0][2])):
            os.dup2(file, number)
        channel.detach()
        kernel.close_from(CONTROL)
        job = Job.unpack(data)
        source = take_source(job.source_bytes)
        set_limits(job, self)
        return job, source
