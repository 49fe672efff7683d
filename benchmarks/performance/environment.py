"""What the environment costs: steps per second, its share of them, waiting, resets, memory, import.

With `peers` the Python tools of GEM and SkyRL-gym are measured in the same run, on the same
programs.
"""

import gc
import json
import os
import statistics
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

from benchmarks.performance.measuring import (
    Figures,
    Measured,
    Options,
    in_turns,
    measured,
    median,
    ratio,
    run_python,
    say,
)
from torl_env import ToRLMathEnv, ToRLMathVectorEnv
from torl_env.sandbox import LocalSandbox, Sandbox

NUM_ENVS = 64
PROGRAMS = {
    "print": "print(6*7)",
    "sympy": "from sympy import *\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))",
}
TEXT = "The answer is \\boxed{42}."
PEERS = Path(__file__).parent / "peers"


def measure(options: Options) -> Measured:
    """All of it."""
    with LocalSandbox() as box:
        for program in PROGRAMS.values():
            _bare(box, program)
        figures = scalar(box)
        ratios: Figures = {}
        for part in (vector, waiting):
            found = part(box)
            figures |= found.figures
            ratios |= found.ratios
    figures |= resets() | memory() | importing()
    if options.peers:
        figures |= peers(options.peers)
        ratios |= against_peers(figures)
    return Measured(figures, ratios)


def turn(program: str) -> str:
    """A turn of the model that calls Python."""
    return f"I compute.\n```python\n{program}\n```"


def scalar(box: Sandbox, rounds: int = 20) -> Figures:
    """Steps per second of one env."""
    env = ToRLMathEnv(sandbox=box)
    actions = {**{name: turn(program) for name, program in PROGRAMS.items()}, "text": TEXT}
    work = {name: partial(env.step, action) for name, action in actions.items()}
    costs = in_turns(rounds, work, lambda _: env.reset(seed=0))
    env.close()
    return {f"scalar, {name}: steps/s": 1 / median(cost) for name, cost in costs.items()}


def vector(box: Sandbox, rounds: int = 7) -> Measured:
    """Steps per second of 64 envs, and what they add to the bare sandbox."""
    envs = ToRLMathVectorEnv(NUM_ENVS, sandbox=box, autoreset_mode="Disabled")
    work: dict[str, Callable[[], object]] = {"text": partial(envs.step, [TEXT] * NUM_ENVS)}
    for name, program in PROGRAMS.items():
        work[name] = partial(envs.step, [turn(program)] * NUM_ENVS)
        work[f"bare {name}"] = partial(_bare, box, program)
    costs = in_turns(rounds, work, lambda _: envs.reset(seed=0))
    envs.close()
    own_cpu = median(costs["print"], "cpu") - median(costs["bare print"], "cpu")
    figures = {
        "64 envs, text: steps/s": NUM_ENVS / median(costs["text"]),
        "64 envs, print: own CPU per step, us": 1e6 * own_cpu / NUM_ENVS,
    }
    ratios = {}
    for name in PROGRAMS:
        bare = f"64 calls of the bare sandbox, {name}: calls/s"
        share = ratio(costs[name], costs[f"bare {name}"])
        figures[f"64 envs, {name}: steps/s"] = NUM_ENVS / median(costs[name])
        figures[bare] = NUM_ENVS / median(costs[f"bare {name}"])
        figures[f"64 envs, {name}: overhead over the bare sandbox, %"] = 100 * (share - 1)
        ratios[f"environment, 64 envs, {name}: steps / calls of the bare sandbox"] = 1 / share
    return Measured(figures, ratios)


def _bare(box: Sandbox, program: str) -> None:
    wait([box.submit(program) for _ in range(NUM_ENVS)])


def waiting(box: Sandbox, rounds: int = 5) -> Measured:
    """Seconds until 63 quick calls are back, with and without one that sleeps."""
    envs = ToRLMathVectorEnv(NUM_ENVS, sandbox=box, autoreset_mode="Disabled")
    quick = turn(PROGRAMS["print"])
    first = {"without": quick, "with": turn("import time; time.sleep(1)")}

    def send(name: str) -> None:
        envs.recv(NUM_ENVS)
        envs.reset(seed=0)
        envs.send([first[name]] + [quick] * (NUM_ENVS - 1), range(NUM_ENVS))

    envs.reset(seed=0)
    costs = in_turns(rounds, dict.fromkeys(first, partial(envs.recv, NUM_ENVS - 1)), send)
    envs.close()
    name = "recv of 63, {} one call that sleeps 1 s: ms"
    return Measured(
        {name.format(which): 1000 * median(cost) for which, cost in costs.items()},
        {
            "environment, waiting: without a slow call / with one": median(costs["without"])
            / median(costs["with"])
        },
    )


def resets(count: int = 2000) -> Figures:
    """Resets per second over a million problems."""
    env = ToRLMathEnv("procedural:easy")
    env.reset(seed=0)
    cost = measured(lambda: [env.reset() for _ in range(count)])
    return {f"resets/s over {len(env.problems)} problems": count / cost.wall}


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
    spent = (float(run_python("-c", code)) for _ in range(rounds))
    return {"import torl_env: CPU s": statistics.median(spent)}


def peers(python: str) -> Figures:
    """The same turns through the peers' own environments, as far as they are installed."""
    figures: Figures = {}
    # SkyRL-gym runs whatever `python` is on the path.
    path = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    for script in (PEERS / "gem_peer.py", PEERS / "skyrl_peer.py"):
        try:
            printed = run_python(str(script), json.dumps(PROGRAMS), python=python, path=path)
        except CalledProcessError:
            say(f"{script.stem}: not measured")
        else:
            figures |= json.loads(printed.splitlines()[-1])
    return figures


def against_peers(figures: Figures) -> Figures:
    """Ours over each peer: `GEM, 16 envs, sympy: steps/s` is compared with our 64 envs."""
    ratios = {}
    for name, value in figures.items():
        peer, *where = name.removesuffix(": steps/s").split(", ")
        if len(where) == 2 and name.endswith(": steps/s"):
            place = "scalar" if where[0] == "scalar" else "64 envs"
            ours = figures[f"{place}, {where[1]}: steps/s"]
            ratios[f"environment, {place}, {where[1]}: ours / {peer}"] = ours / value
    return ratios
