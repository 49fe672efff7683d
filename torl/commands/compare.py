"""`torl compare`: which differences between two evaluations are real."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.heldout import records
from benchmarks.heldout.compare import Comparison, compare
from benchmarks.heldout.records import Records
from benchmarks.heldout.statistics import Estimate
from benchmarks.report.plots import draw_differences
from benchmarks.report.tables import Table
from benchmarks.report.value import draw_value, write_value
from torl.console import print_table, say


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Compare B with A, problem by problem, with a paired test."""

    a: Annotated[Path, tyro.conf.Positional]
    """Records (.jsonl) of one evaluation."""
    b: Annotated[Path, tyro.conf.Positional]
    """Records of the other."""
    plot: Path | None = None
    """Also draw the differences by level and subject into this PNG."""
    value: Path | None = None
    """Also draw the value of the tool into this PNG, with its numbers as CSV beside it: accuracy
    without it (A, evaluated at C = 0), with it (B), and the difference, by level and subject."""
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
    if options.value:
        _value(found, first, second, options.value)
    return 0


def _value(found: Comparison, without: Records, with_tool: Records, png: Path) -> None:
    budgets = [records.header.settings.get("tool_budget") for records in (without, with_tool)]
    if budgets[0] or budgets[1] == 0:
        say(
            f"warning: the value of the tool is asked for, but A was evaluated with C = "
            f"{budgets[0]} and B with C = {budgets[1]}; expected A without a tool and B with it"
        )
    draw_value(found, f"Value of the tool: {with_tool.header.model}", png)
    write_value(found, png.with_suffix(".csv"))
    print(f"figure {png}\nnumbers {png.with_suffix('.csv')}")


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
