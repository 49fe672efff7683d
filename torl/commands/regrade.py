"""`torl regrade`: new verdicts for recorded answers, without inference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.heldout import records
from benchmarks.heldout.evaluate import finish
from benchmarks.heldout.records import grader_name
from benchmarks.heldout.regrade import Regraded, regrade
from benchmarks.report.tables import Table, results
from torl.console import CommandError, print_table, progress, say


@dataclass(frozen=True, slots=True)
class RegradeOptions:
    """Grade records again with the grader of this version; writes NAME.regraded.jsonl."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Records (.jsonl) of torl eval, or folders."""
    show: int = 20
    """Most changed verdicts to print."""


def main(options: RegradeOptions) -> int:
    """Grade again, print what changed and the new numbers.

    Raises:
        CommandError: No records are named.
    """
    if not options.paths:
        raise CommandError("expected records: torl regrade out/eval/NAME.jsonl")
    import rewards

    files = [file for file in records.find(options.paths) if ".regraded." not in file.name]
    for path in files:
        if warning := records.half(path):
            # Its summary would be taken for that of a whole one.
            say(f"warning: {warning}; it is not graded again")
            continue
        old = records.read(path)
        with progress("grading", len(old.trajectories), unit="answer") as advance:

            def grade(response: str, reference: str) -> rewards.Grade:
                advance(1)
                return rewards.grade(response, reference)

            found = regrade(old, grade, grader_name())
        out = path.with_name(f"{path.stem}.regraded.jsonl")
        summary = finish(out, found.records.header, found.records.trajectories)
        print_table(results({out.stem: summary}))
        print(f"{len(found.changes)} of {len(old.trajectories)} verdicts changed; records {out}")
        if found.changes:
            print_table(_changes(found, options.show))
    return 0


def _changes(found: Regraded, most: int) -> Table:
    rows = tuple(
        (
            f"{change.problem_id} #{change.sample}",
            change.answer[:60],
            change.reference[:60],
            change.before,
            change.after,
            change.rule,
        )
        for change in found.changes[:most]
    )
    columns = ("problem", "answer", "reference", "was", "is", "rule")
    return Table("Changed verdicts", columns, rows)
