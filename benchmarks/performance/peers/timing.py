"""How the drivers of other environments measure: beside them, for their interpreters."""

import json
import statistics
import sys
import time
from collections.abc import Callable

Work = Callable[[str], object]
"""Takes a turn that calls Python."""


def seconds(work: Work, action: str, rounds: int) -> float:
    """Median wall seconds."""
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        work(action)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def report(peer: str, opened: Callable[[int], tuple[Work, Work]]) -> None:
    """Print the figures of a peer as JSON, for the programs that the first argument holds.

    Args:
        peer: Its name.
        opened: From a number of envs to what steps one of them, and what steps all.
    """
    figures = {}
    for name, program in json.loads(sys.argv[1]).items():
        action = f"I compute.\n```python\n{program}\n```"
        rounds, count = (20, 64) if name == "print" else (4, 16)
        one, every = opened(count)
        figures[f"{peer}, scalar, {name}: steps/s"] = 1 / seconds(one, action, rounds)
        figures[f"{peer}, {count} envs, {name}: steps/s"] = count / seconds(every, action, 2)
    print(json.dumps(figures))
