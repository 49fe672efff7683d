"""What the server knows of a session, and what it does with its claims."""

import ctypes
import errno
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from torl_env.sandbox.forkserver import kernel, seccomp
from torl_env.sandbox.forkserver.watch import Watch
from torl_env.sandbox.forkserver.wire import Request


class _Notice(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("data", ctypes.c_uint8 * 64),
    )


class _Answer(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("value", ctypes.c_int64),
        ("error", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    )


@dataclass(slots=True, eq=False)
class Family:
    """A session and its branches: they share a filter, and so the descriptor of its notices."""

    offset: int
    listener: int = -1
    members: list["Session"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Session:
    """One live interpreter."""

    number: int
    family: Family
    pid: int = 0
    channel: socket.socket | None = None
    turn: "Turn | None" = None
    may_fork: bool = False


@dataclass(slots=True, eq=False)
class Turn:
    """What a session is doing now: a turn, or giving birth to a branch."""

    request: Request
    began: float
    channel: socket.socket | None = None
    """To the fork; `None` for a turn in place."""
    watch: Watch | None = None
    over: bool = False

    @property
    def pid(self) -> int:
        """Of the process that runs it, 0 before that is known."""
        return 0 if self.watch is None else self.watch.pid


def answer_fork(family: Family) -> None:
    """A process of the family wants to fork: once, when told to, and no other."""
    notice = _Notice()
    receive, send = (
        ctypes.c_ulong(seccomp.NOTIFY_RECEIVE),
        ctypes.c_ulong(seccomp.NOTIFY_SEND),
    )
    if kernel.libc.ioctl(family.listener, receive, ctypes.byref(notice)) < 0:
        return
    asked = [item for item in family.members if item.pid == notice.pid and item.may_fork]
    for session in asked:
        session.may_fork = False
    answer = _Answer(notice.id, 0, 0, 1) if asked else _Answer(notice.id, 0, -errno.EPERM, 0)
    kernel.libc.ioctl(family.listener, send, ctypes.byref(answer))


def kill_undeclared(proc: int, known: set[int]) -> None:
    """Kill children that a lying session has made and not declared.

    Args:
        proc: Directory of a /proc that shows them, or -1.
        known: Children that may be there.
    """
    if proc < 0:
        return
    own = os.getpid()
    try:
        file = os.open(f"{own}/task/{own}/children", os.O_RDONLY, dir_fd=proc)
    except OSError:
        return
    try:
        listed = os.read(file, 1 << 20)
    finally:
        os.close(file)
    for pid in set(map(int, listed.split())) - known:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """One packet and its descriptors; nothing where the other end is gone."""
    try:
        data, files, _, _ = socket.recv_fds(channel, 256, 4)
    except ConnectionError:
        return b"", []
    return data, files


def close_received(ancillary: list[tuple[int, int, bytes]]) -> None:
    """A hostile session may send descriptors nobody asked for."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            size = ctypes.sizeof(ctypes.c_int)
            for start in range(0, len(data) // size * size, size):
                os.close(int.from_bytes(data[start : start + size], "little"))
