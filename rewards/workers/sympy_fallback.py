"""Ask sympy about the few comparisons that our own rules leave open.

There is at most one worker in a process. It starts with the first question, is limited in CPU and
memory by the kernel, and is replaced when a question kills it. A reference that has killed it
twice is not asked about again.
"""

import atexit
import os
import threading
from collections import Counter

from rewards.equality.values.expressions import Expression
from rewards.workers.process import Worker, WorkerError
from rewards.workers.trees import to_plain

CPU_SECONDS = 2
"""Of one question; the kernel counts whole seconds."""
WALL_SECONDS = 60.0
"""Only against a machine that stands still."""
MEMORY_MB = 1_024
_STRIKES = 2
_REMEMBERED = 1_000


class _Desk:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.worker: Worker | None = None
        self.strikes: Counter[str] = Counter()

    def ask(self, reference: Expression, answer: Expression) -> bool | None:
        question = [to_plain(reference), to_plain(answer)]
        key = str(question[0])
        with self.lock:
            if self.strikes[key] >= _STRIKES:
                return None
            if self.worker is None:
                self.worker = Worker("sympy_fallback", CPU_SECONDS, MEMORY_MB)
            try:
                result = self.worker.ask(question, WALL_SECONDS)
            except WorkerError:
                self.worker = None
                if len(self.strikes) > _REMEMBERED:
                    self.strikes.clear()
                self.strikes[key] += 1
                return None
            return result if isinstance(result, bool) else None

    def close(self) -> None:
        with self.lock:
            if self.worker is not None:
                self.worker.close()
                self.worker = None


_desk = _Desk()


def ask(reference: Expression, answer: Expression) -> bool | None:
    """Whether two expressions are equal; `None` if sympy cannot say within its limits."""
    return _desk.ask(reference, answer)


def close() -> None:
    """End the worker; the next question starts another."""
    _desk.close()


def _renew() -> None:
    """A forked process must not talk to its parent's worker, nor wait for its locks."""
    global _desk
    old, _desk = _desk, _Desk()
    if old.worker is not None:
        old.worker.close()


atexit.register(close)
os.register_at_fork(after_in_child=_renew)
