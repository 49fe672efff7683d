"""How the drivers of other environments measure: beside them, for their interpreters."""

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median wall seconds."""
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)
