"""One thread that waits for descriptors, children and the clock."""

import contextlib
import heapq
import itertools
import os
import resource
import select
import time
from collections.abc import Callable
from typing import Final

Reaped = Callable[[int, resource.struct_rusage], None]
"""Called with the wait status and the usage of a child that has ended."""


_KEPT: Final = 256
_KEPT_SECONDS: Final = 5.0
"""Long enough for a word in a socket to be read, too short for a number to come again."""


class Reactor:
    """Dispatches to callables; every one of them must return at once.

    Args:
        ends: Descriptor that can be read when a child has ended.
    """

    def __init__(self, ends: int) -> None:
        self._poll = select.epoll()
        self._readable: dict[int, Callable[[], object]] = {}
        self._children: dict[int, Reaped] = {}
        self._unknown: dict[int, tuple[int, resource.struct_rusage | None, float]] = {}
        """How children ended that are not adopted yet, and when."""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.spare_time: Callable[[], bool] = lambda: False
        """Called when nothing is waiting; returns whether there is more to do in spare time."""
        self.before_wait: Callable[[], None] = lambda: None
        """Called before every look for events."""
        self._woken = time.monotonic()
        self._busy = 0.0
        self._ends = ends
        self.watch(ends, self._reap)

    def watch(self, descriptor: int, handler: Callable[[], object]) -> None:
        """Call `handler` whenever `descriptor` can be read."""
        self._readable[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Stop watching."""
        if self._readable.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def adopt(self, pid: int, ended: Reaped) -> None:
        """Call `ended` when child `pid` is gone, or soon if it was gone before it was known."""
        status, usage, moment = self._unknown.pop(pid, (0, None, 0.0))
        if usage is not None and time.monotonic() - moment < _KEPT_SECONDS:
            self.at(0.0, lambda: ended(status, usage))
            return
        self._children[pid] = ended

    def disown(self, pid: int) -> bool:
        """Reap `pid` without calling anything; `False` if it is gone already."""
        if pid not in self._children:
            return False
        self._children[pid] = lambda *_: None
        return True

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Call `action` at `moment` of the monotonic clock, or soon after."""
        heapq.heappush(self._timers, (moment, next(self._order), action))

    def pids(self) -> list[int]:
        """Every child that is adopted."""
        return list(self._children)

    @property
    def behind(self) -> float:
        """Seconds that the event of now may have waited while others were dispatched."""
        return self._busy + time.monotonic() - self._woken

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._ends, 4096)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._children.pop(pid, None)
            if ended is not None:
                ended(status, usage)
                continue
            # A session's process that has ended before its first word was read.
            self._unknown[pid] = (status, usage, time.monotonic())
            while len(self._unknown) > _KEPT:
                del self._unknown[next(iter(self._unknown))]

    def _next_timeout(self) -> float:
        if not self._timers:
            return -1.0
        # epoll counts whole milliseconds and rounds up.
        return max(self._timers[0][0] - time.monotonic(), 0.0)

    def run_forever(self) -> None:
        """Dispatch until the process exits."""
        more = True
        while True:
            self._busy = time.monotonic() - self._woken
            self.before_wait()
            events = self._poll.poll(0 if more else self._next_timeout())
            self._woken = time.monotonic()
            if not events and more:
                more = self.spare_time()
            for descriptor, _ in events:
                handler = self._readable.get(descriptor)
                if handler is not None:
                    handler()
                    more = True
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
