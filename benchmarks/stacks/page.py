"""The record of what ran, and the table that the page shows of it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.report.tables import Table
from benchmarks.stacks.result import Result

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "runs" / "records" / "stacks.json"
PAGE = ROOT / "docs" / "stacks.md"
BEGIN, END = "<!-- written by python -m benchmarks.stacks -->\n", "<!-- end -->\n"


def table(results: Sequence[Result]) -> Table:
    """What ran, one row a stack."""
    header = (
        "stack",
        "version",
        "what ran",
        "episodes",
        "sampled ids",
        "steps",
        "ids and masks as ours",
        "the machine died, or the grade is undecided",
        "what did not, and why",
    )
    rows = tuple(
        (
            one.stack,
            one.version,
            one.ran,
            str(one.episodes),
            "text" if one.tokens is None else str(one.tokens),
            str(one.steps),
            {None: "no ids", True: "yes", False: "NO"}[one.ids_equal],
            one.fault,
            one.not_run,
        )
        for one in sorted(results, key=lambda one: one.stack.lower())
    )
    return Table("", header, rows)


def origin(results: Sequence[Result]) -> str:
    """Whether the rows come from one run, and from empty environments."""
    begun, commit = Counter((one.begun, one.commit) for one in results).most_common(1)[0][0]
    its = [one for one in results if (one.begun, one.commit) == (begun, commit)]
    fresh = [one.fresh for one in its if not one.ran.startswith("FAILED")]
    how = "some in environments made before" if any(fresh) else "in environments made before"
    if all(fresh):
        how = "each environment made from nothing"
    others = len(results) - len(its)
    rest = f"; {others} rows of other runs" if others else ""
    failed = sum(one.ran.startswith("FAILED") for one in results)
    ended = f"; {failed} failed" if failed else ""
    when = f"begun {begun} at {commit}" if commit else f"begun {begun}"
    when = when.replace("+", " with changes on it")
    return f"{len(its)} of {len(results)} rows are of one run, {when}, {how}{rest}{ended}."


def shown(results: Sequence[Result]) -> str:
    """What the page has between its two marks."""
    return f"{table(results).markdown()}\n{origin(results)}\n"


def known(record: Path) -> list[Result]:
    """The rows of a record, none where there is no file."""
    return [Result(**row) for row in json.loads(record.read_text())] if record.exists() else []


def write(results: Sequence[Result], record: Path) -> None:
    """Add to the record what ran now; lay the table beside it, and ours on the page."""
    rows = {one.stack: one for one in (*known(record), *results)}
    record.write_text(json.dumps([asdict(one) for one in rows.values()], indent=1) + "\n")
    text = shown(list(rows.values()))
    record.with_suffix(".md").write_text(text)
    if record == RECORD:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}{text}{END}{after}")
