"""The session's side of a session: an interpreter that forks when the server tells it to.

A turn runs in a process of its own, the runner, and its result is the runner's exit status, which
the kernel tells the server. A runner whose turn goes well forks once more before it ends: this
process, its continuation, has the variables and waits for the next turn.

    head --fork--> runner: compile, run --fork--> continuation (the next head)
                   exit status = result

All are the server's children (`CLONE_PARENT`). A turn in place has no first fork: the head is the
runner; neither has one whose runner was forked ahead (see `spares`). Nothing that a program writes
to any descriptor is taken for a result.
"""

import _socket
import gc
import os
import random
import socket
import struct
import sys
from resource import RLIMIT_AS, RLIMIT_CPU, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Final, NoReturn

from torl_env.sandbox.forkserver import integrity, kernel, pictures, program, wire, wording
from torl_env.sandbox.forkserver.areas import Area
from torl_env.sandbox.forkserver.program import (
    CONTROL,
    NULL,
    Child,
    fail,
    flush_streams,
    flush_writers,
    leave_pictures,
    report,
    run,
    set_limits,
    take_source,
    word_last_error,
)
from torl_env.sandbox.forkserver.wire import Job
from torl_env.sandbox.forkserver.wording import name_of, show_source

_exit: Final = os._exit
_frames: Final = sys._current_frames
"""One for each thread of Python's."""
TURN: Final = b"T"
"""Server to head: fork a runner for the attached channel and program."""
TURN_IN_PLACE: Final = b"I"
"""Server to head: be the runner."""
TURN_OF_SPARE: Final = b"S"
"""Server to a process that was forked ahead: be the runner of a turn that can be rolled back."""
FORK: Final = b"F"
"""Server to head: fork a process that is as you are, on the attached channel."""
HELLO: Final = b"H"
"""A new process to server: here I am, with my process id as the kernel vouches for it."""
COMPILED: Final = b"C"
"""Runner to server, before any code of the turn could run: the next thing is the program."""
NOT_COMPILED: Final = b"N"
"""Instead of that: there will be none."""
CANNOT_FORK: Final = b"X"
_HERE: Final = sys.modules[__name__]
_CREDENTIALS: Final = struct.Struct("3i")
_PASSED: Final = tuple(
    f"torl_env.sandbox.forkserver.{name}"
    for name in ("program", "kernel", "wire", "pictures", "wording")
)
"""Modules through which a turn passes, besides this one."""


class Interpreter:
    """What all sessions of a server start from: each of their processes has a copy."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.fork = kernel.SiblingFork()
        self.namespace = child.namespace

    def keep(self) -> integrity.Kept:
        """Note how everything is that a turn needs, after the server's start."""
        modules = (_HERE, program, kernel, wire, pictures, wording)
        return integrity.keep(obey, modules, (self, self.child, self.child.isolation, self.fork))

    def serve(
        self, channel: socket.socket, kept: integrity.Kept, offset: int, area: Area | None
    ) -> NoReturn:
        """Become the first head, on `channel`; never returns."""
        child = self.child
        os.dup2(child.null, NULL)
        child.settle(channel.fileno(), NULL + 1, offset, area)
        for number in (0, 1, 2):
            os.dup2(NULL, number)
        os.dup2(channel.fileno(), CONTROL)
        channel.close()
        child.phases.close()
        random.seed(child.seed)
        gc.enable()
        if child.isolation.session_filter is not None:
            child.isolation.session_filter.install()
        os.write(CONTROL, HELLO)
        integrity.serve(kept, globals(), "obey", self)


def obey(session: Interpreter, *, collect: bool) -> None:
    """Do one thing that the server says; returns in a head only.

    Args:
        session: Of this process.
        collect: Whether the program has left the garbage collector on; it is off until the turn
            runs, for with it destructors would.
    """
    # What the last turn left in use must not keep the next one from starting, nor what forks cost.
    for what in (RLIMIT_AS, RLIMIT_NOFILE, RLIMIT_CPU):
        hard = getrlimit(what)[1]
        setrlimit(what, (hard, hard))
    data, files = _receive()
    if not data or not files:
        _exit(0)
    kind, job = data[:1], Job.unpack(data[1:]) if len(data) > 1 else None
    if kind in (TURN_IN_PLACE, TURN_OF_SPARE):
        _take_channel(files[0])
    elif not _fork_on(session, files):
        return
    if job is not None:
        _run(session, job, files[1:], collect=collect, in_place=kind == TURN_IN_PLACE)


def _receive() -> tuple[bytes, list[int]]:
    """From the server: a word and descriptors.

    By the type of the interpreter itself, for programs may have replaced the methods of
    `socket.socket`.
    """
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, CONTROL)
    try:
        data, ancillary, _, _ = control.recvmsg(256, _socket.CMSG_SPACE(4 * 4))
    finally:
        control.detach()
    rights = ancillary[0][2] if ancillary else b""
    return data, [file for (file,) in struct.iter_unpack("i", rights)]


def _fork_on(session: Interpreter, files: list[int]) -> bool:
    """Fork; `True` in the new process, which answers on the channel in `files`."""
    if (pid := _new_process(session)) != 0:
        if pid < 0:
            os.write(files[0], CANNOT_FORK)
        for file in files:
            os.close(file)
        return False
    _take_channel(files[0])
    os.write(CONTROL, HELLO)
    return True


def _new_process(session: Interpreter) -> int:
    """As `os.fork`, but -1 on failure."""
    several = len(_frames()) > 1
    # With its hooks, the random module draws a new seed in every forked child.
    state = random.getstate() if several else None
    pid = session.fork(hooks=several)
    if pid == 0:
        if state is not None:
            random.setstate(state)
        if not session.child.isolation.private_pids:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    return pid


def _take_channel(file: int) -> None:
    os.dup2(file, CONTROL)
    os.close(file)


def _run(
    session: Interpreter, job: Job, files: list[int], *, collect: bool, in_place: bool
) -> None:
    """The turn, in a runner; returns in its continuation only.

    Once the program runs, all that is needed later is looked up already: what it leaves behind may
    still run, as a stream of its own does, and change the names of this module.
    """
    leave, new_process, duplicate, write, say = _exit, _new_process, os.dup2, os.write, report
    for number, file in enumerate(files):
        duplicate(file, number)
        os.close(file)
    set_limits(job, session.child, session=True)
    code = _execute(session, job, collect=collect)
    if code != 0 and not in_place:
        # The head still has the state before the turn.
        leave(code)
    pid = new_process(session)
    if pid == 0:
        for number in (0, 1, 2):
            duplicate(NULL, number)
        write(CONTROL, HELLO)
        return
    if pid < 0:
        say("BlockingIOError: the interpreter cannot fork, too many threads are running")
    leave(code if pid > 0 else code or 1)


def _execute(session: Interpreter, job: Job, *, collect: bool) -> int:
    """Run the program that standard input's file holds; its exit code."""
    room = job.output_bytes // 16
    execute, word, pictures, flush, write = run, fail, leave_pictures, flush_streams, os.write
    flush_others, young, word_last = flush_writers, gc.get_objects, word_last_error
    begun: list[bool] = []

    def begin(source: str, filename: str) -> None:
        show_source(source, filename)
        begun.append(True)
        write(CONTROL, COMPILED)
        if collect:
            gc.enable()

    try:
        source, filename = take_source(job.source_bytes), name_of(job.turn)
        exit_code = execute(source, filename, session.namespace, room, begin)
    except MemoryError as error:
        # What earlier turns left leaves no room to start.
        word(error, room)
        return 1
    if not begun:
        write(CONTROL, NOT_COMPILED)
        return 1
    pictures()
    try:
        flush()
        # All objects of all turns would be copied with their pages: the latest will have to do.
        flush_others(lambda: young(0) + young(1))
    except BaseException as error:  # noqa: BLE001 - the program may have replaced its streams
        if exit_code == 0:
            exit_code = 120
            word_last(error)
    return exit_code


def vouched_pid(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Process id of the sender of a `HELLO`; 0 where the kernel did not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid, _, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            return int(pid)
    return 0
