"""Steps of many episodes in progress at once, resumed in the order in which their work ends."""

import asyncio
import os
import queue
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import gymnasium as gym

from torl_env.episode_runner import StepGenerator, StepResult
from torl_env.tools.toolbox import WorkItem

THREADS = 128


@cache
def shared_threads() -> ThreadPoolExecutor:
    """Threads for work that blocks, started as they are needed, for the whole process.

    Those of asyncio are few on a small machine, and sleeping programs would hold them all.
    """
    return ThreadPoolExecutor(THREADS, thread_name_prefix="torl-env")


# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=shared_threads.cache_clear)


def started(work: WorkItem) -> Future[Any]:
    """The work under way: in one of the shared threads, unless it is already."""
    return work if isinstance(work, Future) else shared_threads().submit(work)


class PendingSteps:
    """Steps in progress: starts their work, and resumes them when that has ended.

    One thread starts steps and collects results; the work may end in any thread.
    """

    def __init__(self) -> None:
        self._steps: dict[int, StepGenerator] = {}
        self._work: dict[int, Future[Any]] = {}
        self._results: dict[int, StepResult] = {}
        self._ready: queue.SimpleQueue[tuple[int, Future[Any] | None]] = queue.SimpleQueue()
        self._wake: Callable[[], object] = int
        self._closed = False

    @property
    def count(self) -> int:
        """Steps that `collect_ready` has not given yet."""
        return len(self._steps) + len(self._results)

    def has(self, i: int) -> bool:
        """Whether env `i` has such a step."""
        return i in self._steps or i in self._results

    def start(self, i: int, steps: StepGenerator) -> None:
        """Begin a step."""
        self._check()
        self._steps[i] = steps
        self._advance(i, lambda: next(steps))

    def add_result(self, i: int, result: StepResult) -> None:
        """Take a step that needed no work."""
        self._check()
        self._results[i] = result

    def collect_ready(self, min_ready: int, timeout: float | None) -> list[StepResult]:
        """Wait for steps to end.

        Args:
            min_ready: For so many, but not for more than are in progress.
            timeout: Seconds at most.

        Raises:
            ClosedEnvironmentError: After `close`.
        """
        self._check()
        deadline = None if timeout is None else time.monotonic() + timeout
        wanted = min(min_ready, self.count)
        self._resume_ended()
        while len(self._results) < wanted:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._resume(*self._ready.get(timeout=left))
            except queue.Empty:
                break
        return self._take()

    async def acollect_ready(self, min_ready: int, timeout: float | None) -> list[StepResult]:
        """`collect_ready` under asyncio; a cancelled wait loses nothing."""
        self._check()
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        wanted = min(min_ready, self.count)
        while True:
            woken = asyncio.Event()
            # First the bell, then the look: what ends in between is not missed.
            self._wake = lambda woken=woken: loop.call_soon_threadsafe(woken.set)  # type: ignore[misc]
            self._resume_ended()
            if len(self._results) >= wanted:
                return self._take()
            try:
                async with asyncio.timeout_at(deadline):
                    await woken.wait()
            except TimeoutError:
                return self._take()
            finally:
                self._wake = int

    def discard(self, i: int) -> None:
        """Forget the step of env `i`, if there is one."""
        self._results.pop(i, None)
        steps, work = self._steps.pop(i, None), self._work.pop(i, None)
        if work is not None:
            work.cancel()
        if steps is not None:
            steps.close()

    def close(self) -> None:
        """Forget all steps and wake up who waits for them."""
        self._closed = True
        for i in list(self._steps):
            self.discard(i)
        # A `collect_ready` in another thread waits for the queue and would wait for ever.
        self._ended(-1, None)

    def _advance(self, i: int, resume: Callable[[], Any]) -> None:
        self._work.pop(i, None)
        try:
            future = started(resume())
        except StopIteration as end:
            del self._steps[i]
            self._results[i] = end.value
            return
        except BaseException:
            del self._steps[i]
            raise
        self._work[i] = future
        # Called in the thread that ends the work: it may only queue, steps resume in ours.
        future.add_done_callback(lambda ended: self._ended(i, ended))

    def _ended(self, i: int, work: Future[Any] | None) -> None:
        self._ready.put((i, work))
        self._wake()

    def _resume_ended(self) -> None:
        while not self._ready.empty():
            self._resume(*self._ready.get())

    def _resume(self, i: int, work: Future[Any] | None) -> None:
        self._check()
        # The work of a discarded step, or None, which only wakes up who waits.
        if work is None or self._work.get(i) is not work:
            return
        steps = self._steps[i]
        error = CancelledError() if work.cancelled() else work.exception()
        if error is None:
            self._advance(i, lambda: steps.send(work.result()))
        else:
            self._advance(i, lambda: steps.throw(error))

    def _take(self) -> list[StepResult]:
        results, self._results = self._results, {}
        return list(results.values())

    def _check(self) -> None:
        if self._closed:
            raise gym.error.ClosedEnvironmentError("the vector env is closed: make a new one")
