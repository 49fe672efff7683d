"""From what the kernel says of a process, and the bytes it wrote, to an `Execution`."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torl_env.sandbox.types import Execution, Limits, Status

HARD_LIMIT_FACTOR: Final = 16
"""A stream may grow to this many times `Limits.output_bytes` before the program is ended."""

_MARKER: Final = "\n[... {count} bytes omitted ...]\n"


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known of a process that has ended, apart from its output."""

    exit_code: int
    """Negative for a signal."""
    timed_out: str = ""
    """`cpu` or `wall` where a limit ended it."""
    compiled: bool = True
    interpreter_ended: bool = False
    """A turn that left no interpreter to go on from, as by `os._exit`."""
    memory_error: bool = False
    """The uncaught exception was a `MemoryError`."""
    error: str = ""
    """Last line of the traceback, where there was one."""
    rss_mb: float = 0.0


def status_of(ended: Ended, streams: "Streams", limits: Limits) -> Status:
    """How the program ended; its output is never looked at."""
    if ended.timed_out:
        return Status.TIMEOUT
    if ended.exit_code == 0:
        return Status.ERROR if ended.interpreter_ended else Status.OK
    if streams.full:
        return Status.OUTPUT_LIMIT
    if ended.memory_error:
        return Status.MEMORY
    if ended.exit_code < 0:
        # Without our doing, SIGKILL on a full process is the kernel out of memory.
        out_of_memory = (
            ended.exit_code == -signal.SIGKILL and ended.rss_mb >= 0.9 * limits.memory_mb
        )
        return Status.MEMORY if out_of_memory else Status.KILLED
    return Status.ERROR if ended.compiled else Status.SYNTAX_ERROR


def sentence_of(status: Status, ended: Ended, limits: Limits) -> str:
    """`Execution.error`."""
    if status is Status.OK:
        return ""
    if ended.interpreter_ended and status is Status.ERROR:
        return "the turn ended its interpreter, so what it set is lost"
    if status is Status.TIMEOUT:
        amount = limits.wall_seconds if ended.timed_out == "wall" else limits.cpu_seconds
        kind = "wall" if ended.timed_out == "wall" else "CPU"
        return f"{kind} time limit of {amount:g} s exceeded"
    if status is Status.OUTPUT_LIMIT:
        return f"output limit of {limits.output_bytes} bytes exceeded by far"
    if status is Status.KILLED:
        name = signal_name(-ended.exit_code)
        most = limits.output_bytes * HARD_LIMIT_FACTOR
        return f"killed by {name}" + (
            f": a file may have {most} bytes" if name == "SIGXFSZ" else ""
        )
    if status is Status.MEMORY:
        return ended.error or f"memory limit of {limits.memory_mb} MB exceeded"
    return ended.error or f"exit code {ended.exit_code}"


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True, slots=True)
class Streams:
    """What a program wrote and drew, bounded."""

    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    full: bool = False
    """One is at its hard limit."""
    images: tuple[bytes, ...] = ()

    @classmethod
    def of_files(
        cls,
        stdout: int,
        stderr: int,
        limits: Limits,
        images: tuple[bytes, ...] = (),
        *,
        cut: bool = False,
    ) -> "Streams":
        """From two open files, and whether something else was left out."""
        out, out_cut, out_size = shorten_file(stdout, limits.output_bytes)
        err, err_cut, err_size = shorten_file(stderr, limits.output_bytes)
        full = max(out_size, err_size) >= limits.output_bytes * HARD_LIMIT_FACTOR
        return cls(out, err, cut or out_cut or err_cut, full, images)

    @classmethod
    def of_bytes(cls, stdout: bytes, stderr: bytes, limits: Limits) -> "Streams":
        """From bytes in memory."""
        out, out_cut = shorten_bytes(stdout, limits.output_bytes)
        err, err_cut = shorten_bytes(stderr, limits.output_bytes)
        full = max(len(stdout), len(stderr)) >= limits.output_bytes * HARD_LIMIT_FACTOR
        return cls(out, err, out_cut or err_cut, full)


def execution(
    ended: Ended, streams: Streams, limits: Limits, cpu_seconds: float, wall_seconds: float
) -> Execution:
    """Everything together."""
    status = status_of(ended, streams, limits)
    return Execution(
        status=status,
        stdout=streams.stdout,
        stderr=streams.stderr,
        error=sentence_of(status, ended, limits),
        output_truncated=streams.truncated,
        exit_code=ended.exit_code,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        images=streams.images,
        self_reported=_self_reported(status, ended),
    )


def _self_reported(status: Status, ended: Ended) -> bool:
    if status is Status.MEMORY:
        # Without its word it is inferred from its size, and it may have killed itself.
        return True
    return status is Status.ERROR and bool(ended.error) and not ended.interpreter_ended


def shorten(size: int, limit: int, read: Callable[[int, int], bytes]) -> tuple[str, bool]:
    r"""Text of a stream of `size` bytes, at most `limit` bytes of it: head and tail.

    Args:
        size: Bytes in the stream.
        limit: Bytes to keep, the marker included.
        read: `read(count, offset)`.

    Returns:
        The text, invalid UTF-8 replaced, and whether something was left out.

    >>> data = b"a" * 50 + b"b" * 50
    >>> shorten(100, 100, lambda count, at: data[at : at + count])[1]
    False
    >>> shorten(100, 60, lambda count, at: data[at : at + count])
    ('aaaaaaaaaaaaaaa\n[... 69 bytes omitted ...]\nbbbbbbbbbbbbbbbb', True)
    """
    if size <= limit:
        return read(size, 0).decode("utf-8", "replace"), False
    room = limit - len(_MARKER.format(count=size))
    if room < 2:
        return _whole_characters_head(read(limit, 0)).decode("utf-8", "replace"), True
    head = _whole_characters_head(read(room // 2, 0))
    tail_bytes = room - room // 2
    tail = _whole_characters_tail(read(tail_bytes, size - tail_bytes))
    marker = _MARKER.format(count=size - len(head) - len(tail))
    return head.decode("utf-8", "replace") + marker + tail.decode("utf-8", "replace"), True


def shorten_file(descriptor: int, limit: int) -> tuple[str, bool, int]:
    """`shorten` of an open file, and its size."""
    size = os.fstat(descriptor).st_size
    text, cut = shorten(size, limit, lambda count, at: os.pread(descriptor, count, at))
    return text, cut, size


def shorten_bytes(data: bytes, limit: int) -> tuple[str, bool]:
    """`shorten` of bytes in memory."""
    return shorten(len(data), limit, lambda count, at: data[at : at + count])


def _whole_characters_head(data: bytes) -> bytes:
    """Without a character that was cut at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return data
        if byte >= 0xC0:
            need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if back >= need else data[:-back]
    return data


def _whole_characters_tail(data: bytes) -> bytes:
    """Without the rest of a character that was cut at the start."""
    skip = 0
    while skip < min(3, len(data)) and 0x80 <= data[skip] < 0xC0:
        skip += 1
    return data[skip:]
