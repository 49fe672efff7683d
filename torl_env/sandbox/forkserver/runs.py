"""Single programs: one forked child each."""

import errno
import gc
import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from torl_env.sandbox.forkserver import kernel
from torl_env.sandbox.forkserver.areas import Area
from torl_env.sandbox.forkserver.clones import CloneGate
from torl_env.sandbox.forkserver.isolation import Isolation
from torl_env.sandbox.forkserver.program import COMPILED, Child
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.watch import WaitMeter, Watch
from torl_env.sandbox.forkserver.wire import Ending, Mark, Reply, Request

_exit: Final = os._exit
BURST: Final = 4
"""Children forked in a row when one is wanted and none is there, or too few are."""
_PATIENCE: Final = 5.0
_AGAIN: Final = 0.05
"""Seconds for which a program waits for a child that the machine refuses, and between tries."""
Send = Callable[[Reply], None]


@dataclass(slots=True)
class Ready:
    """A child that waits for its job."""

    pid: int
    channel: socket.socket
    slot: int


@dataclass(frozen=True, slots=True)
class _Delayed:
    """A program that waits until there is a child for it."""

    request: Request
    files: list[int]
    until: float


Serve = Callable[[socket.socket], None]


def fork_child(serve: Serve, isolation: Isolation) -> tuple[int, socket.socket]:
    """Fork a child that runs `serve` on its end of a new channel and never comes back.

    Returns:
        Its process id and the server's end.
    """
    return fork_children([serve], isolation)[0]


def fork_children(serves: Sequence[Serve], isolation: Isolation) -> list[tuple[int, socket.socket]]:
    """`fork_child` for several, in a row.

    After a fork the server copies every page that it writes. So nothing but forks happens between
    two of them; a child closes the channels of the others before it takes a job.

    Returns:
        As many as the machine allows, the first ones.

    Raises:
        OSError: Not one.
    """
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in serves]
    pids: list[int] = []
    fork = kernel.fork
    # Else the first allocation of a child collects what the server has made since its start.
    gc.freeze()
    isolation.offer_children(True)
    try:
        for number, serve in enumerate(serves):
            pid = fork()
            if pid == 0:
                try:
                    serve(pairs[number][1])
                finally:
                    _exit(1)
            pids.append(pid)
    except OSError:
        if not pids:
            raise
    finally:
        isolation.offer_children(False)
        for ours, theirs in pairs:
            theirs.close()
            ours.setblocking(False)
        for ours, _ in pairs[len(pids) :]:
            ours.close()
    return [(pid, ours) for pid, (ours, _) in zip(pids, pairs, strict=False)]


class Runs:
    """Programs in flight, and children forked ahead of need."""

    def __init__(
        self,
        reactor: Reactor,
        child: Child,
        send: Send,
        gate: CloneGate,
        meter: WaitMeter,
        *,
        idle: int,
    ) -> None:
        self._reactor = reactor
        self._child = child
        self._send = send
        self._gate = gate
        self._idle_wanted = idle
        self._idle: list[Ready] = []
        self._refusal = errno.EAGAIN
        """Why the machine refused a child."""
        self._delayed: dict[int, _Delayed] = {}
        """Programs that wait for a child which the machine refused; the first comes first."""
        self._looks_again = False
        self._free: Final = list(range(len(child.phases) - 1, 0, -1))
        self._areas: list[Area | None] = [None for _ in child.phases]
        """Of each slot once it has been used: every child closes the descriptors of all."""
        self._running: dict[int, Watch] = {}
        self.meter = meter
        self.sweep: Callable[[], None] | None = None
        """Kills what a program has left behind, where no filter keeps it from forking siblings."""

    @property
    def running(self) -> int:
        """Programs in flight."""
        return len(self._running)

    def start(self, request: Request, files: list[int]) -> None:
        """Give a program to a child, as soon as the machine allows one."""
        if self._delayed or not self._give(request, files):
            self._delayed[request.call] = _Delayed(request, files, time.monotonic() + _PATIENCE)
            self._look_again_later()

    def _look_again_later(self) -> None:
        # One look for all: a fork that is refused costs a millisecond too.
        if self._delayed and not self._looks_again:
            self._looks_again = True
            self._reactor.at(time.monotonic() + _AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._looks_again = False
        while self._delayed:
            call, waiting = next(iter(self._delayed.items()))
            if not self._give(waiting.request, waiting.files):
                if time.monotonic() < waiting.until:
                    break
                self._close(waiting.files)
                self._send(Reply(call, Ending.FAILED, code=self._refusal))
            del self._delayed[call]
        self._look_again_later()

    def _give(self, request: Request, files: list[int]) -> bool:
        """Whether there is a child for a program."""
        if not self._idle:
            self._fork_ahead()
        if not self._idle:
            return False
        ready = self._idle.pop()
        watch = Watch(self._reactor, self.meter, ready.pid, request.job)
        self._running[request.call] = watch
        self._gate.limit(ready.pid, request.job.processes)

        def ended(status: int, usage: resource.struct_rusage) -> None:
            self._ended(request.call, ready.slot, status, usage)

        self._reactor.adopt(ready.pid, ended)
        try:
            socket.send_fds(ready.channel, [request.job.pack()], files)
        except OSError:
            # The child is gone already; its end is reported when it is reaped.
            watch.verdict = None
        ready.channel.close()
        self._close(files)
        return True

    def kill(self, call: int) -> None:
        """End a program early."""
        waiting = self._delayed.pop(call, None)
        if waiting is not None:
            self._close(waiting.files)
            self._send(Reply(call, Ending.KILLED))
        watch = self._running.get(call)
        if watch is not None:
            watch.kill(Ending.KILLED)

    def refill(self) -> bool:
        """Fork children ahead if there are too few; whether more are wanted."""
        made = len(self._idle) < self._idle_wanted and self._fork_ahead()
        return made and len(self._idle) < self._idle_wanted and bool(self._free)

    @staticmethod
    def _close(files: list[int]) -> None:
        for file in files:
            os.close(file)

    def _fork_ahead(self) -> bool:
        """Make a burst of children, as far as there are slots; whether there is one."""
        slots = [self._free.pop() for _ in range(min(BURST, len(self._free)))]
        made: list[tuple[int, socket.socket]] = []
        try:
            serves = [self._serving(slot) for slot in slots]
            made = fork_children(serves, self._child.isolation)
        except OSError as error:
            self._refusal = error.errno or errno.EAGAIN
        self._free.extend(slots[len(made) :])
        for slot, (pid, channel) in zip(slots, made, strict=False):
            ready = Ready(pid, channel, slot)
            self._idle.append(ready)
            self._await_loss(ready)
        return bool(made)

    def _serving(self, slot: int) -> Serve:
        """What a child of this slot does."""
        self._child.phases[slot] = 0
        areas = self._child.isolation.areas
        if self._areas[slot] is None and areas is not None:
            self._areas[slot] = areas.make()
        return partial(self._child.serve_one, slot=slot, area=self._areas[slot])

    def _await_loss(self, ready: Ready) -> None:
        self._reactor.adopt(ready.pid, lambda *_: self._lost(ready))

    def _lost(self, ready: Ready) -> None:
        if ready in self._idle:
            self._idle.remove(ready)
            ready.channel.close()
            self._free.append(ready.slot)

    def _ended(self, call: int, slot: int, status: int, usage: resource.struct_rusage) -> None:
        watch = self._running.pop(call)
        self._gate.forget(watch.pid)
        watch.over = True
        phase = self._child.phases[slot]
        self._clear(slot)
        self._free.append(slot)
        cpu_seconds = usage.ru_utime + usage.ru_stime
        ending, code, number = judge(watch, status, cpu_seconds)
        if phase == 0 and watch.verdict is None:
            ending = Ending.FAILED
        self._send(
            Reply(
                call,
                ending,
                code=code,
                signal=number,
                mark=Mark.COMPILED if phase == COMPILED else Mark.NONE,
                rss_kb=usage.ru_maxrss,
                wall_us=int(watch.wall * 1e6),
                cpu_us=int(watch.cpu_of(cpu_seconds) * 1e6),
            )
        )
        if self.sweep is not None:
            self.sweep()

    def _clear(self, slot: int) -> None:
        """Leave no file of a program to the next."""
        area = self._areas[slot]
        if area is not None and area.used:
            area.close()
            self._areas[slot] = None


def judge(watch: Watch, status: int, cpu_seconds: float) -> tuple[Ending, int, int]:
    """Ending, exit code (negative for a signal) and signal of a process that is gone.

    A program may send itself any signal: that of a limit counts only where the limit is used up.
    """
    code = os.waitstatus_to_exitcode(status)
    number = max(-code, 0)
    if watch.verdict is not None:
        return watch.verdict, code, number
    if number == signal.SIGXCPU and watch.cpu_of(cpu_seconds) >= watch.cpu_limit:
        return Ending.CPU, code, number
    return (Ending.SIGNALED if number else Ending.EXITED), code, number


def new_phases(slots: int) -> mmap.mmap:
    """The page in which a child says how far it came, before any code of a program runs."""
    return mmap.mmap(-1, slots + 1)
