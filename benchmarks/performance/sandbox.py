"""Calls per second and latency of code execution: ours, its rivals, and the floor, in one run.

Every contender gets the same programs, one, two, sixteen and sixty-four at a time; outputs are
checked, and a wrong one is counted. The floor is a fork of a process that has the same libraries
loaded, runs the same program and is waited for, with no isolation and no result.
"""

import contextlib
import itertools
import json
import math
import os
import queue
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torl_env.sandbox
from torl_env.sandbox import Execution, Limits, LocalSandbox
from torl_env.sandbox.fusion import FusionSandbox

Submit = Callable[[str], Future[str]]
"""Starts a program; the future gives its standard output."""

Contender = Callable[[], contextlib.AbstractContextManager[Submit]]

CONCURRENCIES: Final = (1, 2, 16, 64)
_LIMITS: Final = Limits(cpu_seconds=1.0, wall_seconds=60.0)
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


@contextlib.contextmanager
def ours() -> Iterator[Submit]:
    """The local sandbox, warmed; at the priority of its rivals, which the default is below."""
    with LocalSandbox(_LIMITS, nice=0) as sandbox:
        sandbox.warm()

        def submit(code: str) -> Future[str]:
            return _text_of(sandbox.submit(code))

        yield submit


def _text_of(call: "Future[Execution]") -> Future[str]:
    text: Future[str] = Future()

    def done(ended: "Future[Execution]") -> None:
        error = ended.exception()
        if error is not None:
            text.set_exception(error)
        else:
            text.set_result(ended.result().stdout)

    call.add_done_callback(done)
    return text


@contextlib.contextmanager
def command(*words: str) -> Iterator[Submit]:
    """A process for each program: `words`, then the program; one second of wall time."""
    with ThreadPoolExecutor(max(CONCURRENCIES)) as pool:

        def run(code: str) -> str:
            try:
                done = subprocess.run(
                    [*words, code],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    check=False,
                    timeout=1.0 if "while True" in code else 60.0,
                )
            except subprocess.TimeoutExpired:
                return ""
            return done.stdout

        yield lambda code: pool.submit(run, code)


@contextlib.contextmanager
def fusion(url: str) -> Iterator[Submit]:
    """A Sandbox Fusion server."""
    limits = Limits(cpu_seconds=1.0, wall_seconds=60.0)
    loop = Limits(cpu_seconds=1.0, wall_seconds=1.0)
    with FusionSandbox(url, limits, concurrency=max(CONCURRENCIES), patience=300) as sandbox:

        def submit(code: str) -> Future[str]:
            return _text_of(sandbox.submit(code, loop if "while True" in code else None))

        yield submit


@contextlib.contextmanager
def peer(*words: str) -> Iterator[Submit]:
    """A rival's own interface, served by `peers/sandbox_peer.py` in the rival's interpreter."""
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    flying: dict[int, Future[str]] = {}
    numbers = itertools.count()

    def read() -> None:
        for line in process.stdout or ():
            number, text = json.loads(line)
            flying.pop(number).set_result(text)
        for future in list(flying.values()):
            future.set_exception(RuntimeError("the peer has ended"))

    def submit(code: str) -> Future[str]:
        number, future = next(numbers), Future[str]()
        flying[number] = future
        if process.stdin is None or process.poll() is not None:
            raise RuntimeError(f"{words[0]} has ended with exit code {process.returncode}")
        seconds = 1.0 if "while True" in code else 60.0
        process.stdin.write(json.dumps([number, code, seconds]) + "\n")
        process.stdin.flush()
        return future

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield submit
    finally:
        process.terminate()
        process.wait()
        reader.join(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


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
main._compact(os.open("/proc/self/maps", os.O_RDONLY))
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


def contenders(
    url: str | None, gem: str | None = None, sandlock: str | None = None
) -> dict[str, Contender]:
    """What can be measured here, by name."""
    python = sys.executable
    driver = str(Path(__file__).parent / "peers" / "sandbox_peer.py")
    found: dict[str, Contender] = {
        "torl local": ours,
        "python -c": lambda: command(python, "-c"),
    }
    if shutil.which("bwrap"):
        box = ("bwrap", "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent")
        found["bubblewrap"] = lambda: command(*box, python, "-c")
    if sandlock:
        places = (sys.base_prefix, sys.prefix)
        found["sandlock"] = lambda: peer(sandlock, driver, "sandlock", python, *places)
    if gem:
        found["GEM"] = lambda: peer(gem, driver, "gem")
    if url:
        found["Sandbox Fusion"] = lambda: fusion(url)
    return found


def measure_all(
    seconds: float = 2.0,
    url: str | None = None,
    concurrencies: Sequence[int] = CONCURRENCIES,
    *,
    gem: str | None = None,
    sandlock: str | None = None,
    longest: float = 18.0,
) -> list[Figure]:
    """Every contender on every workload, after the floor.

    Args:
        seconds: For each figure, apart from calls that take longer.
        url: Of a Sandbox Fusion server.
        concurrencies: Calls in flight.
        gem: Interpreter that has gem-llm installed.
        sandlock: Interpreter that has sandlock installed.
        longest: A rival's figure is left out where its rate with fewer calls in flight says that
            one call each would take longer than this many seconds.
    """
    figures = [floor(work) for work in WORKLOADS if not work.endless]
    for name, opened in contenders(url, gem, sandlock).items():
        with opened() as submit:
            for work in WORKLOADS:
                rate = math.inf
                for concurrency in concurrencies:
                    if opened is not ours and concurrency / rate > longest:
                        continue
                    figure = drive(submit, work, concurrency, seconds)
                    rate = figure.per_second
                    figures.append(replace(figure, contender=name))
    return figures


def table(figures: Sequence[Figure]) -> str:
    """Text for a terminal, with the ratio to ours."""
    own = {(f.workload, f.concurrency): f for f in figures if f.contender == "torl local"}
    lines = [
        f"{'':22}{'workload':14}{'at once':>8}{'calls/s':>10}{'p50 ms':>10}{'p99 ms':>10}"
        f"{'wrong':>7}{'ours is':>10}"
    ]
    for figure in figures:
        base = own.get((figure.workload, figure.concurrency))
        ratio = ""
        if base is not None and base is not figure:
            ratio = f"{base.per_second / figure.per_second:.1f}x"
        lines.append(
            f"{figure.contender:22}{figure.workload:14}{figure.concurrency:8}"
            f"{figure.per_second:10.1f}{figure.p50_ms:10.2f}{figure.p99_ms:10.2f}"
            f"{figure.wrong:7}{ratio:>10}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure_all(seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)))
