"""The processes of a session as the server knows them: what they are, say, and who is there."""

import os
import resource
import socket
from dataclasses import dataclass

from torl_env.sandbox.forkserver.turns import vouched_pid
from torl_env.sandbox.forkserver.watch import Watch
from torl_env.sandbox.forkserver.wire import Op, Request


@dataclass(slots=True, eq=False)
class Session:
    """One interpreter and its turn."""

    number: int
    offset: int
    """Of its user id, which its branches share."""
    head: int = 0
    """The process with the state after the last turn; 0 once it is lost."""
    channel: socket.socket | None = None
    turn: "Turn | None" = None


@dataclass(slots=True, eq=False)
class Turn:
    """What a session is doing now: a turn, or a branch."""

    request: Request
    channel: socket.socket
    """To the processes that it makes."""
    watch: Watch
    """Of the head until there is a runner, and then of that."""
    runner: int = 0
    continuation: int = 0
    compiled: bool | None = None
    """What the runner has said before any code of the turn ran; nothing is heard on it later."""
    closed: bool = False
    """No process holds the other end of the channel any more."""
    ended: tuple[int, resource.struct_rusage] | None = None
    """How the runner ended, once it has."""
    over: bool = False

    @property
    def in_place(self) -> bool:
        """Whether the head is the runner."""
        return self.request.op is Op.TURN_IN_PLACE

    @property
    def expects_process(self) -> bool:
        """Whether a process that it has made may not have said hello yet."""
        return not self.runner or not self.continuation


def read_word(channel: socket.socket) -> tuple[bytes | None, int]:
    """One packet and the process id that the kernel vouches for.

    Returns:
        `None` where there is nothing to read, and `b""` where the other end is gone.
    """
    try:
        data, ancillary, _, _ = channel.recvmsg(256, socket.CMSG_SPACE(64))
    except BlockingIOError:
        return None, 0
    except OSError:
        return b"", 0
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            # Descriptors that were not asked for.
            for start in range(0, len(content) // 4 * 4, 4):
                os.close(int.from_bytes(content[start : start + 4], "little"))
    return data, vouched_pid(ancillary)


def children(proc: int) -> set[int]:
    """Of this process, as a /proc shows them."""
    own = os.getpid()
    try:
        file = os.open(f"{own}/task/{own}/children", os.O_RDONLY, dir_fd=proc)
    except OSError:
        return set()
    try:
        return set(map(int, os.read(file, 1 << 20).split()))
    finally:
        os.close(file)
