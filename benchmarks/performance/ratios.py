"""What of a benchmark survives another machine and another load: ratios, and counts of faults.

Every ratio is ours over something measured in the same run, the more the better. Counts are of
things that should not happen, and do not depend on speed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.performance.sandbox import WORKLOADS

OURS = "torl local"
"""Name of our sandbox among its contenders."""
_PEER = re.compile(r"(?P<peer>[^,]+), (?P<where>scalar|\d+ envs), (?P<program>\w+): steps/s")
_OVERHEAD = re.compile(r"(?P<where>\d+ envs, \w+): overhead over the bare sandbox, %")
_COST = re.compile(r"(?P<ours>.+) over (?P<other>.+), CPU seconds")
_WAITING = "recv of 63, {} one call that sleeps 1 s: ms"
_ENDLESS = {work.name for work in WORKLOADS if work.endless}
_FAULTS = (
    "false positives",
    "false negatives",
    "ungradable",
    "gaming probes wrong",
    "leading numbers paid",
    "not equal to themselves respelled",
    "equal to their neighbour",
    "code executed",
)


@dataclass(frozen=True, slots=True)
class Telling:
    """The part of a benchmark that is worth comparing with an earlier one."""

    ratios: Mapping[str, float]
    counts: Mapping[str, float]


def telling(parts: Mapping[str, Any]) -> Telling:
    """Ratios and counts of all parts that were measured.

    Args:
        parts: `grading`: sections of figures; `sandbox`: a list of figures; `environment` and
            `training`: figures.
    """
    grading = parts.get("grading", {})
    return Telling(
        {
            **grading_ratios(grading),
            **sandbox_ratios(parts.get("sandbox", [])),
            **environment_ratios(parts.get("environment", {})),
            **training_ratios(parts.get("training", {})),
        },
        grading_counts(grading),
    )


def grading_ratios(sections: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Speed against each peer, accuracy, and what remembering is worth."""
    found = {
        f"grading, checks/s: ours / {title}": figures["ours is so many times faster"]
        for title, figures in sections.items()
        if "ours is so many times faster" in figures
    }
    if pairs := sections.get("Labelled pairs"):
        found["grading, accuracy on labelled pairs"] = pairs["accuracy"]
    if speed := sections.get("Speed"):
        found["grading, checks/s: cached / uncached"] = (
            speed["cached checks/s"] / speed["uncached checks/s"]
        )
    return found


def grading_counts(sections: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """How often our grader did what no grader should."""
    ours = ("Labelled pairs", "Gaming", "References", "Hostile answers")
    return {
        f"grading, {name}": value
        for title in ours
        for name, value in sections.get(title, {}).items()
        if any(fault in name for fault in _FAULTS)
    }


def sandbox_ratios(figures: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Calls per second against each contender at the same number of calls in flight.

    Programs that run into their limit tell of the limit and not of the sandbox, and are left out.

    >>> own = {"contender": "torl local", "workload": "print", "concurrency": 1, "per_second": 90.0}
    >>> sandbox_ratios([own, {**own, "contender": "python -c", "per_second": 30.0}])
    {'sandbox, print, 1 at once: ours / python -c': 3.0}
    """
    own = {(f["workload"], f["concurrency"]): f for f in figures if f["contender"] == OURS}
    found = {}
    for figure in figures:
        mine = own.get((figure["workload"], figure["concurrency"]))
        if mine is None or figure["contender"] == OURS or not figure["per_second"]:
            continue
        if figure["workload"] in _ENDLESS:
            continue
        where = f"{figure['workload']}, {figure['concurrency']} at once"
        name = f"sandbox, {where}: ours / {figure['contender']}"
        found[name] = mine["per_second"] / figure["per_second"]
    return found


def environment_ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """Against peers, against the bare sandbox, and with a slow call against without one."""
    found = {}
    for name, value in figures.items():
        if (peer := _PEER.fullmatch(name)) and value:
            where = "scalar" if peer["where"] == "scalar" else "64 envs"
            mine = figures.get(f"{where}, {peer['program']}: steps/s")
            if mine is not None:
                key = f"environment, {where}, {peer['program']}: ours / {peer['peer']}"
                found[key] = mine / value
        if bare := _OVERHEAD.fullmatch(name):
            key = f"environment, {bare['where']}: steps / calls of the bare sandbox"
            found[key] = 1 / (1 + value / 100)
    without, slow = (figures.get(_WAITING.format(word)) for word in ("without", "with"))
    if without and slow:
        found["environment, waiting: without a slow call / with one"] = without / slow
    return found


def training_ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds of what a step is compared with, over those of the step.

    >>> training_ratios({"ours over TRL's, CPU seconds": 0.5})
    {"training, CPU seconds: TRL's / ours": 2.0}
    """
    pairs = ((_COST.fullmatch(name), value) for name, value in figures.items())
    return {
        f"training, CPU seconds: {found['other']} / {found['ours']}": 1 / value
        for found, value in pairs
        if found and value
    }
