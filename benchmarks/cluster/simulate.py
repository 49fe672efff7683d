"""`python -m benchmarks.cluster.simulate`: the pool of sandboxes at 10, 100 and 1,000 nodes.

A discrete-event model fed with what this machine measures:

    row (samples for `think` seconds) -> driver (one call at a time) -> least loaded node:
      ^                                              its actor (one at a time), a core for `service`
      +----------------------------------------------------------------------+

- `service`: seconds of a core that a call takes on its node: what the kernel counted for the
  program, and each call's share of what servers and Ray's own processes used.
- `dispatch`: seconds of a training process's own CPU that a call through Ray costs it, there and
  back; a Python process hands out one call at a time, so `1 / dispatch` bounds each driver.
- `relay`: the same of the actor that owns a node's sandbox; `1 / relay` bounds each node.
- `rows`: episodes under way; each asks again `think` seconds after its last answer.

All of them are CPU seconds of one run, by /proc: seconds on a clock would count whatever else the
machine does, once in a cost and once more in the throughput that it is compared with.

What is left out: the network's bandwidth (a call is some kilobytes), Ray's head, nodes that fail.
So the curve is an upper bound, and says which resource ends it first.
"""

import argparse
import heapq
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report.tables import Table

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "runs" / "records" / "pool.json"
PAGE = ROOT / "docs" / "scale.md"
PROGRAMS = (
    "print(sum(n * n for n in range(1000)))",
    "import numpy as np\nprint(np.linalg.det(np.eye(4) * 2))",
    "import sympy\nx = sympy.Symbol('x')\nprint(sympy.solve(x**2 - 5 * x + 6))",
)
"""In equal parts: what models write is arithmetic, numpy and sympy."""

Draw = Callable[[random.Random], float]


@dataclass(frozen=True)
class Pool:
    """What is simulated; times in seconds."""

    nodes: int
    cores: int
    """Of each node."""
    drivers: int
    rows: int
    dispatch: float
    think: Draw
    service: Draw
    relay: float = 0.0


@dataclass(frozen=True)
class Flow:
    """What came out."""

    calls_per_second: float
    wait: float
    """Mean seconds from asking to the program's start."""
    p95: float
    """Seconds from asking to the answer that 95% of calls stay below."""
    drivers_busy: float
    actors_busy: float
    cores_busy: float


class LeastLoaded:
    """Nodes by their calls under way; ties are broken at random."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._load, self._rng = [0] * count, rng
        # An entry a change; those that are out of date are skipped.
        self._heap = [(0, rng.random(), node) for node in range(count)]
        heapq.heapify(self._heap)

    def take(self) -> int:
        """Give a call to the node with the fewest."""
        while True:
            known, _, node = heapq.heappop(self._heap)
            if known == self._load[node]:
                self._change(node, 1)
                return node

    def give_back(self, node: int) -> None:
        """A call has ended there."""
        self._change(node, -1)

    def _change(self, node: int, by: int) -> None:
        self._load[node] += by
        heapq.heappush(self._heap, (self._load[node], self._rng.random(), node))


def simulate(pool: Pool, calls: int, seed: int = 0) -> Flow:
    """Play until `calls` programs have been asked for; the first fifth is warm-up.

    Every queue is first come, first served, and nothing is preempted, so a call's times are known
    when it is asked for and only two kinds of events are left: a row asks, a node's load falls.
    """
    rng = random.Random(seed)
    asks = [(pool.think(rng), row) for row in range(pool.rows)]
    heapq.heapify(asks)
    ends: list[tuple[float, int]] = []
    driver_free = [0.0] * pool.drivers
    actor_free = [0.0] * pool.nodes
    core_free = [[0.0] * pool.cores for _ in range(pool.nodes)]
    nodes = LeastLoaded(pool.nodes, rng)
    waits: list[float] = []
    times: list[float] = []
    answered: list[float] = []
    busy = 0.0
    for count in range(calls):
        asked, row = heapq.heappop(asks)
        driver = row % pool.drivers
        sent = max(asked, driver_free[driver]) + pool.dispatch
        driver_free[driver] = sent
        while ends and ends[0][0] <= asked:
            nodes.give_back(heapq.heappop(ends)[1])
        node = nodes.take()
        took = pool.service(rng)
        actor_free[node] = relayed = max(sent, actor_free[node]) + pool.relay
        start = max(relayed, heapq.heappop(core_free[node]))
        heapq.heappush(core_free[node], start + took)
        heapq.heappush(ends, (start + took, node))
        heapq.heappush(asks, (start + took + pool.think(rng), row))
        answered.append(start + took)
        if count >= calls // 5:
            waits.append(start - asked - pool.dispatch - pool.relay)
            times.append(start + took - asked)
            busy += took
    # Answers, not questions: those run ahead where a queue grows. Both ends are left out.
    answered.sort()
    first, last = calls // 5, calls - calls // 10
    rate = (last - first) / max(answered[last] - answered[first], 1e-12)
    return Flow(
        calls_per_second=rate,
        wait=sum(waits) / len(waits),
        p95=sorted(times)[int(0.95 * len(times))],
        drivers_busy=rate * pool.dispatch / pool.drivers,
        actors_busy=rate * pool.relay / pool.nodes,
        cores_busy=rate * busy / len(times) / pool.nodes / pool.cores,
    )


def exponential(mean: float) -> Draw:
    """Memoryless times."""
    return lambda rng: rng.expovariate(1 / mean)


def measured(times: Sequence[float]) -> Draw:
    """Times drawn from those that were measured."""
    return lambda rng: rng.choice(times)


@dataclass(frozen=True)
class Driven:
    """A training process with a Ray cluster of one node, all rows always asking; CPU in seconds."""

    rows: int
    programs: list[float]
    """CPU of each program, by the kernel."""
    dispatch: float
    """CPU of the training process for a call."""
    relay: float
    """CPU of the node's actor for a call."""
    beside: float
    """CPU of sandbox servers and of Ray's own processes for a call, programs left out."""
    calls_per_second: float
    processors: float
    """How many processors all of it had on average: under another load fewer than there are."""

    @property
    def cost(self) -> float:
        """CPU of everything for a call."""
        return self.dispatch + self.relay + self.beside + sum(self.programs) / len(self.programs)


def drive(calls: int, rows: int = 32) -> Driven:
    """Measure costs and throughput of one node in one run, so that both have the same load."""
    import ray

    from torl_env.sandbox import Status
    from torl_env.sandbox.backends.ray import RaySandbox

    # Not one that happens to run here: what others do there is no cost of ours.
    alone = {"address": "local", "include_dashboard": False, "log_to_driver": False}
    ray.init(**alone, object_store_memory=100_000_000)
    try:
        with RaySandbox() as sandbox:
            for program in PROGRAMS:
                sandbox.run(program)
            # What servers fork ahead of need is paid for now, not with the first calls.
            time.sleep(2)
            before, own, began = cpu_by_role(), time.process_time(), time.perf_counter()
            flying, ended = [], []
            for number in range(calls):
                flying.append(sandbox.submit(PROGRAMS[number % len(PROGRAMS)]))
                if len(flying) >= rows:
                    ended.append(flying.pop(0).result())
            ended += [call.result() for call in flying]
            wall, own = time.perf_counter() - began, time.process_time() - own
            after = cpu_by_role()
    finally:
        ray.shutdown()
    bad = [one.status for one in ended if one.status is not Status.OK]
    if bad:
        raise RuntimeError(f"a program that is measured ended as {bad[0]}")
    used = {role: after[role] - before[role] for role in after}
    programs = [one.cpu_seconds for one in ended]
    return Driven(
        rows=rows,
        programs=programs,
        dispatch=own / calls,
        relay=used["actor"] / calls,
        beside=(used["servers"] + used["ray"] - sum(programs)) / calls,
        calls_per_second=calls / wall,
        processors=(own + sum(used.values())) / wall,
    )


def cpu_by_role() -> dict[str, float]:
    """CPU seconds of this process's descendants so far; those that have ended count for parents."""
    stats: dict[int, tuple[int, float, bytes]] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            command = (place / "cmdline").read_bytes()
        except OSError:
            continue  # It has ended meanwhile.
        # utime, stime, cutime, cstime of proc(5).
        cpu = sum(map(int, fields[11:15])) / ticks
        stats[int(place.name)] = int(fields[1]), cpu, command
    used = dict.fromkeys(("actor", "servers", "ray"), 0.0)
    for pid, (parent, cpu, command) in stats.items():
        above = parent
        while above in stats and above != os.getpid():
            above = stats[above][0]
        if above == os.getpid() and pid != os.getpid():
            kinds = {b"ray::Worker": "actor", b"forkserver": "servers"}
            used[next((kinds[word] for word in kinds if word in command), "ray")] += cpu
    return used


@dataclass(frozen=True)
class Point:
    """One simulated pool."""

    nodes: int
    drivers: int
    flow: Flow
    bound: str


def curve(driven: Driven, cores: int, think: float) -> list[Point]:
    """Throughput with one driver, and with one on each node."""
    service = measured([one + driven.beside for one in driven.programs])
    points = []
    for nodes in (1, 3, 10, 30, 100, 300, 1000):
        for drivers in dict.fromkeys((1, nodes)):
            rows = ROWS * nodes
            pool = Pool(
                nodes,
                cores,
                drivers,
                rows,
                driven.dispatch,
                exponential(think),
                service,
                driven.relay,
            )
            flow = simulate(pool, calls=max(20_000, 3 * rows))
            points.append(Point(nodes, drivers, flow, bound(flow)))
    return points


ROWS = 128
"""Episodes that sample for each node: what a GPU of 80 GB keeps under way with a 1.5B model."""


def bound(flow: Flow) -> str:
    """Which resource ends the growth."""
    if flow.drivers_busy > 0.9:
        return "the drivers' CPU"
    if flow.actors_busy > 0.9:
        return "the nodes' actors"
    return "the nodes' cores" if flow.cores_busy > 0.9 else "what the model asks"


def table(points: Sequence[Point]) -> Table:
    """The curve."""
    header = ("nodes", "drivers", "calls/s", "p95, s", "drivers busy", "cores busy", "ended by")
    rows = tuple(
        (
            f"{one.nodes:,}",
            f"{one.drivers:,}",
            f"{one.flow.calls_per_second:,.0f}",
            f"{one.flow.p95:.3f}",
            f"{one.flow.drivers_busy:.0%}",
            f"{one.flow.cores_busy:.0%}",
            one.bound,
        )
        for one in points
    )
    return Table("", header, rows)


def main() -> int:
    """Measure, check on what is here, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=600, help="measured of each kind")
    parser.add_argument("--cores", type=int, default=16, help="of a node")
    parser.add_argument("--here", type=int, default=2, help="cores of this machine")
    parser.add_argument("--think", type=float, default=4.0, help="mean seconds between two calls")
    parser.add_argument("--record", type=Path, default=RECORD)
    given = parser.parse_args()
    driven = drive(given.calls)
    mean = sum(driven.programs) / len(driven.programs)
    # On this machine driver, actor and programs share the processors.
    here = Pool(
        nodes=1,
        cores=given.here,
        drivers=1,
        rows=driven.rows,
        dispatch=driven.dispatch,
        relay=driven.relay,
        think=lambda _: 0.0,
        service=lambda rng: driven.cost + rng.choice(driven.programs) - mean,
    )
    check = simulate(here, 20_000)
    points = curve(driven, given.cores, given.think)
    programs = sorted(driven.programs)
    record = {
        "program, seconds of CPU": {
            "calls": len(programs),
            "mean": mean,
            "p50": programs[len(programs) // 2],
            "p95": programs[int(0.95 * len(programs))],
        },
        "a call, seconds of CPU": {
            "driver": driven.dispatch,
            "actor": driven.relay,
            "servers and Ray": driven.beside,
            "program": mean,
        },
        "one node of Ray here": {
            "processors": given.here,
            "processors it had": driven.processors,
            "measured, calls/s": driven.calls_per_second,
            "measured, were all its own": driven.calls_per_second * given.here / driven.processors,
            "simulated": check.calls_per_second,
        },
        "cores of a node": given.cores,
        "rows for each node": ROWS,
        "think, seconds": given.think,
        "curve": [asdict(one) for one in points],
    }
    given.record.write_text(json.dumps(record, indent=1) + "\n")
    shown = table(points).markdown()
    print(json.dumps({k: v for k, v in record.items() if k != "curve"}, indent=1))
    print(shown)
    if given.record == RECORD:
        before, _, rest = PAGE.read_text().partition("| nodes | drivers |")
        _, _, after = rest.partition("\n\n")
        PAGE.write_text(f"{before}{shown}\n{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
