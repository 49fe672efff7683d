"""The value of the tool: accuracy with it minus accuracy without, as a curve over difficulty.

No paper reports it per difficulty. Levels are drawn in their order, families by what the tool is
worth to them.
"""

import csv
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from agents.core.run.storage import RecordError, replacing
from benchmarks.heldout.compare import Comparison, Line
from benchmarks.report.plots import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    errors,
    percent,
    picture,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("kind", "name", "problems", "without", "with", "value", "low", "high", "p")


def parts(found: Comparison, kind: str) -> list[Line]:
    """The lines of one kind, `level` or `subject`, without the kind in their names.

    Levels come in the order of their numbers, subjects by their value.
    """
    lines = [line for line in found.lines if line.name.startswith(f"{kind} ")]
    if kind == "level":
        return sorted(lines, key=lambda line: _number(line.name))
    return sorted(lines, key=lambda line: line.difference.difference.value)


def _number(name: str) -> tuple[float, str]:
    digits = "".join(c for c in name if c.isdigit() or c == ".").strip(".")
    return (float(digits) if digits else float("inf"), name)


def draw_value(found: Comparison, title: str, png: Path) -> None:
    """Draw both accuracies and their difference over levels, and over families beside them.

    Args:
        found: Without the tool (A) against with it (B).
        title: Of the picture.
        png: The picture.

    Raises:
        RecordError: The problems have neither levels nor subjects.
    """
    kinds = [kind for kind in ("level", "subject") if parts(found, kind)]
    if not kinds:
        raise RecordError("no curve to draw: the problems have neither two levels nor two subjects")
    with picture(png, 5.4 * len(kinds), 4.2) as figure:
        for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            _draw(axes, kind, parts(found, kind))
        figure.suptitle(title, fontsize=11, color=INK)


def _draw(axes: "Axes", kind: str, lines: Sequence[Line]) -> None:
    names = [line.name.removeprefix(f"{kind} ") for line in lines]
    places = range(len(names))
    for label, values, colour, dash in (
        ("without the tool", [line.difference.a for line in lines], ORANGE, "--"),
        ("with the tool", [line.difference.b for line in lines], BLUE, "-."),
    ):
        axes.plot(places, values, color=colour, linestyle=dash, marker="o", markersize=3.5,
                  linewidth=1.4, label=label)  # fmt: skip
    gaps = [line.difference.difference for line in lines]
    axes.errorbar(
        places, [gap.value for gap in gaps], yerr=errors(gaps), color=GREEN, marker="D",
        markersize=4.5, capsize=3, linewidth=1.8, label="value of the tool, 95 % interval",
    )  # fmt: skip
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set_xticks(places, names, rotation=0 if kind == "level" else 40,
                    ha="center" if kind == "level" else "right")  # fmt: skip
    plain(axes, f"by {kind}")
    axes.set_ylim(min(-0.05, *(gap.low for gap in gaps if not isnan(gap.low)), 0) - 0.02, 1.05)
    percent(axes.yaxis)
    axes.legend(frameon=False, fontsize=8, loc="best", handlelength=2.6)


def write_value(found: Comparison, path: Path) -> None:
    """Write the numbers of the curve as CSV, shares in [0, 1]."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for kind in ("level", "subject"):
            for line in parts(found, kind):
                gap = line.difference
                interval = [
                    "" if isnan(v) else v for v in (gap.difference.low, gap.difference.high)
                ]
                name = line.name.removeprefix(f"{kind} ")
                values = [gap.a, gap.b, gap.difference.value, *interval, line.adjusted]
                writer.writerow([kind, name, gap.difference.count, *values])
