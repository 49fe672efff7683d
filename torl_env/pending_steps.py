"""Running the steps of a lane to their end: in this thread, under asyncio, or many at once."""

import asyncio
import os
import queue
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import gymnasium as gym

from torl_env.episode_runner import StepResult, Steps
from torl_env.tools.toolbox import Job

THREADS = 128


@cache
def shared_threads() -> ThreadPoolExecutor:
    """Threads for jobs that block, started as they are needed, for the whole process.

    Those of asyncio are few on a small machine, and sleeping programs would hold them all.
    """
    return ThreadPoolExecutor(THREADS, thread_name_prefix="torl-env")


# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=shared_threads.cache_clear)


def drive(steps: Steps) -> StepResult:
    """Run a step to its end in this thread."""
    try:
        job = next(steps)
        while True:
            try:
                value = job.result() if isinstance(job, Future) else job()
            except BaseException as error:  # noqa: BLE001 - the step decides what an error means
                job = steps.throw(error)
            else:
                job = steps.send(value)
    except StopIteration as end:
        result: StepResult = end.value
        return result


async def adrive(steps: Steps) -> StepResult:
    """Run a step to its end without blocking the event loop."""
    try:
        job = next(steps)
        while True:
            try:
                value = await asyncio.wrap_future(_started(job))
            except BaseException as error:  # noqa: BLE001 - the step decides what an error means
                job = steps.throw(error)
            else:
                job = steps.send(value)
    except StopIteration as end:
        result: StepResult = end.value
        return result


def _started(job: Job) -> Future[Any]:
    return job if isinstance(job, Future) else shared_threads().submit(job)


class Flight:
    """Steps in progress: starts their jobs, and resumes them when those have ended.

    One thread starts and lands; jobs end in any.
    """

    def __init__(self) -> None:
        self._steps: dict[int, Steps] = {}
        self._jobs: dict[int, Future[Any]] = {}
        self._landed: dict[int, StepResult] = {}
        self._ready: queue.SimpleQueue[tuple[int, Future[Any] | None]] = queue.SimpleQueue()
        self._wake: Callable[[], object] = int
        self._closed = False

    @property
    def count(self) -> int:
        """Steps that `land` has not given yet."""
        return len(self._steps) + len(self._landed)

    def has(self, i: int) -> bool:
        """Whether env `i` has such a step."""
        return i in self._steps or i in self._landed

    def start(self, i: int, steps: Steps) -> None:
        """Begin a step."""
        self._check()
        self._steps[i] = steps
        self._advance(i, lambda: next(steps))

    def done(self, i: int, result: StepResult) -> None:
        """Take a step that needed no work."""
        self._check()
        self._landed[i] = result

    def land(self, min_ready: int, timeout: float | None) -> list[StepResult]:
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
        while len(self._landed) < wanted:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._resume(*self._ready.get(timeout=left))
            except queue.Empty:
                break
        return self._take()

    async def aland(self, min_ready: int, timeout: float | None) -> list[StepResult]:
        """`land` under asyncio; a cancelled wait loses nothing."""
        self._check()
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        wanted = min(min_ready, self.count)
        while True:
            woken = asyncio.Event()
            # First the bell, then the look: what ends in between is not missed.
            self._wake = lambda woken=woken: loop.call_soon_threadsafe(woken.set)  # type: ignore[misc]
            self._resume_ended()
            if len(self._landed) >= wanted:
                return self._take()
            try:
                async with asyncio.timeout_at(deadline):
                    await woken.wait()
            except TimeoutError:
                return self._take()
            finally:
                self._wake = int

    def abandon(self, i: int) -> None:
        """Forget the step of env `i`, if there is one."""
        self._landed.pop(i, None)
        steps, job = self._steps.pop(i, None), self._jobs.pop(i, None)
        if job is not None:
            job.cancel()
        if steps is not None:
            steps.close()

    def close(self) -> None:
        """Forget all steps and wake up who waits for them."""
        self._closed = True
        for i in list(self._steps):
            self.abandon(i)
        self._ended(-1, None)

    def _advance(self, i: int, resume: Callable[[], Any]) -> None:
        self._jobs.pop(i, None)
        try:
            future = _started(resume())
        except StopIteration as end:
            del self._steps[i]
            self._landed[i] = end.value
            return
        except BaseException:
            del self._steps[i]
            raise
        self._jobs[i] = future
        future.add_done_callback(lambda ended: self._ended(i, ended))

    def _ended(self, i: int, job: Future[Any] | None) -> None:
        self._ready.put((i, job))
        self._wake()

    def _resume_ended(self) -> None:
        while not self._ready.empty():
            self._resume(*self._ready.get())

    def _resume(self, i: int, job: Future[Any] | None) -> None:
        self._check()
        if job is None or self._jobs.get(i) is not job:
            return
        steps = self._steps[i]
        error = CancelledError() if job.cancelled() else job.exception()
        if error is None:
            self._advance(i, lambda: steps.send(job.result()))
        else:
            self._advance(i, lambda: steps.throw(error))

    def _take(self) -> list[StepResult]:
        landed, self._landed = self._landed, {}
        return list(landed.values())

    def _check(self) -> None:
        if self._closed:
            raise gym.error.ClosedEnvironmentError("the vector env is closed: make a new one")
