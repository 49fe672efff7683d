"""Ask sympy about the few comparisons that our own rules leave open: integrals, limits, series.

Two workers stand ready, so that one hard question does not keep the next waiting. The child itself
breaks a question off after so much CPU time, which is the same on a busy machine, and answers that
it cannot say; only a child that does not even do that is killed, by the wall clock. Nothing is
remembered of a question: a verdict depends on its two texts alone.
"""

import atexit
import os
import queue

from rewards.equality.values.expressions import Expression, to_plain
from rewards.workers.process import Worker, WorkerError

CPU_SECONDS = 0.3
"""Of one question, counted in the child."""
WALL_SECONDS = 8.0
"""Of one question: only against a child that hangs in one long operation of C code."""
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
                worker = Worker("sympy", CPU_SECONDS, MEMORY_MB)
            result = worker.ask(question, WALL_SECONDS)
        except WorkerError as error:
            worker = None
            if error.timed_out:
                return None
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
        WorkerError: The machine killed the worker.
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
