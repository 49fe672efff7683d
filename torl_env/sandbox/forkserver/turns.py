"""The session's side of a session: an interpreter that forks when the server tells it to.

A turn runs in a fork of the session, which replaces the session when the turn succeeds and is
thrown away when it fails. The forks are the server's children, so that it sees every end itself.
"""

import gc
import os
import random
import resource
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from torl_env.sandbox.forkserver import kernel
from torl_env.sandbox.forkserver.program import (
    CONTROL,
    FILENAME,
    NULL,
    Child,
    new_main,
    prepare_source,
    run,
    set_limits,
    take_source,
)
from torl_env.sandbox.forkserver.wire import Job

_exit: Final = os._exit
_frames: Final = sys._current_frames
"""One for each thread of Python's."""
TURN: Final = b"T"
"""Server to session: fork, run the attached program in the fork."""
TURN_IN_PLACE: Final = b"I"
FORK: Final = b"F"
LISTENER: Final = b"L"
"""Session to server: here I am; the attached descriptor tells you when I want to fork."""
HELLO: Final = b"H"
"""Fork to server: here I am, with my process id as the kernel vouches for it."""
CANNOT_FORK: Final = b"X"
_DONE: Final = struct.Struct("<cBi")
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Done:
    """Session to server: a turn has come to its end inside the process."""

    code: int
    compiled: bool

    def pack(self) -> bytes:
        """One packet."""
        return _DONE.pack(b"D", self.compiled, self.code)

    @classmethod
    def unpack(cls, data: bytes) -> "Done | None":
        """Inverse of `pack`; `None` for anything else, which a hostile session may send."""
        if len(data) != _DONE.size or data[:1] != b"D":
            return None
        _, compiled, code = _DONE.unpack(data)
        return cls(code, bool(compiled))


class Interpreter:
    """One session process."""

    def __init__(self, child: Child, fork: kernel.SiblingFork) -> None:
        self._child = child
        self._fork = fork
        self._control: socket.socket
        self._namespace: dict[str, object]

    def serve(self, channel: socket.socket, offset: int) -> NoReturn:
        """Become a session on `channel`; never returns."""
        child = self._child
        os.dup2(child.null, NULL)
        child.settle(channel.fileno(), NULL + 1, offset)
        for number in (0, 1, 2):
            os.dup2(NULL, number)
        os.dup2(channel.fileno(), CONTROL)
        channel.close()
        self._control = socket.socket(fileno=CONTROL)
        child.phases.close()
        random.seed(child.seed)
        gc.enable()
        self._namespace = new_main()
        listener: list[int] = []
        if child.isolation.session_filter is not None:
            listener.append(child.isolation.session_filter.install(listen=True))
        socket.send_fds(self._control, [LISTENER], listener)
        for descriptor in listener:
            os.close(descriptor)
        while True:
            self._obey()

    def _obey(self) -> None:
        data, files, _, _ = socket.recv_fds(self._control, 256, 4)
        if not data:
            _exit(0)
        kind, job = data[:1], Job.unpack(data[1:]) if len(data) > 1 else None
        if kind in (TURN, FORK):
            if not self._become_fork(files):
                return
            files = files[1:]
        if job is not None:
            self._turn(job, files)

    def _become_fork(self, files: list[int]) -> bool:
        """Fork; `True` in the fork, which then answers on its own channel."""
        several = len(_frames()) > 1
        # With its hooks, the random module draws a new seed in every forked child.
        state = random.getstate() if several else None
        if self._child.isolation.first_uid:
            # A turn's limit is for its threads; the family's processes are the server's business.
            most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
            resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        pid = self._fork(hooks=several)
        if pid != 0:
            for file in files:
                os.close(file)
            if pid < 0:
                self._control.send(CANNOT_FORK)
            return False
        if state is not None:
            random.setstate(state)
        self._control.detach()
        os.dup2(files[0], CONTROL)
        os.close(files[0])
        self._control = socket.socket(fileno=CONTROL)
        if not self._child.isolation.private_pids:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
        vouched = _CREDENTIALS.pack(os.getpid(), os.getuid(), os.getgid())
        self._control.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, vouched)])
        return True

    def _turn(self, job: Job, files: list[int]) -> None:
        child = self._child
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        set_limits(job, child, session=True)
        room = job.output_bytes // 16
        code = prepare_source(take_source(job.source_bytes), FILENAME, room)
        exit_code = 1 if code is None else run(code, self._namespace, room)
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - the program may have replaced its streams
            exit_code = exit_code or 120
        for number in (0, 1, 2):
            os.dup2(NULL, number)
        self._control.send(Done(exit_code, code is not None).pack())


def vouched_pid(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Process id of the sender of a `HELLO`; 0 where the kernel did not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid: Any = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
            return int(pid)
    return 0
