"""Calls per second and latency of code execution: ours, its rivals, and the floor, in one run.

Every contender gets the same programs, one, two, sixteen and sixty-four at a time; outputs are
checked, and a wrong one is counted. The floor is a fork of a process that has the same libraries
loaded, runs the same program and is waited for, with no isolation and no result.
"""

import math
import os
import queue
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

import torl_env.sandbox
from benchmarks.performance.rivals import (
    MOST_AT_ONCE,
    Contender,
    Installed,
    Submit,
    contenders,
    ours,
)

CONCURRENCIES: Final = (1, 2, 16, MOST_AT_ONCE)
_LEAST_CALLS: Final = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """One program and what it prints."""

    name: str
    code: str
    expected: str
    tier: str
    endless: bool = False


WORKLOADS: Final = (
    Workload("print", "print(1+1)", "2\n", "bare"),
    Workload(
        "sympy",
        "from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))",
        "[2, 3]\n",
        "sympy",
    ),
    Workload(
        "numpy+scipy",
        "import numpy as np, scipy.optimize\nprint(int(np.arange(10).sum()))",
        "45\n",
        "all",
    ),
    Workload("endless loop", "while True: pass", "", "bare", endless=True),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement."""

    contender: str
    workload: str
    concurrency: int
    calls: int
    per_second: float
    p50_ms: float
    p99_ms: float
    wrong: int
    """Outputs that were not the expected ones."""
    spread: float = 0.0
    """Of `per_second` over the rounds: the widest distance, over the median."""


def drive(submit: Submit, work: Workload, concurrency: int, seconds: float) -> Figure:
    """Keep `concurrency` calls in flight for `seconds`, and wait for the last of them."""
    finished: queue.SimpleQueue[tuple[float, Future[str]]] = queue.SimpleQueue()

    def start() -> None:
        began = time.perf_counter()
        submit(work.code).add_done_callback(
            lambda future: finished.put((time.perf_counter() - began, future))
        )

    began = time.perf_counter()
    for _ in range(concurrency):
        start()
    flying, wrong = concurrency, 0
    latencies: list[float] = []
    while flying:
        latency, future = finished.get()
        flying -= 1
        latencies.append(latency)
        wrong += future.exception() is not None or future.result() != work.expected
        late = work.endless or time.perf_counter() - began > seconds
        if not late or len(latencies) + flying < _LEAST_CALLS:
            start()
            flying += 1
    took = time.perf_counter() - began
    return Figure(
        "",
        work.name,
        concurrency,
        len(latencies),
        len(latencies) / took,
        statistics.median(latencies) * 1e3,
        sorted(latencies)[math.ceil(len(latencies) * 0.99) - 1] * 1e3,
        wrong,
    )


_FLOOR: Final = """
import os, sys, time, types, statistics
tier, count, code = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for name, path in zip(("torl_env", "torl_env.sandbox"), sys.argv[4:]):
    # Without what the packages' __init__ import, as in the server.
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [path]
from torl_env.sandbox.forkserver import main, warm
warm.reserve_heap(warm.ARENA_MB[tier])
warm.load(tier, ())
main._compact(os.open("/proc/self/maps", os.O_RDONLY), threads=1)
null = os.open("/dev/null", os.O_WRONLY)
times = []
for _ in range(count):
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.dup2(null, 1)
        exec(compile(code, "p", "exec"), {"__name__": "__main__"})
        os._exit(0)
    os.waitpid(pid, 0)
    times.append(time.perf_counter() - began)
print(statistics.median(times) * 1e3, sorted(times)[int(count * 0.99)] * 1e3)
"""


_PACKAGE_PATHS: Final = [*torl_env.__path__, *torl_env.sandbox.__path__]


def floor(work: Workload, count: int = 100) -> Figure:
    """Fork, run and wait, one after the other, in a process with the same libraries loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _FLOOR, work.tier, str(count), work.code, *_PACKAGE_PATHS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    p50, p99 = map(float, done.stdout.split())
    return Figure("floor: fork and wait", work.name, 1, count, 1e3 / p50, p50, p99, 0)


def _used() -> float:
    """CPU seconds of this process and of all children that have ended."""
    own, children = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def cpu_per_call(opened: Contender, work: Workload, calls: int) -> float:
    """CPU milliseconds of client, server and program together for one call.

    Unlike the clock this does not depend on what else the machine does. Starting and stopping are
    measured by themselves and taken off.
    """
    spent: list[float] = []
    for count in (1, 1 + calls):
        before = _used()
        with opened() as submit:
            for future in [submit(work.code) for _ in range(count)]:
                future.result()
        spent.append(_used() - before)
    return (spent[1] - spent[0]) / calls * 1e3


def measure_all(
    seconds: float = 2.0,
    installed: Installed | None = None,
    concurrencies: Sequence[int] = CONCURRENCIES,
    *,
    longest: float = 18.0,
    rounds: int = 1,
    only: Sequence[str] = (),
    seen: Callable[[Figure], None] = lambda _: None,
) -> list[Figure]:
    """Every contender on every workload, after the floor.

    Args:
        seconds: For each figure and round, apart from calls that take longer.
        installed: Where rivals are that this environment does not have.
        concurrencies: Calls in flight.
        longest: A rival's figure is left out where its rate with fewer calls in flight says that
            one call each would take longer than this many seconds.
        rounds: Everything is measured so often, in turn; the median counts.
        only: Names of the rivals to measure; empty for all.
        seen: Called with each figure as it comes.
    """
    chosen = contenders(installed or Installed())
    if unknown := set(only) - set(chosen):
        raise ValueError(f"unknown contenders {sorted(unknown)}: expected some of {list(chosen)}")
    chosen = {
        name: opened
        for name, opened in chosen.items()
        if not only or name in only or opened is ours
    }
    measured: dict[tuple[str, str, int], list[Figure]] = {}
    for _ in range(rounds):
        for figure in _one_round(chosen, concurrencies, seconds, longest):
            seen(figure)
            key = figure.contender, figure.workload, figure.concurrency
            measured.setdefault(key, []).append(figure)
    return [_middle(figures) for figures in measured.values()]


def _middle(figures: list[Figure]) -> Figure:
    ordered = sorted(figures, key=lambda figure: figure.per_second)
    middle = ordered[len(ordered) // 2]
    distance = ordered[-1].per_second - ordered[0].per_second
    wrong = sum(figure.wrong for figure in figures)
    return replace(middle, wrong=wrong, spread=distance / middle.per_second)


def _one_round(
    chosen: dict[str, Contender], concurrencies: Sequence[int], seconds: float, longest: float
) -> Iterator[Figure]:
    for work in WORKLOADS:
        if not work.endless:
            yield floor(work)
    for name, opened in chosen.items():
        with opened() as submit:
            for work in WORKLOADS:
                rate = math.inf
                for concurrency in concurrencies:
                    if (opened is not ours or work.endless) and concurrency / rate > longest:
                        continue
                    figure = drive(submit, work, concurrency, seconds)
                    rate = figure.per_second
                    yield replace(figure, contender=name)


def table(figures: Sequence[Figure]) -> str:
    """Text for a terminal, with the ratio to ours."""
    own = {(f.workload, f.concurrency): f for f in figures if f.contender == "torl local"}
    lines = [
        f"{'':22}{'workload':14}{'at once':>8}{'calls/s':>10}{'p50 ms':>10}{'p99 ms':>10}"
        f"{'wrong':>7}{'spread':>8}{'ours is':>10}"
    ]
    for figure in figures:
        base = own.get((figure.workload, figure.concurrency))
        ratio = ""
        if base is not None and base is not figure:
            ratio = f"{base.per_second / figure.per_second:.1f}x"
        lines.append(
            f"{figure.contender:22}{figure.workload:14}{figure.concurrency:8}"
            f"{figure.per_second:10.1f}{figure.p50_ms:10.2f}{figure.p99_ms:10.2f}"
            f"{figure.wrong:7}{figure.spread:8.0%}{ratio:>10}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure_all(seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)))
