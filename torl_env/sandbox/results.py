"""The truth table: from what the kernel says of a process to an `Execution`."""

import signal
from dataclasses import dataclass

from torl_env.sandbox.types import Execution, Limits, Status


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
    output_full: bool = False
    """A stream is at its hard limit."""
    rss_mb: float = 0.0


def status_of(ended: Ended, limits: Limits) -> Status:
    """How the program ended; its output is never looked at."""
    if ended.timed_out:
        return Status.TIMEOUT
    if ended.exit_code == 0:
        return Status.ERROR if ended.interpreter_ended else Status.OK
    if ended.output_full:
        return Status.OUTPUT_LIMIT
    if ended.memory_error:
        return Status.MEMORY
    if ended.exit_code < 0:
        # Without our doing, SIGKILL on a full process is the kernel out of memory.
        starved = ended.exit_code == -signal.SIGKILL and ended.rss_mb >= 0.9 * limits.memory_mb
        return Status.MEMORY if starved else Status.KILLED
    return Status.ERROR if ended.compiled else Status.SYNTAX_ERROR


def sentence_of(status: Status, ended: Ended, limits: Limits) -> str:
    """`Execution.error`."""
    if status is Status.OK:
        return ""
    if ended.interpreter_ended and status is Status.ERROR:
        return "the turn ended its interpreter, so its variables are lost"
    if status is Status.TIMEOUT:
        amount = limits.wall_seconds if ended.timed_out == "wall" else limits.cpu_seconds
        kind = "wall" if ended.timed_out == "wall" else "CPU"
        return f"{kind} time limit of {amount:g} s exceeded"
    if status is Status.OUTPUT_LIMIT:
        return f"output limit of {limits.output_bytes} bytes exceeded by far"
    if status is Status.KILLED:
        return f"killed by {signal_name(-ended.exit_code)}"
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
    """What a program wrote, bounded."""

    stdout: str = ""
    stderr: str = ""
    truncated: bool = False


def execution(
    ended: Ended, streams: Streams, limits: Limits, cpu_seconds: float, wall_seconds: float
) -> Execution:
    """Everything together."""
    status = status_of(ended, limits)
    return Execution(
        status=status,
        stdout=streams.stdout,
        stderr=streams.stderr,
        error=sentence_of(status, ended, limits),
        output_truncated=streams.truncated,
        exit_code=ended.exit_code,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
    )
