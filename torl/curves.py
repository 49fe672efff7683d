"""The curves of a running training as text, for a terminal or a notebook."""

import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.core.run.storage import RecordError, read_lines
from benchmarks.report.runs import Run, open_run, series
from benchmarks.report.tables import percent
from torl.console import clock

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = ("accuracy", "code_ratio", "pass_ratio", "reward", "tool_calls", "tokens", "loss")
BARS = "▁▂▃▄▅▆▇█"


def view(path: Path) -> "RenderableType":
    """The state of a run as a table: last value and course of each metric."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    try:
        run = open_run(path)
    except RecordError as error:
        return Text(f"waiting for a run: {error}")
    grid = Table(header_style="bold")
    for column in ("metric", "last", "first", "course"):
        grid.add_column(column, justify="left" if column in {"metric", "course"} else "right")
    steps = run.learning or run.metrics
    for name in SHOWN:
        values = [value for value in series(steps, name) if isfinite(value)]
        if values:
            grid.add_row(name, f"{values[-1]:.3f}", f"{values[0]:.3f}", spark(values))
    held_out = [
        Text(f"held-out {name}: accuracy {percent(found.accuracy)} %")
        for name, found in run.evaluations.items()
    ]
    return Group(Text(_headline(run), style="bold"), grid, *held_out)


def spark(values: list[float], width: int = 48) -> str:
    """A course as one line of bars, means where there are more values than places.

    >>> spark([0, 1, 2, 3])
    '▁▃▅█'
    """
    size = -(-len(values) // width)
    parts = [values[i : i + size] for i in range(0, len(values), size)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(BARS[int((value - low) / span * 7 + 1e-9)] for value in means)


def _headline(run: Run) -> str:
    stage = run.stages[-1] if run.stages else "evaluation"
    done = len(run.stage(stage))
    total = _total(run.options, stage)
    text = f"{run.name}: {stage}, {done}" + (f" of {total}" if total else "") + " steps"
    seconds = _seconds(run)
    if seconds:
        pace = sum(seconds[-8:]) / len(seconds[-8:])
        text += f", {pace:.1f} s a step"
        if total and total > done:
            text += f", {clock(pace * (total - done))} left"
    metrics = run.path / "metrics.jsonl"
    if metrics.exists():
        # Of a run that hangs or was killed nothing else here would tell.
        text += f"; last written {clock(max(0.0, time.time() - metrics.stat().st_mtime))} ago"
    return text


def _total(options: Mapping[str, Any], stage: str) -> int:
    steps = options.get("steps")
    return steps if stage != "sft" and isinstance(steps, int) else 0


def _seconds(run: Run) -> list[float]:
    """Wall seconds of the steps of the current stage."""
    path = run.path / "timing.jsonl"
    if not path.exists():
        return []
    last = run.stages[-1] if run.stages else ""
    lines = [line for line in read_lines(path) if line.get("stage", last) == last]
    found = (line.get("seconds", line.get("total")) for line in lines)
    return [float(seconds) for seconds in found if seconds is not None]
