"""`torl compare`: which differences between two evaluations are real."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.heldout import records
from benchmarks.heldout.compare import Comparison, compare
from benchmarks.heldout.statistics import Estimate
from benchmarks.report.plots import draw_differences
from benchmarks.report.tables import Table
from torl.console import print_table, say


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Compare B with A, problem by problem, with a paired test."""

    a: Annotated[Path, tyro.conf.Positional]
    """Records (.jsonl) of one evaluation."""
    b: Annotated[Path, tyro.conf.Positional]
    """Records of the other."""
    plot: Path | None = None
    """Also draw the differences by level and subject into this PNG. With A evaluated at C = 0 and B
    with the tool it is the value of the tool, by difficulty."""
    seed: int = 0
    """Of the bootstrap and the permutation test."""


def main(options: CompareOptions) -> int:
    """Print the comparison."""
    first, second = records.read(options.a), records.read(options.b)
    found = compare(first, second, options.seed)
    for warning in found.warnings:
        say(f"warning: {warning}")
    print(f"A {options.a}: {first.header.model}\nB {options.b}: {second.header.model}")
    print_table(comparison_table(found))
    if options.plot:
        draw_differences(found, f"{second.header.model} - {first.header.model}", options.plot)
        print(f"figure {options.plot}")
    return 0


def comparison_table(found: Comparison) -> Table:
    """The lines of a comparison in per cent."""
    rows = []
    for line in found.lines:
        gap = line.difference
        rows.append(
            (
                line.name,
                str(gap.difference.count),
                f"{100 * gap.a:.1f}",
                f"{100 * gap.b:.1f}",
                _points(gap.difference),
                f"{gap.wins}:{gap.losses}",
                f"{line.adjusted:.4f}",
                "yes" if line.real else "no",
            )
        )
    columns = ("", "problems", "A %", "B %", "B - A", "better:worse", "p", "real")
    title = "Accuracy; p by sign flips over problems, Holm's correction over the parts"
    return Table(title, columns, tuple(rows))


def _points(gap: Estimate) -> str:
    """A difference in points; its interval where the bootstrap has one (not of one problem)."""
    text = f"{100 * gap.value:+.1f}"
    return text + (f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]" if gap.low < gap.high else "")
