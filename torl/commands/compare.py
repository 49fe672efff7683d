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
from torl.console import CommandError, print_table, say


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Compare B with A, problem by problem, with a paired test."""

    a: Annotated[Path, tyro.conf.Positional]
    """Records (.jsonl) of one evaluation, or a folder with those of several."""
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
    for a, b in _pairs(options.a, options.b):
        _compare(options, a, b)
    say(f"the answers side by side: torl report {options.a} {options.b}")
    return 0


def _pairs(a: Path, b: Path) -> list[tuple[Path, Path]]:
    """Files to compare: of two folders those of one name, of a file and a folder that of its name.

    Raises:
        CommandError: No name is in both.
    """
    if not (a.is_dir() or b.is_dir()):
        return list(zip(records.find([a]), records.find([b]), strict=True))
    first = {file.name: file for file in records.find([a])}
    second = {file.name: file for file in records.find([b])}
    if len(first) == len(second) == 1:
        return list(zip(first.values(), second.values(), strict=True))
    common = [name for name in first if name in second]
    if not common:
        raise CommandError(
            f"{a} and {b} have no records of one name: {', '.join(first)} against "
            f"{', '.join(second)}; name two files"
        )
    for name in sorted(first.keys() ^ second.keys()):
        say(f"warning: {name} is in one of the two only, and left out")
    return [(first[name], second[name]) for name in common]


def _compare(options: CompareOptions, a: Path, b: Path) -> None:
    first, second = records.read(a), records.read(b)
    found = compare(first, second, options.seed)
    for warning in found.warnings:
        say(f"warning: {warning}")
    print(f"A {a}: {first.header.model}\nB {b}: {second.header.model}")
    print_table(comparison_table(found))
    if options.plot:
        draw_differences(found, f"{second.header.model} - {first.header.model}", options.plot)
        print(f"figure {options.plot}")
    if options.value:
        _value(found, first, second, options.value)


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
