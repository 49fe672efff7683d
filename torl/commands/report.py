"""`torl report`: one self-contained page, a picture and a table of numbers for any runs."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.core.run.storage import RecordError
from benchmarks.heldout import records
from benchmarks.report import figure5, open_run, write_csv
from benchmarks.report.embedding import TOKENS
from benchmarks.report.page import LIMIT, PageOptions, write_page
from benchmarks.report.runs import evaluations_folder
from benchmarks.report.tables import results
from torl.console import CommandError, print_table, say


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Show what runs did: writes report.html, figure5.png and figure5.csv."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories of `torl train`, or folders with records of `torl eval`."""
    out: Path | None = None
    """The page. Default: report.html in the run, or out/report.html for several runs."""
    limit: int = LIMIT
    """Most transcripts to put on the page; where there are more, problems are left out evenly."""
    tokens: int = TOKENS
    """Most ids to put on the page, with loss mask and log-probabilities; 0 for none."""


def main(options: ReportOptions) -> int:
    """Write the page, and figure and numbers beside the metrics of each run that has them.

    Raises:
        CommandError: No run is named, the limit is out of range, or the page is a folder.
    """
    if not options.runs:
        raise CommandError("expected at least one run directory: torl report out/demo")
    for name in ("limit", "tokens"):
        if getattr(options, name) < 0:
            raise CommandError(f"--{name}: expected 0 or more, got {getattr(options, name)}")
    if options.out is not None and options.out.is_dir():
        raise CommandError(
            f"--out: expected the page, such as report.html, got a folder: {options.out}"
        )
    # A file stands for the folder that it lies in.
    folders = dict.fromkeys(path.parent if path.is_file() else path for path in options.runs)
    runs = [open_run(path) for path in folders]
    for run in runs:
        _name_halves(run.path)
        if run.evaluations:
            print_table(results(run.evaluations))
        if run.learning:
            figure5(run, run.path / "figure5.png")
            print(f"figure {run.path / 'figure5.png'}")
        if run.metrics:
            write_csv(run, run.path / "figure5.csv")
            print(f"numbers {run.path / 'figure5.csv'}")
    default = runs[0].path / "report.html" if len(runs) == 1 else Path("out/report.html")
    page = options.out or default
    write_page(runs, page, PageOptions(options.limit, options.tokens))
    print(f"page {page} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def _name_halves(folder: Path) -> None:
    """Say what is not on the page because its evaluation was cut off."""
    with suppress(RecordError):  # there are no records
        for file in records.find([evaluations_folder(folder)]):
            if warning := records.half(file):
                say(f"warning: {warning}; it is not on the page")
