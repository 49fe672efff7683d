"""Ask sympy about the few comparisons that our own rules leave open: integrals, limits, series.

Two workers stand ready, so that one hard question does not keep the next waiting. A worker forks
for each question; the fork ends once it has done so much work, and then sympy cannot say. The wall
clock ends only what the machine holds up, and that is no verdict. Nothing is remembered of a
question: a verdict depends on its two texts alone.
"""

import atexit
import os
import queue

from rewards.equality.values.expressions import Expression, to_plain
from rewards.errors import WorkerError
from rewards.workers.process import Worker

WORK = 5_000_000
"""Calls and returns that one question may take, some two seconds. A count and no time decides what
sympy cannot say, so a verdict is the same on every machine with the same Python and sympy, but for
one part in ten thousand by which the count varies. Most that sympy can do takes a tenth of it."""
WALL_SECONDS = 120.0
"""Of one question, with the start of its worker: beyond them the machine is at fault."""
MEMORY_MB = 1_024
WORKERS = 2


class _Desks:
    """So many places for a worker; a place is empty until its first question."""

    def __init__(self) -> None:
        self.free: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        for _ in range(WORKERS):
            self.free.put(None)

    def ask(self, reference: Expression, answer: Expression) -> bool | None:
        question = [to_plain(reference), to_plain(answer)]
        worker = self.free.get()
        try:
            if worker is None:
                worker = Worker("sympy", WORK, MEMORY_MB)
            result = worker.ask(question, WALL_SECONDS)
        except WorkerError:
            worker = None
            raise
        finally:
            self.free.put(worker)
        return result if isinstance(result, bool) else None

    def close(self) -> None:
        for _ in range(WORKERS):
            worker = self.free.get()
            if worker is not None:
                worker.close()
            self.free.put(None)

    def pids(self) -> list[int]:
        """Of the workers that run and are not asked anything."""
        workers = [self.free.get() for _ in range(self.free.qsize())]
        for worker in workers:
            self.free.put(worker)
        return [worker.pid for worker in workers if worker is not None]


_desks = _Desks()


def ask(reference: Expression, answer: Expression) -> bool | None:
    """Whether two expressions are equal; `None` if sympy cannot say within its limits.

    Raises:
        WorkerError: The machine killed the worker, or held it up.
    """
    return _desks.ask(reference, answer)


def pids() -> list[int]:
    """Process ids of the workers that wait for a question."""
    return _desks.pids()


def close() -> None:
    """End the workers; the next question starts another."""
    _desks.close()


def _renew() -> None:
    """A forked process must not talk to its parent's workers, nor wait for its locks."""
    global _desks
    old, _desks = _desks, _Desks()
    while not old.free.empty():
        worker = old.free.get()
        if worker is not None:
            worker.close()


atexit.register(close)
os.register_at_fork(after_in_child=_renew)
