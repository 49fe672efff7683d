"""Messages between client and fork server: one fixed record a packet, descriptors beside it."""

import signal
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple, Self


class Op(IntEnum):
    """What the client asks for."""

    RUN = 1
    """Run the program in the attached memory files."""
    KILL = 2
    """Kill call `call`; its reply still comes."""
    OPEN = 3
    """Open session `session`."""
    TURN = 4
    """Run a program in `session`, in a fork that replaces the session if it succeeds."""
    TURN_IN_PLACE = 5
    """Run a program in `session` itself."""
    BRANCH = 6
    """Fork `session` into `branch`."""
    CLOSE = 7
    """End `session`."""
    PING = 8
    """Say that you live."""


class Ending(IntEnum):
    """How a call ended, as the server saw it."""

    EXITED = 0
    SIGNALED = 1
    CPU = 2
    WALL = 3
    KILLED = 4
    """The client asked for it."""
    FAILED = 5
    """The server could not run it; `code` is an errno."""
    DONE = 6
    """A session was opened or branched, or the server lives."""


class Mark(IntFlag):
    """What else a reply says."""

    NONE = 0
    COMPILED = 1
    """The program was compiled, so user code may have run."""
    SESSION_LOST = 2
    """The variables of the session are gone."""
    INTERPRETER_ENDED = 4
    """The turn ended its interpreter, so that nothing could go on from it."""
    ENDED_BY_SERVER = 8
    """For what it did: nobody else sent the signal."""


_REQUEST: Final = struct.Struct("<B7xQQQIIIIIIII")
_REPLY: Final = struct.Struct("<BBB5xQiIQQ")
_JOB: Final = struct.Struct("<IIIIIII")

READY: Final = b"ready "
"""Starts the one JSON packet that a server sends when it has warmed up."""

PACKET_BYTES: Final = 65_536

_RECORD: Final = b"\0torl "
_RECORD_LENGTH: Final = struct.Struct("<Q")


def record(kind: bytes, data: bytes) -> bytes:
    """What a program's interpreter leaves in its input file.

    Args:
        kind: `E` for the last line of a traceback, `M` for that of a memory error, `P` for a PNG,
            `L` where a picture was left out.
        data: Of that kind.
    """
    return b"".join((_RECORD, kind, _RECORD_LENGTH.pack(len(data)), data))


def read_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and contents of the records at the start of `data`, which a program may have forged.

    >>> read_records(record(b"E", b"words") + record(b"P", b"png") + b"else")
    [(b'E', b'words'), (b'P', b'png')]
    """
    found: list[tuple[bytes, bytes]] = []
    head, at = len(_RECORD) + 1 + _RECORD_LENGTH.size, 0
    while data.startswith(_RECORD, at) and at + head <= len(data):
        kind = data[at + len(_RECORD) : at + len(_RECORD) + 1]
        (length,) = _RECORD_LENGTH.unpack_from(data, at + len(_RECORD) + 1)
        found.append((kind, data[at + head : at + head + length]))
        at += head + length
    return found


class Job(NamedTuple):
    """Limits of one program, in the units of the kernel."""

    cpu_ms: int
    wall_ms: int
    memory_mb: int
    output_bytes: int
    """Per stream; past it the program is ended."""
    processes: int
    open_files: int
    source_bytes: int = 0
    """Length of the program; what follows it in its file is the standard input."""
    turn: int = 0
    """Its number in a session, from 1; 0 for a single program."""

    def pack(self) -> bytes:
        """The part that a child needs."""
        return _JOB.pack(
            self.cpu_ms,
            self.memory_mb,
            self.output_bytes,
            self.processes,
            self.open_files,
            self.source_bytes,
            self.turn,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Inverse of `pack`; the wall limit is the server's business and comes out as 0."""
        cpu_ms, *others = _JOB.unpack(data)
        return cls(cpu_ms, 0, *others)


NO_JOB: Final = Job(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """Client to server."""

    op: Op
    call: int
    session: int = 0
    branch: int = 0
    job: Job = NO_JOB

    def pack(self) -> bytes:
        """One packet."""
        job = self.job
        return _REQUEST.pack(
            self.op,
            self.call,
            self.session,
            self.branch,
            job.cpu_ms,
            job.wall_ms,
            job.memory_mb,
            job.output_bytes,
            job.processes,
            job.open_files,
            job.source_bytes,
            job.turn,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Inverse of `pack`."""
        op, call, session, branch, *job = _REQUEST.unpack(data)
        return cls(Op(op), call, session, branch, Job(*job))


@dataclass(frozen=True, slots=True)
class Reply:
    """Server to client."""

    call: int
    ending: Ending
    code: int = 0
    """Exit code, or an errno where `ending` is FAILED."""
    signal: int = 0
    mark: Mark = Mark.NONE
    rss_kb: int = 0
    wall_us: int = 0
    cpu_us: int = 0

    @property
    def killed_by_others(self) -> bool:
        """Whether SIGKILL ended it, and not the server."""
        killed = self.ending is Ending.SIGNALED and self.signal == signal.SIGKILL
        return killed and Mark.ENDED_BY_SERVER not in self.mark

    def pack(self) -> bytes:
        """One packet."""
        return _REPLY.pack(
            self.ending,
            self.mark,
            self.signal,
            self.call,
            self.code,
            self.rss_kb,
            self.wall_us,
            self.cpu_us,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Inverse of `pack`."""
        ending, mark, signal, call, code, rss_kb, wall_us, cpu_us = _REPLY.unpack(data)
        return cls(call, Ending(ending), code, signal, Mark(mark), rss_kb, wall_us, cpu_us)
