"""Run very many programs and watch memory, descriptors and speed: all three must stay flat.

    python runs/sandbox_soak.py --calls 1000000 --out out/sandbox_soak.jsonl

Every tenth program fails in some way (error, timeout, memory, crash, flood, cancelled call), and
every `--sessions-every` of them a session is opened, branched, misused and closed. Each `--every`
calls a JSON line is written.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from torl_env.sandbox import Execution, Limits, LocalSandbox, Status
from torl_env.testing import children, descendants

LIMITS = Limits(cpu_seconds=0.1, wall_seconds=5.0, memory_mb=128, output_bytes=2000)
FAILING = {
    "1/0": Status.ERROR,
    "x = (": Status.SYNTAX_ERROR,
    "import os; os._exit(9)": Status.ERROR,
    "raise MemoryError": Status.MEMORY,
    "x = bytearray(10**10)": Status.MEMORY,
    "import ctypes; ctypes.string_at(0)": Status.KILLED,
    "while True: print('x' * 1000)": Status.OUTPUT_LIMIT,
}
RARE = {"while True: pass": Status.TIMEOUT}


def programs(generator: random.Random) -> Iterator[tuple[str, Status, str | None]]:
    """Program, status and output that must come of it, for ever."""
    number = 0
    while True:
        number += 1
        kind = generator.random()
        if kind < 0.0005:
            code, status = next(iter(RARE.items()))
            yield code, status, None
        elif kind < 0.1:
            code = generator.choice(list(FAILING))
            yield code, FAILING[code], None
        elif kind < 0.105:
            yield (
                f"open('a', 'w').write('{number}'); print(open('a').read())",
                Status.OK,
                f"{number}\n",
            )
        elif kind < 0.11:
            yield f"import numpy\nprint(numpy.sum([{number}, 1]))", Status.OK, f"{number + 1}\n"
        else:
            yield f"print({number} * 2)", Status.OK, f"{number * 2}\n"


def own_memory_mb(pid: int) -> float:
    """Private memory of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def servers_of(client: int) -> list[int]:
    """The inner halves of the servers: the parents of everything that runs programs."""
    return [inner for server in children(client) for inner in children(server)]


def snapshot(calls: int, took: float, chunk: int) -> dict[str, float]:
    """Everything that could grow."""
    client = os.getpid()
    servers = servers_of(client)
    return {
        "calls": calls,
        "calls_per_second": round(chunk / took, 1),
        "client_mb": round(own_memory_mb(client), 2),
        "server_mb": round(sum(own_memory_mb(pid) for pid in servers), 2),
        "client_descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "server_descriptors": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in servers),
        "processes": len(descendants(client)),
    }


def use_session(sandbox: LocalSandbox, number: int) -> None:
    """Open, use, branch and drop a session; every kind of turn is in it."""
    with sandbox.open_session(preload="bare", in_place=number % 4 == 3) as session:
        session.run("x = [1, 2]; open('f', 'w').write('1')")
        with session.branch() as twin, twin.branch() as deeper:
            twin.run("x.append(3)")
            failed = [
                deeper.run("import os; os._exit(0)"),
                deeper.run("import os\nfor n in range(3, 9): os.write(n, b'N')"),
                twin.run("raise MemoryError"),
            ]
            if number % 50 == 0:
                failed.append(twin.run("while True: pass"))
            if any(result.ok for result in failed):
                raise AssertionError(f"a turn that failed looks well: {failed}")
        after = session.run("print(x, open('f').read())")
        if after.stdout != "[1, 2] 1\n" or session.run("1/0").ok:
            raise AssertionError(f"a session went wrong: {after}")


def check(call: Future[Execution], wanted: tuple[str, Status, str | None]) -> None:
    """A wrong result ends the run."""
    result = call.result()
    code, status, output = wanted
    if result.status is not status or (output is not None and result.stdout != output):
        raise AssertionError(f"{code!r} gave {result}, expected {status}")


def soak(calls: int, every: int, at_once: int, sessions_every: int) -> Iterator[dict[str, float]]:
    """Run `calls` programs, `at_once` in flight; one snapshot for each `every` of them."""
    sessions = 0
    source = programs(random.Random(0))
    flying: dict[Future[Execution], tuple[str, Status, str | None]] = {}
    done, began = 0, time.perf_counter()
    with LocalSandbox(LIMITS) as sandbox:
        sandbox.run("import numpy")
        while done < calls:
            while len(flying) < at_once:
                wanted = next(source)
                flying[sandbox.submit(wanted[0])] = wanted
            for call in wait(flying, return_when=FIRST_COMPLETED).done:
                check(call, flying.pop(call))
                done += 1
                if done % sessions_every == 0:
                    sessions += 1
                    use_session(sandbox, sessions)
                if done % 1000 == 0:
                    sandbox.submit("while True: pass").cancel()
                if done % every == 0:
                    point = snapshot(done, time.perf_counter() - began, every)
                    yield point | {"sessions": sessions}
                    began = time.perf_counter()


def main() -> int:
    """Print and write the curve; 1 where memory or descriptors grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--sessions-every", type=int, default=100, help="calls for each session")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    curve: list[dict[str, float]] = []
    for point in soak(options.calls, options.every, options.at_once, options.sessions_every):
        curve.append(point)
        line = json.dumps(point)
        print(line, flush=True)
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    first, last = curve[min(1, len(curve) - 1)], curve[-1]
    grew = {
        name: (first[name], last[name])
        for name, allowed in {
            "client_mb": 8.0,
            "server_mb": 8.0,
            "client_descriptors": 64,
            "server_descriptors": 64,
            "processes": 32,
        }.items()
        if last[name] > first[name] + allowed
    }
    print(f"grew: {grew}" if grew else "flat", flush=True)
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
