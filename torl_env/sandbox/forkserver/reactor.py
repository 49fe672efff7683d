"""One thread that waits for descriptors, children and the clock."""

import contextlib
import heapq
import itertools
import os
import resource
import select
import time
from collections.abc import Callable

Reaped = Callable[[int, resource.struct_rusage], None]
"""Called with the wait status and the usage of a child that has ended."""


class Reactor:
    """Dispatches to callables; every one of them must return at once.

    Args:
        ends: Descriptor that can be read when a child has ended.
    """

    def __init__(self, ends: int) -> None:
        self._poll = select.epoll()
        self._readable: dict[int, Callable[[], None]] = {}
        self._children: dict[int, Reaped] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.spare_time: Callable[[], bool] = lambda: False
        """Called when nothing is waiting; returns whether there is more to do in spare time."""
        self._ends = ends
        self.watch(ends, self._reap)

    def watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `descriptor` can be read."""
        self._readable[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Stop watching."""
        if self._readable.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def adopt(self, pid: int, ended: Reaped) -> None:
        """Call `ended` when child `pid` is gone."""
        self._children[pid] = ended

    def disown(self, pid: int) -> None:
        """Reap `pid` without telling anybody."""
        self._children.pop(pid, None)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Call `action` at `moment` of the monotonic clock, or soon after."""
        heapq.heappush(self._timers, (moment, next(self._order), action))

    def pids(self) -> list[int]:
        """Every child that is adopted."""
        return list(self._children)

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

    def _next_timeout(self) -> float:
        if not self._timers:
            return -1.0
        # epoll counts whole milliseconds and rounds up.
        return max(self._timers[0][0] - time.monotonic(), 0.0)

    def run_forever(self) -> None:
        """Dispatch until the process exits."""
        more = True
        while True:
            events = self._poll.poll(0 if more else self._next_timeout())
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
