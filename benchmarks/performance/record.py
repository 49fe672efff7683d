"""All performance benchmarks as one record, compared with an earlier one.

    python -m benchmarks.performance.record --out DIR [--against RECORD.json] [--tolerance 0.3]
        [--parts grading sandbox sessions environment training] [--data DIR] [--seconds 1]
        [--rounds 3] [--math-verify] [--peers PYTHON] [--gem PYTHON] [--sandlock PYTHON]
        [--fusion URL]

Writes DIR/performance.json and DIR/performance.md, and each part as it ends. Rates depend on the
machine and its load, so only ratios are compared: ours over a peer, over the floor, or over the
bare part, all measured in the same run. Ends with code 1 where a ratio fell by more than the
tolerance, a fault of the grader is counted more often than before, or a part failed. A ratio that
only one record has is named and not judged.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.core.run.provenance import commit, versions
from agents.core.run.storage import read_json, write_json, write_text
from benchmarks.performance.grading import SHARED
from benchmarks.performance.ratios import telling

PARTS = ("grading", "sandbox", "sessions", "environment", "training")
"""What is measured unless named otherwise; `training` takes a model and the most minutes."""
TOLERANCE = 0.3
"""Share of a ratio that may be lost before it counts: twice what other load on two cores moved the
most restless of them between runs of the same code."""


@dataclass(frozen=True, slots=True)
class Change:
    """A ratio, or a count of faults, now and then."""

    name: str
    before: float | None
    now: float | None
    worse: bool


def measured(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Run the parts that are asked for, one after the other; each is written as it ends.

    Returns:
        What was measured, and the parts that failed: the others have taken minutes.
    """
    made: dict[str, Any] = {}
    failed: list[str] = []
    for part in options.parts:
        if part == "grading" and not (options.data / "grading" / "dev.jsonl").is_file():
            print(f"grading left out: no grading/dev.jsonl in {options.data}", file=sys.stderr)
            continue
        print(f"measuring {part}", file=sys.stderr, flush=True)
        try:
            made[part] = _measure(part, options)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"{part} failed and is left out: {error}", file=sys.stderr)
            failed.append(part)
        else:
            write_json(options.out / f"{part}.json", {part: made[part]})
    return made, failed


def _measure(part: str, options: argparse.Namespace) -> Any:
    if part == "sandbox":
        return _sandbox(options)
    if part == "sessions":
        from benchmarks.performance.sessions import measure_sessions

        return measure_sessions()
    return _figures(part, options)


def _sandbox(options: argparse.Namespace) -> list[dict[str, Any]]:
    from benchmarks.performance.rivals import Installed
    from benchmarks.performance.sandbox import measure_all

    places = Installed(options.fusion, options.gem, options.sandlock)
    figures = measure_all(options.seconds, places, rounds=options.rounds)
    return [asdict(figure) for figure in figures]


def _figures(part: str, options: argparse.Namespace) -> Any:
    """What a benchmark with a command of its own writes; its process starts with clean memory."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = ["-m", f"benchmarks.performance.{part}", "--json", str(out)]
        if part == "grading":
            words += ["--data", str(options.data)]
            words += ["--peers"] if options.math_verify else []
            words += ["--gem", options.gem] if options.math_verify and options.gem else []
        elif part == "environment" and options.peers:
            words += ["--peers", options.peers]
        elif part == "training":
            words += ["--prompts", "2", "--repeats", "1"]
        # Threads that spin while they wait would count as CPU seconds.
        environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, *words]
        subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
        found = read_json(out)
    return found.get("figures", found)


def record(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The record of these measurements: what they say, what made them, and all figures."""
    told = telling(parts)
    return {
        "made": {
            "commit": commit(),
            "versions": versions(),
            "machine": machine(),
            "load": [round(load, 2) for load in os.getloadavg()],
        },
        "ratios": dict(told.ratios),
        "counts": dict(told.counts),
        "parts": dict(parts),
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
    about = made["made"]
    where = about["machine"]
    then = {change.name: change for change in changes}
    lines = [
        "# Performance",
        "",
        f"Commit {about['commit'] or '-'}, Python {about['versions']['python']}, {where['cpu']}, "
        f"{where['cores']} cores, load {about['load'][0]}. Ratios are ours over what is named, "
        "measured in the same run; more is better.",
        "",
        "| ratio | now |" + (" before |" if changes else ""),
        "|---|---|" + ("---|" if changes else ""),
    ]
    for kind in ("ratios", "counts"):
        if kind == "counts" and made[kind]:
            head = ["", "| fault, times | now |" + (" before |" if changes else ""), "|---|---|"]
            lines += [*head[:2], head[2] + ("---|" if changes else "")]
        for name, value in made[kind].items():
            cells = [_cell(name), f"{value:.3g}"]
            if changes:
                change = then[name]
                mark = " **worse**" if change.worse else ""
                cells.append(("-" if change.before is None else f"{change.before:.3g}") + mark)
            lines.append(f"| {' | '.join(cells)} |")
    for part, figures in made["parts"].items():
        lines += ["", f"## {part.capitalize()}", "", *_all_figures(figures)]
    return "\n".join(lines) + "\n"


def _all_figures(figures: Any) -> list[str]:
    if isinstance(figures, list):
        names = list(figures[0]) if figures else []
        rows = [[_value(figure[name]) for name in names] for figure in figures]
        return [_row(names), _row(["---"] * len(names)), *map(_row, rows)]
    if all(isinstance(value, Mapping) for value in figures.values()):
        flat = {f"{title}: {k}": v for title, part in figures.items() for k, v in part.items()}
        return _all_figures(flat)
    return ["| figure | value |", "|---|---|", *(_row([k, _value(v)]) for k, v in figures.items())]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


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


def options_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    text = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--out", type=Path, required=True, help="folder for both files")
    parser.add_argument("--against", type=Path, help="a stored performance.json")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="of each ratio")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=SHARED, help="with grading/ and heldout/")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each sandbox figure")
    parser.add_argument("--rounds", type=int, default=3, help="of the sandbox; the median counts")
    parser.add_argument("--math-verify", action="store_true", help="grade with it too")
    parser.add_argument("--peers", help="an interpreter with gem-llm and skyrl-gym")
    parser.add_argument("--gem", help="an interpreter with gem-llm")
    parser.add_argument("--sandlock", help="an interpreter with sandlock")
    parser.add_argument("--fusion", help="address of a Sandbox Fusion server")
    options = parser.parse_args(words)
    if not 0 <= options.tolerance < 1:
        parser.error(f"--tolerance: expected a share from 0 to below 1, got {options.tolerance}")
    if options.against and not options.against.is_file():
        parser.error(f"--against: no file {options.against}; leave it out to make the first record")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write, compare."""
    options = options_of(words)
    # What travels through JSON is what a stored record is compared with.
    parts, failed = measured(options)
    made: dict[str, Any] = json.loads(json.dumps(record(parts)))
    changes, code = judge(made, options.against, options.tolerance) if options.against else ([], 0)
    write_json(options.out / "performance.json", made)
    write_text(options.out / "performance.md", markdown(made, changes))
    print(f"record {options.out / 'performance.json'}\ntables {options.out / 'performance.md'}")
    return code or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
