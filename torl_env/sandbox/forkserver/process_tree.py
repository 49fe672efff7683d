"""The processes of a session as the server knows them: what they are, say, and who is there."""

import os
import resource
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from torl_env.sandbox.forkserver.turns import vouched_pid
from torl_env.sandbox.forkserver.watch import Watch
from torl_env.sandbox.forkserver.wire import Ending, Mark, Op, Reply, Request


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
    spare: "Spare | None" = None

    @property
    def expects_process(self) -> bool:
        """Whether a process that it has made may not have said hello yet."""
        turn, spare = self.turn, self.spare
        forks = turn is not None and not (turn.runner and turn.continuation)
        return forks or (spare is not None and not spare.pid)


@dataclass(slots=True, eq=False)
class Spare:
    """A process forked from the head ahead of the next turn, to be its runner."""

    channel: socket.socket
    pid: int = 0
    """0 until it has said hello."""


@dataclass(slots=True, eq=False)
class Turn:
    """What a session is doing now: a turn, or a branch."""

    request: Request
    channel: socket.socket
    """To the processes that it makes."""
    theirs: socket.socket
    """Their end, until it is sent."""
    watch: Watch
    """Of the head until there is a runner, and then of that."""
    files: list[int]
    """Its program and streams, until they are sent."""
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
    def waits(self) -> bool:
        """Whether nobody has been given it yet."""
        return self.theirs.fileno() >= 0

    def send(self, channel: socket.socket, word: bytes) -> bool:
        """Give it to a process; whether that took it."""
        sent = send_word(channel, word, [self.theirs.fileno(), *self.files])
        if sent:
            self.close_files()
        return sent

    def reply(
        self, ending: Ending, code: int, number: int, mark: Mark, rss_kb: int, cpu: float
    ) -> Reply:
        """The answer to its request."""
        wall = int(self.watch.wall * 1e6)
        if self.compiled is not False:
            mark |= Mark.COMPILED
        if self.request.op is Op.BRANCH and ending is not Ending.KILLED:
            # The caller gets a session that has lost its variables, not an infrastructure error.
            ending, mark = Ending.DONE, mark | Mark.INTERPRETER_ENDED
        call = self.request.call
        return Reply(call, ending, code, number, mark, rss_kb, wall, int(cpu * 1e6))

    def close_files(self) -> None:
        """Let go of what a process has got, or what none will."""
        self.theirs.close()
        while self.files:
            os.close(self.files.pop())


def new_channel() -> tuple[socket.socket, socket.socket]:
    """The server's end, on which the kernel says who speaks, and that of a process to be."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ours.setblocking(False)
    return ours, theirs


def send_word(channel: socket.socket, word: bytes, files: Sequence[int]) -> bool:
    """Tell a process, if it lives; whether it does."""
    try:
        socket.send_fds(channel, [word], files)
    except OSError:
        return False
    return True


def freeze(pid: int) -> None:
    """Between turns nothing of a session runs, whatever threads it has started."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def wake(pid: int) -> None:
    """Undo `freeze`."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


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


def kill_undeclared(proc: int, known: Sequence[int]) -> None:
    """Kill children of this process that are not `known`: a program has made them."""
    for pid in children(proc) - set(known):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


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
