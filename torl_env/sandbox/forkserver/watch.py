"""The limits enforced by the clock: CPU charged to a program, and its wall guard."""

import math
import os
import signal
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from torl_env.sandbox.forkserver import kernel
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.wire import Ending, Job
from torl_env.sandbox.run_queue import is_runnable, waited_seconds

_CPU_SLACK: Final = 0.001
_SHORTEST: Final = 0.002
_PROCESSORS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
_AGAIN: Final = 0.02
"""Seconds until a look at a program that was waiting for a processor."""
_PATIENCE: Final = 100
"""No program outlives this many times its wall limit, however busy the machine."""


class Waits(NamedTuple):
    """What a program has waited for the machine instead of sleeping."""

    sure: float
    """Seconds: of the thread that waited most, and for answers of this server."""
    doubtful: float
    """Seconds that may come on top: threads that wait for each other wait one after the other, and
    what a thread has waited is forgotten with it."""
    runnable: bool
    """A thread runs or waits for a processor now; the kernel counts a wait when it ends."""


class WaitMeter:
    """How long a program was ready to run but found no processor."""

    def __init__(self, proc: int, running: Callable[[], int]) -> None:
        self._proc = proc
        self._running = running
        self.exact = self._look(os.getpid()) is not None
        own = f"{os.getpid()}/schedstat"
        self._schedstat = os.open(own, os.O_RDONLY, dir_fd=proc) if self.exact else -1
        self._noted = 0.0
        self.held: Callable[[int], float] = lambda pid: 0.0
        """Seconds for which a program waited for this server, see `clones.CloneGate`."""
        self.started: Callable[[int], int] = lambda pid: 0
        """Threads that a program has started, likewise."""

    def note(self) -> None:
        """This server is about to wait for events."""
        self._noted = self._own()

    def stalled(self) -> float:
        """Seconds for which this server has waited for a processor since then."""
        return self._own() - self._noted

    def _own(self) -> float:
        return 0.0 if self._schedstat < 0 else waited_seconds(os.pread(self._schedstat, 1024, 0))

    def _look(self, pid: int) -> tuple[list[float], bool] | None:
        """Seconds on the run queue of each thread, longest first, and whether one runs or waits."""
        if self._proc < 0:
            return None
        waited, runnable = [0.0], False
        try:
            tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
        except OSError:
            return None
        try:
            for task in os.listdir(tasks):  # noqa: PTH208 - of a descriptor
                waited.append(waited_seconds(_read_at(tasks, f"{task}/schedstat")))
                runnable |= is_runnable(_read_at(tasks, f"{task}/stat"))
        except (OSError, IndexError, ValueError):
            return None
        finally:
            os.close(tasks)
        return sorted(waited, reverse=True), runnable

    def waits(self, pid: int, wall: float) -> Waits:
        """Of a program, `wall` seconds after its start."""
        seen = self._look(pid) if self.exact else None
        if seen is None:
            crowd = max(self._running(), kernel.load_average()) / _PROCESSORS
            return Waits(wall - wall / max(1.0, crowd), 0.0, False)
        (longest, *others), runnable = seen
        # Of the numbers one is the 0.0 put in above, and one the main thread's.
        ended = self.started(pid) > len(others) - 1
        doubtful = math.inf if ended else sum(others)
        return Waits(longest + self.held(pid), doubtful, runnable)


def has_ended(pid: int) -> bool:
    """Whether a child has ended and was not reaped yet: how it ended is for the kernel to say."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _read_at(directory: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        return os.read(file, 1024)
    finally:
        os.close(file)


class Watch:
    """Kills one process when it has used up its job's time."""

    def __init__(self, reactor: Reactor, meter: WaitMeter, pid: int, job: Job) -> None:
        self._reactor = reactor
        self._meter = meter
        self.pid = pid
        self._job = job
        self.started = time.monotonic()
        self._cpu_before = kernel.cpu_seconds(pid)
        self.verdict: Ending | None = None
        """Why it was killed; `None` while it was not killed."""
        self.over = False
        self._looked = 0.0
        """Wall seconds at the last look beyond the limit."""
        self._was_asleep = False
        self._slept = 0.0
        """Seconds since the first such look in which it was seen asleep."""
        self._schedule(min(job.cpu_ms / 1000 / _PROCESSORS, job.wall_ms / 1000))

    @property
    def cpu_limit(self) -> float:
        """CPU seconds of the job."""
        return self._job.cpu_ms / 1000

    @property
    def wall(self) -> float:
        """Seconds since the job was given."""
        return time.monotonic() - self.started

    @property
    def cpu(self) -> float:
        """CPU seconds since then, while the process lives."""
        return max(kernel.cpu_seconds(self.pid) - self._cpu_before, 0.0)

    def cpu_of(self, total: float) -> float:
        """The same from the final usage."""
        return max(total - self._cpu_before, 0.0)

    def kill(self, verdict: Ending) -> None:
        """End it now, for this reason."""
        if self.over or self.verdict is not None or has_ended(self.pid):
            return
        self.verdict = verdict
        os.kill(self.pid, signal.SIGKILL)

    def _schedule(self, delay: float) -> None:
        self._reactor.at(time.monotonic() + max(delay, _SHORTEST), self._check)

    def _check(self) -> None:
        if self.over or self.verdict is not None:
            return
        wall_limit = self._job.wall_ms / 1000
        cpu_left = self._job.cpu_ms / 1000 - self.cpu
        wall = self.wall
        if cpu_left <= _CPU_SLACK:
            self.kill(Ending.CPU)
            return
        wall_left = wall_limit - wall
        if wall_left <= 0:
            wall_left = self._beyond(wall, wall_limit)
            if wall > _PATIENCE * wall_limit or (wall_left <= 0 and self._was_asleep):
                self.kill(Ending.WALL)
                return
            # On a crowded machine this server is late, and one that waits to be heard looks asleep:
            # before the next look everybody is heard.
            self._was_asleep = wall_left <= 0
        self._schedule(min(cpu_left / _PROCESSORS, wall_left))

    def _beyond(self, wall: float, limit: float) -> float:
        """Seconds that a program may go on after its limit, because it waited and did not sleep.

        Only what it slept counts, so that no load makes a timeout of a right program. What it may
        have slept or waited is given to it once, but no more than its limit: none sleeps longer
        than twice that. One that is always ready to run ends by its CPU limit.
        """
        waits = self._meter.waits(self.pid, wall)
        left = limit - wall + waits.sure
        if left > 0:
            return left
        if waits.runnable:
            self._looked = wall
            return _AGAIN
        self._slept += min(wall - self._looked, 2 * _AGAIN) if self._looked else 0.0
        self._looked = wall
        return _AGAIN if self._slept < min(waits.doubtful, limit) else 0.0
