"""The session's side of a session: an interpreter that forks when the server tells it to.

A turn runs in a process of its own, the runner, and its result is the runner's exit status, which
the kernel tells the server. A runner whose turn goes well forks once more before it ends: this
process, its continuation, has the variables and waits for the next turn.

    head --fork--> runner: compile, run --fork--> continuation (the next head)
                   exit status = result

All are the server's children (`CLONE_PARENT`). A turn in place has no first fork: the head is the
runner. Nothing that a program writes to any descriptor is taken for a result.
"""

import gc
import os
import random
import socket
import struct
import sys
from resource import RLIMIT_AS, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Final, NoReturn

from torl_env.sandbox.forkserver import kernel
from torl_env.sandbox.forkserver.areas import Area
from torl_env.sandbox.forkserver.program import (
    CONTROL,
    FILENAME,
    NULL,
    Child,
    fail,
    flush_streams,
    leave_pictures,
    new_main,
    prepare_source,
    report,
    run,
    set_limits,
    take_source,
)
from torl_env.sandbox.forkserver.wire import Job

_exit: Final = os._exit
_frames: Final = sys._current_frames
"""One for each thread of Python's."""
TURN: Final = b"T"
"""Server to head: fork a runner for the attached channel and program."""
TURN_IN_PLACE: Final = b"I"
"""Server to head: be the runner."""
FORK: Final = b"F"
"""Server to head: fork another head, on the attached channel."""
HELLO: Final = b"H"
"""A new process to server: here I am, with my process id as the kernel vouches for it."""
COMPILED: Final = b"C"
"""Runner to server, before any code of the turn could run: the next thing is the program."""
NOT_COMPILED: Final = b"N"
"""Instead of that: there will be none."""
CANNOT_FORK: Final = b"X"
_CREDENTIALS: Final = struct.Struct("3i")
_HEAD_FAILED: Final = 70


class Interpreter:
    """One session: each of its processes has a copy."""

    def __init__(self, child: Child, fork: kernel.SiblingFork) -> None:
        self._child = child
        self._fork = fork
        self._control: socket.socket
        self._namespace: dict[str, object]

    def serve(self, channel: socket.socket, offset: int, area: Area | None) -> NoReturn:
        """Become the first head, on `channel`; never returns."""
        child = self._child
        os.dup2(child.null, NULL)
        child.settle(channel.fileno(), NULL + 1, offset, area)
        for number in (0, 1, 2):
            os.dup2(NULL, number)
        os.dup2(channel.fileno(), CONTROL)
        channel.close()
        self._control = socket.socket(fileno=CONTROL)
        child.phases.close()
        random.seed(child.seed)
        gc.enable()
        self._namespace = new_main()
        if child.isolation.session_filter is not None:
            child.isolation.session_filter.install()
        self._control.send(HELLO)
        while True:
            try:
                self._obey()
            except BaseException:  # noqa: BLE001 - the server sees the end, whatever the reason
                _exit(_HEAD_FAILED)

    def _obey(self) -> None:
        """Do one thing that the server says; returns in a head only."""
        self._lift_limits()
        data, files, _, _ = socket.recv_fds(self._control, 256, 4)
        if not data or not files:
            _exit(0)
        kind, job = data[:1], Job.unpack(data[1:]) if len(data) > 1 else None
        if kind == TURN_IN_PLACE:
            self._take_channel(files[0])
        elif not self._fork_on(files):
            return
        if job is not None:
            self._run(job, files[1:], in_place=kind == TURN_IN_PLACE)

    def _lift_limits(self) -> None:
        """What the last turn left in use must not keep the next one from starting."""
        for what in (RLIMIT_AS, RLIMIT_NOFILE):
            hard = getrlimit(what)[1]
            setrlimit(what, (hard, hard))

    def _fork_on(self, files: list[int]) -> bool:
        """Fork; `True` in the new process, which answers on the channel in `files`."""
        if (pid := self._new_process()) != 0:
            if pid < 0:
                socket.socket(fileno=os.dup(files[0])).send(CANNOT_FORK)
            for file in files:
                os.close(file)
            return False
        self._take_channel(files[0])
        self._control.send(HELLO)
        return True

    def _new_process(self) -> int:
        """As `os.fork`, but -1 on failure."""
        several = len(_frames()) > 1
        # With its hooks, the random module draws a new seed in every forked child.
        state = random.getstate() if several else None
        pid = self._fork(hooks=several)
        if pid == 0:
            if state is not None:
                random.setstate(state)
            if not self._child.isolation.private_pids:
                kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
        return pid

    def _take_channel(self, file: int) -> None:
        self._control.detach()
        os.dup2(file, CONTROL)
        os.close(file)
        self._control = socket.socket(fileno=CONTROL)

    def _run(self, job: Job, files: list[int], *, in_place: bool) -> None:
        """The turn, in a runner; returns in its continuation only."""
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        set_limits(job, self._child, session=True)
        code = self._execute(job)
        if code != 0 and not in_place:
            # The head still has the state before the turn.
            _exit(code)
        pid = self._new_process()
        if pid == 0:
            for number in (0, 1, 2):
                os.dup2(NULL, number)
            self._control.send(HELLO)
            return
        if pid < 0:
            report("BlockingIOError: the interpreter cannot fork, too many threads are running")
        _exit(code if pid > 0 else code or 1)

    def _execute(self, job: Job) -> int:
        """Run the program that standard input's file holds; its exit code."""
        room = job.output_bytes // 16
        try:
            code = prepare_source(take_source(job.source_bytes), FILENAME, room)
            if code is None:
                self._control.send(NOT_COMPILED)
                return 1
            self._control.send(COMPILED)
            exit_code = run(code, self._namespace, room)
        except MemoryError as error:
            # What earlier turns left leaves no room to start.
            fail(error, room)
            return 1
        leave_pictures()
        try:
            flush_streams()
        except BaseException:  # noqa: BLE001 - the program may have replaced its streams
            return exit_code or 120
        return exit_code


def vouched_pid(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Process id of the sender of a `HELLO`; 0 where the kernel did not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid, _, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            return int(pid)
    return 0
