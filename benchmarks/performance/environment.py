"""What the environment costs: steps per second, its share of them, waiting, resets, memory, import.

    python -m benchmarks.performance.environment [--json FILE] [--peers PYTHON]

Every figure is a median over rounds, so that other load on the machine moves it little; ratios are
taken round by round. `--peers` names an interpreter that has `gem-llm` and `skyrl-gym` installed:
their Python tools are then measured in the same run, on the same programs.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from pathlib import Path

from torl_env import ToRLMathEnv, ToRLMathVectorEnv
from torl_env.sandbox import LocalSandbox, Sandbox

NUM_ENVS = 64
PROGRAMS = {
    "print": "print(6*7)",
    "sympy": "from sympy import *\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))",
}
TEXT = "The answer is \\boxed{42}."
PEERS = Path(__file__).parent / "peers"

Figures = dict[str, float]


def turn(program: str) -> str:
    """A turn of the model that calls Python."""
    return f"I compute.\n```python\n{program}\n```"


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def scalar(box: Sandbox, rounds: int = 20) -> Figures:
    """Steps per second of one env."""
    env = ToRLMathEnv(sandbox=box)
    figures: Figures = {}
    for name, action in {**{n: turn(p) for n, p in PROGRAMS.items()}, "text": TEXT}.items():
        seconds = []
        for _ in range(rounds):
            env.reset(seed=0)
            seconds.append(timed(partial(env.step, action)))
        figures[f"scalar, {name}: steps/s"] = 1 / statistics.median(seconds)
    env.close()
    return figures


def vector(box: Sandbox, rounds: int = 7) -> Figures:
    """Steps per second of 64 envs, and what they add to the bare sandbox."""
    envs = ToRLMathVectorEnv(NUM_ENVS, sandbox=box, autoreset_mode="Disabled")
    figures: Figures = {}
    for name, program in PROGRAMS.items():
        bare, ours = [], []
        actions = [turn(program)] * NUM_ENVS
        for _ in range(rounds):
            envs.reset(seed=0)
            bare.append(timed(partial(_bare, box, program)))
            ours.append(timed(partial(envs.step, actions)))
        figures[f"64 envs, {name}: steps/s"] = NUM_ENVS / statistics.median(ours)
        figures[f"64 calls of the bare sandbox, {name}: calls/s"] = NUM_ENVS / statistics.median(
            bare
        )
        ratio = statistics.median(b / a for a, b in zip(bare, ours, strict=True))
        figures[f"64 envs, {name}: overhead over the bare sandbox, %"] = 100 * (ratio - 1)
    seconds = []
    for _ in range(rounds):
        envs.reset(seed=0)
        seconds.append(timed(lambda: envs.step([TEXT] * NUM_ENVS)))
    figures["64 envs, text: steps/s"] = NUM_ENVS / statistics.median(seconds)
    envs.close()
    return figures


def _bare(box: Sandbox, program: str) -> None:
    wait([box.submit(program) for _ in range(NUM_ENVS)])


def env_cpu(box: Sandbox, rounds: int = 7) -> Figures:
    """CPU time of this process alone for a step with a call, in microseconds."""
    envs = ToRLMathVectorEnv(NUM_ENVS, sandbox=box, autoreset_mode="Disabled")
    costs = {}
    for name, work in (
        ("env", lambda: envs.step([turn(PROGRAMS["print"])] * NUM_ENVS)),
        ("bare", lambda: _bare(box, PROGRAMS["print"])),
    ):
        spent = []
        for _ in range(rounds):
            envs.reset(seed=0)
            started = time.process_time()
            work()
            spent.append(time.process_time() - started)
        costs[name] = statistics.median(spent) / NUM_ENVS * 1e6
    envs.close()
    return {"64 envs, print: own CPU per step, us": costs["env"] - costs["bare"]}


def waiting(box: Sandbox, rounds: int = 5) -> Figures:
    """Seconds until 63 quick calls are back, with and without one that sleeps."""
    envs = ToRLMathVectorEnv(NUM_ENVS, sandbox=box, autoreset_mode="Disabled")
    quick = turn(PROGRAMS["print"])
    slow = turn("import time; time.sleep(1)")
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(rounds):
        for name, first in (("without", quick), ("with", slow)):
            envs.reset(seed=0)
            envs.send([first] + [quick] * (NUM_ENVS - 1), range(NUM_ENVS))
            seconds[name].append(timed(lambda: envs.recv(NUM_ENVS - 1)))
            envs.recv(NUM_ENVS)
    envs.close()
    return {
        f"recv of 63, {name} one call that sleeps 1 s: ms": 1000 * statistics.median(values)
        for name, values in seconds.items()
    }


def resets(count: int = 2000) -> Figures:
    """Resets per second over a million problems."""
    env = ToRLMathEnv("procedural:easy")
    env.reset(seed=0)
    seconds = timed(lambda: [env.reset() for _ in range(count)])
    return {f"resets/s over {len(env.problems)} problems": count / seconds}


def memory(count: int = 2000) -> Figures:
    """Kibibytes of resident memory for each env of a vector after a reset."""
    gc.collect()
    before = _resident()
    envs = ToRLMathVectorEnv(count)
    envs.reset(seed=0)
    kib = (_resident() - before) / count
    envs.close()
    return {f"memory per env (of {count}): KiB": kib}


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def importing(rounds: int = 5) -> Figures:
    """CPU seconds of `import torl_env` in a fresh interpreter."""
    code = "import time; t = time.process_time(); import torl_env; print(time.process_time() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(rounds)
    ]
    return {"import torl_env: CPU s": statistics.median(float(run.stdout) for run in runs)}


def peers(python: str) -> Figures:
    """The same turns through the peers' own environments, as far as they are installed."""
    figures: Figures = {}
    # SkyRL-gym runs whatever `python` is on the path.
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    for script in (PEERS / "gem_peer.py", PEERS / "skyrl_peer.py"):
        run = subprocess.run(
            [python, str(script), json.dumps(PROGRAMS)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path},
        )
        if run.returncode:
            print(f"{script.stem}: not measured: {run.stderr.strip().splitlines()[-1]}")
        else:
            figures |= json.loads(run.stdout.strip().splitlines()[-1])
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--peers", help="an interpreter with gem-llm and skyrl-gym")
    options = parser.parse_args()
    figures: Figures = {}
    with LocalSandbox() as box:
        for program in PROGRAMS.values():
            _bare(box, program)
        parts = [scalar, vector, env_cpu, waiting]
        for part in parts:
            figures |= part(box)
            _show(figures)
    for measure in (resets, memory, importing):
        figures |= measure()
        _show(figures)
    if options.peers:
        figures |= peers(options.peers)
        _show(figures)
    if options.json:
        record = {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "figures": figures,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


_printed: set[str] = set()


def _show(figures: Figures) -> None:
    for name, value in figures.items():
        if name not in _printed:
            _printed.add(name)
            print(f"{name:62} {value:12.2f}", flush=True)


if __name__ == "__main__":
    main()
