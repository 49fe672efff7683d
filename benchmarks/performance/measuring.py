"""How every part of the benchmark measures: turns, medians, and what it says of them.

Other load on the machine hits everything that is measured at the time. So what is compared is
measured in turns, ratios are taken turn by turn, and medians are shown. Of a run only ratios within
it and counts of faults are worth comparing with a run on another machine.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parents[3] / "shared" / "data"
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one piece of work."""

    wall: float
    """Seconds."""
    cpu: float
    """CPU seconds of this process, without what its children take."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a part of the benchmark found."""

    figures: Any
    """Rates and times of this machine: by name, by section and name, or as rows."""
    ratios: Figures = field(default_factory=dict)
    """Ours over something measured beside it; more is better."""
    counts: Figures = field(default_factory=dict)
    """Faults, which do not depend on speed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and with what."""

    seconds: float = 1.0
    """For each figure of the sandbox and round."""
    rounds: int = 3
    """Everything of the sandbox is measured so often, in turn; the median counts."""
    model: str = "smollm2"
    """Of the training steps: a folder, a hub id or smollm2."""
    prompts: int = 2
    """Problems of a training step."""
    group: int = 4
    """Samples of each."""
    tokens: tuple[int, int] = (48, 112)
    """Least and most sampled ids of a row."""
    repeats: int = 1
    """Pairs of training steps."""
    data: Path = DATA
    """Folder with grading/ and heldout/."""
    math_verify: bool = False
    """Grade with math-verify too."""
    peers: str | None = None
    """An interpreter that has gem-llm and skyrl-gym."""
    gem: str | None = None
    """An interpreter that has gem-llm."""
    sandlock: str | None = None
    """An interpreter that has sandlock."""
    fusion: str | None = None
    """Address of a Sandbox Fusion server."""


def measured(work: Callable[[], object]) -> Cost:
    """What one call costs; one that returns a `Cost` has measured itself."""
    wall, cpu = time.perf_counter(), time.process_time()
    own = work()
    return (
        own
        if isinstance(own, Cost)
        else Cost(time.perf_counter() - wall, time.process_time() - cpu)
    )


def in_turns(
    rounds: int,
    work: Mapping[str, Callable[[], object]],
    before: Callable[[str], object] = lambda _: None,
) -> dict[str, list[Cost]]:
    """Costs of several pieces of work that take turns, their order changing each time.

    Args:
        rounds: How often each is done.
        work: By name.
        before: Called with the name before each piece of work, and not measured.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in work}
    for turn in range(rounds):
        for name in reversed(list(work)) if turn % 2 else work:
            before(name)
            costs[name].append(measured(work[name]))
    return costs


def median(costs: Sequence[Cost], of: str = "wall") -> float:
    """The median of wall or CPU seconds."""
    return float(statistics.median(getattr(cost, of) for cost in costs))


def ratio(over: Sequence[Cost], under: Sequence[Cost], of: str = "wall") -> float:
    """The median of what one costs over what the other costs, turn by turn."""
    pairs = zip(over, under, strict=True)
    return float(statistics.median(getattr(a, of) / getattr(b, of) for a, b in pairs))


def run_python(
    *words: str, python: str = sys.executable, path: str = os.environ.get("PATH", ""), **more: str
) -> str:
    """What another interpreter prints.

    Raises:
        subprocess.CalledProcessError: It ended with an error.
    """
    environment = {**os.environ, "PATH": path, **more}
    done = subprocess.run(
        [python, *words], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return done.stdout


def say(message: str) -> None:
    """Tell how far it is."""
    print(message, file=sys.stderr, flush=True)
