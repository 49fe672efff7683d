"""`torl analyse`: what the answers on record do, whether execution predicts truth, best of N."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Annotated

import tyro

from agents.core.types import Trajectory
from benchmarks.heldout import records
from benchmarks.heldout.cases import (
    MEANING,
    Case,
    calls,
    cases,
    count_cases,
    execution_against_correctness,
)
from benchmarks.heldout.selectors import Selector, best_of
from benchmarks.report.tables import Table, percent
from torl.console import CommandError, print_table, say


@dataclass(frozen=True, slots=True)
class AnalyseOptions:
    """Look into the records of evaluations."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Records (.jsonl) of torl eval, or folders; of several, calls are also shown side by side."""
    examples: int = 3
    """Cases to name for each behaviour."""
    case: Case | None = None
    """Name every answer with this behaviour, one a line, in place of the tables."""


def main(options: AnalyseOptions) -> int:
    """Print behaviour with its cases, THOR's tables 4 and 6, and every selector of best-of-N.

    Raises:
        CommandError: No records are named.
    """
    if not options.paths:
        raise CommandError("expected records of torl eval: torl analyse out/eval/NAME.jsonl")
    every = {path: records.read(path) for path in records.find(options.paths)}
    if options.case:
        for path, found in every.items():
            for t in found.trajectories:
                if t.scorable and options.case in cases(t):
                    print(f"{path}\t{t.problem_id} #{t.sample}\t{t.verdict}")
        return 0
    for path, found in every.items():
        if warning := records.half(path):
            say(f"warning: {warning}")
        if len(every) > 1:
            print(f"{path}: {found.header.model}\n")
        print_table(behaviour_table(found.trajectories, options.examples))
        print_table(execution_table(found.trajectories))
        if found.header.k > 1:
            print_table(selection_table(found.trajectories, found.header.k))
    print_table(calls_table({str(path): found.trajectories for path, found in every.items()}))
    return 0


def calls_table(evaluations: Mapping[str, Sequence[Trajectory]]) -> Table:
    """THOR's table 6: accuracy, share of answers with code, and what became of the calls."""
    rows = []
    for name, trajectories in evaluations.items():
        found = calls(trajectories)
        rows.append(
            (
                name,
                percent(found.accuracy),
                percent(found.code_ratio),
                str(found.failed),
                str(found.passed),
                percent(found.pass_ratio, "no call"),
            )
        )
    columns = ("evaluation", "accuracy %", "code ratio %", "failed", "passed", "pass ratio %")
    return Table("Calls (THOR, table 6)", columns, tuple(rows))


def behaviour_table(trajectories: Sequence[Trajectory], examples: int) -> Table:
    """How often each case occurs, how accurate it is, and where to see it."""
    rows = tuple(
        (
            count.case.replace("_", " "),
            percent(count.share),
            percent(count.accuracy, "no such answer"),
            ", ".join(f"{problem} #{sample}" for problem, sample in count.examples[:examples]),
            MEANING[count.case],
        )
        for count in count_cases(trajectories)
    )
    columns = ("behaviour", "of answers %", "accuracy with it %", "for example", "rule")
    return Table("Behaviour", columns, rows)


def execution_table(trajectories: Sequence[Trajectory]) -> Table:
    """THOR's table 4: right and wrong answers whose programs all passed, or not."""
    found = execution_against_correctness(trajectories)
    (passed_right, passed_wrong), (failed_right, failed_wrong) = found.table
    rows = (
        (
            "all programs passed",
            str(passed_right),
            str(passed_wrong),
            _share(found.right_if_passed),
        ),
        (
            "some program failed",
            str(failed_right),
            str(failed_wrong),
            _share(found.right_if_failed),
        ),
    )
    tested = f"chi2 = {found.statistic:.1f}, p = {found.p_value:.2g}"
    if isnan(found.statistic):
        tested = "no test, since a row or a column of the table is empty"
    title = f"Execution against correctness: {tested}"
    return Table(title, ("answers with code", "right", "wrong", "right %"), rows)


def selection_table(trajectories: Sequence[Trajectory], k: int) -> Table:
    """Accuracy of each selector for 1, 2, 4, ... k candidates."""
    sizes = sorted({2**power for power in range(k.bit_length()) if 2**power <= k} | {k})
    rows = tuple(
        (
            selector.replace("_", " "),
            *(percent(best_of(trajectories, size, selector), "-") for size in sizes),
        )
        for selector in Selector
    )
    return Table("Best of N, accuracy %", ("selector", *(f"N = {n}" for n in sizes)), rows)


def _share(value: float) -> str:
    return "no answer" if isnan(value) else f"{100 * value:.1f}"
