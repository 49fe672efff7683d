"""All performance benchmarks as one record, compared with an earlier one.

    python -m benchmarks.performance.record --out DIR [--against RECORD.json] [--parts training ...]

Writes DIR/performance.json and DIR/performance.md, and each part as it ends. Rates depend on the
machine and its load, so only ratios are compared: ours over a peer, over the floor, or over the
bare part, all measured in the same run. Ends with code 1 where a ratio fell by more than the
tolerance, a fault of the grader is counted more often than before, or a part failed. A ratio that
only one record has is named and not judged.
"""

import json
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated, Any, Literal, get_args

import tyro

from agents.core.run.provenance import commit, versions
from agents.core.run.storage import read_json, write_json, write_text
from benchmarks.performance.measuring import Figures, Measured, Options, run_python, say
from benchmarks.report.tables import Table

Part = Literal["grading", "sandbox", "sessions", "environment", "training", "products"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What is measured unless named otherwise; `training` takes a model and the most minutes."""
TOLERANCE = 0.3
"""Share of a ratio that may be lost before it counts: twice what other load on two cores moved the
most restless of them between runs of the same code."""
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
class RecordOptions:
    """Measure, write a record, and compare it with a stored one."""

    out: Path
    """Folder for both files."""
    against: Path | None = None
    """A stored performance.json."""
    tolerance: float = TOLERANCE
    """Share of a ratio that may be lost."""
    parts: tuple[Part, ...] = PARTS
    """What to measure."""
    measuring: Annotated[Options, tyro.conf.OmitArgPrefixes] = field(default_factory=Options)
    """How, and what is installed beside it."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"--tolerance: expected 0 to below 1, got {self.tolerance}")
        if self.against and not self.against.is_file():
            raise ValueError(
                f"--against: no file {self.against}; leave it out to make the first record"
            )


@dataclass(frozen=True, slots=True)
class Change:
    """A ratio, or a count of faults, now and then."""

    name: str
    before: float | None
    now: float | None
    worse: bool


def measured(options: RecordOptions) -> tuple[dict[str, Measured], list[str]]:
    """Run the parts that are asked for, one after the other; each is written as it ends.

    Returns:
        What was measured, and the parts that failed: the others have taken minutes.
    """
    made: dict[str, Measured] = {}
    failed: list[str] = []
    # Threads that spin while they wait would count as CPU seconds.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    for part in options.parts:
        if part == "grading" and not (options.measuring.data / "grading/dev.jsonl").is_file():
            say(f"grading left out: no grading/dev.jsonl in {options.measuring.data}")
            continue
        say(f"measuring {part}")
        try:
            made[part] = measure(part, options.measuring)
        except (OSError, ValueError, CalledProcessError, BrokenProcessPool) as error:
            say(f"{part} failed and is left out: {error}")
            failed.append(part)
        else:
            write_json(options.out / f"{part}.json", {part: made[part].figures})
    return made, failed


def measure(part: Part, options: Options) -> Measured:
    """One part, in a process of its own, which starts with clean memory."""
    if part == "grading":
        return _grading(options)
    work = import_module(f"benchmarks.performance.{part}").measure
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found: Measured = pool.submit(work, options).result()
    return found


def _grading(options: Options) -> Measured:
    """What the grading benchmark writes, with the ratios and the faults in it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = ["--json", str(out), "--data", str(options.data)]
        if options.math_verify:
            words += ["--peers", *(["--gem", options.gem] if options.gem else [])]
        say(run_python("-m", "benchmarks.performance.grading", *words))
        sections = read_json(out)
    return Measured(sections, *grading_ratios(sections))


def grading_ratios(sections: Mapping[str, Mapping[str, float]]) -> tuple[Figures, Figures]:
    """Ratios (speed against each peer, accuracy, what remembering is worth) and faults of ours."""
    faster = "ours is so many times faster"
    ratios = {
        f"grading, checks/s: ours / {title}": figures[faster]
        for title, figures in sections.items()
        if faster in figures
    }
    if pairs := sections.get("Labelled pairs"):
        ratios["grading, accuracy on labelled pairs"] = pairs["accuracy"]
    if speed := sections.get("Speed"):
        cached = speed["cached checks/s"] / speed["uncached checks/s"]
        ratios["grading, checks/s: cached / uncached"] = cached
    counts = {
        f"grading, {name}": value
        for title in ("Labelled pairs", "Gaming", "References", "Hostile answers")
        for name, value in sections.get(title, {}).items()
        if any(fault in name for fault in _FAULTS)
    }
    return ratios, counts


def record(parts: Mapping[str, Measured]) -> dict[str, Any]:
    """The record of these measurements: what they say, what made them, and all figures."""
    return {
        "made": {
            "commit": commit(),
            "versions": versions(),
            "machine": machine(),
            "load": [round(load, 2) for load in os.getloadavg()],
        },
        "ratios": {name: value for part in parts.values() for name, value in part.ratios.items()},
        "counts": {name: value for part in parts.values() for name, value in part.counts.items()},
        "parts": {name: part.figures for name, part in parts.items()},
    }


def machine() -> dict[str, Any]:
    """What the rates depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return {"cpu": model or platform.processor(), "cores": os.cpu_count(), "os": platform.system()}


def compare(
    before: Mapping[str, Any], now: Mapping[str, Any], tolerance: float = TOLERANCE
) -> list[Change]:
    """Every ratio and count of two records.

    >>> old = {"ratios": {"a": 2.0, "b": 2.0}, "counts": {"faults": 0}}
    >>> new = {"ratios": {"a": 1.5, "b": 1.3}, "counts": {"faults": 1}}
    >>> [change.name for change in compare(old, new, tolerance=0.3) if change.worse]
    ['b', 'faults']
    """
    found = []
    for kind in ("ratios", "counts"):
        first, second = before[kind], now[kind]
        for name in {**first, **second}:
            old, new = first.get(name), second.get(name)
            worse = False
            if old is not None and new is not None:
                worse = new > old if kind == "counts" else new < old * (1 - tolerance)
            found.append(Change(name, old, new, worse))
    return found


def markdown(made: Mapping[str, Any], changes: Sequence[Change] = ()) -> str:
    """The record as tables."""
    about, then = made["made"], {change.name: change for change in changes}
    where = about["machine"]
    text = [
        f"# Performance\n\nCommit {about['commit'] or '-'}, Python {about['versions']['python']}, "
        f"{where['cpu']}, {where['cores']} cores, load {about['load'][0]}. Ratios are ours over "
        "what is named, measured in the same run; more is better.\n"
    ]
    for kind, title in (("ratios", "ratio"), ("counts", "fault, times")):
        rows = []
        for name, value in made[kind].items():
            row = [name, f"{value:.3g}"]
            if changes:
                before = then[name].before
                mark = " **worse**" if then[name].worse else ""
                row.append(("-" if before is None else f"{before:.3g}") + mark)
            rows.append(tuple(row))
        columns = (title, "now", *(["before"] if changes else []))
        text += [Table("", columns, tuple(rows)).markdown()] if rows else []
    for part, figures in made["parts"].items():
        text.append(f"## {part.capitalize()}\n\n{_table(figures).markdown()}")
    return "\n".join(text)


def _table(figures: Any) -> Table:
    if isinstance(figures, list):
        names = tuple(figures[0]) if figures else ()
        rows = tuple(tuple(_value(figure[name]) for name in names) for figure in figures)
        return Table("", names, rows)
    if all(isinstance(value, Mapping) for value in figures.values()):
        figures = {f"{title}: {k}": v for title, part in figures.items() for k, v in part.items()}
    rows = tuple((name, _value(value)) for name, value in figures.items())
    return Table("", ("figure", "value"), rows)


def _value(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def judge(made: Mapping[str, Any], against: Path, tolerance: float) -> tuple[list[Change], int]:
    """Compare with a stored record and say what became worse; returns the exit code too."""
    before = read_json(against)
    if missing := {"made", "ratios", "counts"} - before.keys():
        print(
            f"{against} is no record of this benchmark, it has no {', '.join(sorted(missing))}: "
            "make one with --out and store its performance.json",
            file=sys.stderr,
        )
        return [], 2
    if before["made"]["machine"] != made["made"]["machine"]:
        print(
            f"warning: {against} was made on another machine "
            f"({before['made']['machine']} against {made['made']['machine']}); ratios move less "
            "than rates do, but they move",
            file=sys.stderr,
        )
    changes = compare(before, made, tolerance)
    for change in changes:
        if change.now is None or change.before is None:
            which = "not measured this time" if change.now is None else "new"
            print(f"{which}: {change.name}")
    worse = [change for change in changes if change.worse]
    for change in worse:
        print(f"worse: {change.name}: {change.before:.3g} before, {change.now:.3g} now")
    both = sum(change.now is not None and change.before is not None for change in changes)
    print(f"{both} compared with {against}, {len(worse)} worse (tolerance {tolerance:.0%})")
    return changes, int(bool(worse))


def main(options: RecordOptions) -> int:
    """Measure, write, compare."""
    parts, failed = measured(options)
    # What travels through JSON is what a stored record is compared with.
    made: dict[str, Any] = json.loads(json.dumps(record(parts)))
    changes, code = judge(made, options.against, options.tolerance) if options.against else ([], 0)
    write_json(options.out / "performance.json", made)
    write_text(options.out / "performance.md", markdown(made, changes))
    print(f"record {options.out / 'performance.json'}\ntables {options.out / 'performance.md'}")
    return code or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(RecordOptions, description=__doc__)))
