"""Calls per second and latency of code execution: ours, the baselines, and the floor, in one run.

Every one of them gets the same programs, one, two, sixteen and sixty-four at a time; outputs are
checked, and a wrong one is counted. The floor is a fork of a process that has the same libraries
loaded, runs the same program and is waited for, with no isolation and no result.
"""

import math
import queue
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from typing import Final

import torl_env.sandbox
from benchmarks.performance.baselines import (
    MOST_AT_ONCE,
    OURS,
    Baseline,
    Submit,
    baselines,
    ours,
)
from benchmarks.performance.measuring import Figures, Measured, Options, run_python

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

    baseline: str
    """Whose: ours, a baseline's or the floor's."""
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
    pending, wrong = concurrency, 0
    latencies: list[float] = []
    while pending:
        latency, future = finished.get()
        pending -= 1
        latencies.append(latency)
        wrong += future.exception() is not None or future.result() != work.expected
        late = work.endless or time.perf_counter() - began > seconds
        if not late or len(latencies) + pending < _LEAST_CALLS:
            start()
            pending += 1
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


def floor(work: Workload, count: int = 100) -> Figure:
    """Fork, run and wait, one after the other, in a process with the same libraries loaded."""
    paths = [*torl_env.__path__, *torl_env.sandbox.__path__]
    words = ("-c", _FLOOR, work.tier, str(count), work.code, *paths)
    p50, p99 = map(float, run_python(*words, OPENBLAS_NUM_THREADS="1").split())
    return Figure("floor: fork and wait", work.name, 1, count, 1e3 / p50, p50, p99, 0)


def measure(options: Options) -> Measured:
    """Everything that is installed, and our rate over each of theirs."""
    chosen = baselines(options.fusion, options.gem, options.sandlock)
    figures = measure_all(options.seconds, chosen, rounds=options.rounds)
    return Measured([asdict(figure) for figure in figures], ratios(figures))


def measure_all(
    seconds: float,
    chosen: Mapping[str, Baseline],
    concurrencies: Sequence[int] = CONCURRENCIES,
    *,
    longest: float = 18.0,
    rounds: int = 1,
    seen: Callable[[Figure], None] = lambda _: None,
) -> list[Figure]:
    """Ours and the baselines on every workload, after the floor.

    Args:
        seconds: For each figure and round, apart from calls that take longer.
        chosen: Ours and the baselines by name.
        concurrencies: Calls in flight.
        longest: A baseline's figure is left out where its rate with fewer calls in flight says that
            one call each would take longer than this many seconds.
        rounds: Everything is measured so often, in turn; the median counts.
        seen: Called with each figure as it comes.
    """
    found: dict[tuple[str, str, int], list[Figure]] = {}
    for _ in range(rounds):
        for figure in _one_round(chosen, concurrencies, seconds, longest):
            seen(figure)
            found.setdefault((figure.baseline, figure.workload, figure.concurrency), []).append(
                figure
            )
    return [_middle(figures) for figures in found.values()]


def _middle(figures: list[Figure]) -> Figure:
    ordered = sorted(figures, key=lambda figure: figure.per_second)
    middle = ordered[len(ordered) // 2]
    distance = ordered[-1].per_second - ordered[0].per_second
    wrong = sum(figure.wrong for figure in figures)
    return replace(middle, wrong=wrong, spread=distance / middle.per_second)


def _one_round(
    chosen: Mapping[str, Baseline], concurrencies: Sequence[int], seconds: float, longest: float
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
                    yield replace(figure, baseline=name)


def _faster(figures: Sequence[Figure]) -> dict[tuple[str, str, int], float]:
    """Our rate over each of the others, at the same number of calls in flight."""
    own = {(f.workload, f.concurrency): f.per_second for f in figures if f.baseline == OURS}
    return {
        (f.baseline, f.workload, f.concurrency): own[f.workload, f.concurrency] / f.per_second
        for f in figures
        if f.baseline != OURS and (f.workload, f.concurrency) in own
    }


def ratios(figures: Sequence[Figure]) -> Figures:
    """Our rate over each of the others.

    Programs that run into their limit tell of the limit and not of the sandbox, and are left out.

    >>> own = Figure("torl local", "print", 1, 9, 90.0, 11.0, 12.0, 0)
    >>> ratios([own, replace(own, baseline="python -c", per_second=30.0)])
    {'sandbox, print, 1 at once: ours / python -c': 3.0}
    """
    endless = {work.name for work in WORKLOADS if work.endless}
    return {
        f"sandbox, {workload}, {concurrency} at once: ours / {baseline}": value
        for (baseline, workload, concurrency), value in _faster(figures).items()
        if workload not in endless
    }


def table(figures: Sequence[Figure]) -> str:
    """Text for a terminal, with the ratio to ours."""
    faster = _faster(figures)
    lines = [
        f"{'':22}{'workload':14}{'at once':>8}{'calls/s':>10}{'p50 ms':>10}{'p99 ms':>10}"
        f"{'wrong':>7}{'spread':>8}{'ours is':>10}"
    ]
    for figure in figures:
        ratio = faster.get((figure.baseline, figure.workload, figure.concurrency))
        lines.append(
            f"{figure.baseline:22}{figure.workload:14}{figure.concurrency:8}"
            f"{figure.per_second:10.1f}{figure.p50_ms:10.2f}{figure.p99_ms:10.2f}"
            f"{figure.wrong:7}{figure.spread:8.0%}{f'{ratio:.1f}x' if ratio else '':>10}"
        )
    return "\n".join(lines)
