"""`torl leaderboard`: one table over many evaluations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.heldout import records
from benchmarks.report.leaderboard import find_summaries, leaderboard
from benchmarks.report.published import published
from torl.console import print_table, say


@dataclass(frozen=True, slots=True)
class LeaderboardOptions:
    """Compare models over suites; averages only where a model has all of them."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("out"),)
    """Folders or NAME.summary.json files."""
    published: bool = False
    """Also print the papers' own numbers, in tables of their own."""


def main(options: LeaderboardOptions) -> int:
    """Print the table, and warn of what makes rows incomparable."""
    board = leaderboard(find_summaries(options.paths))
    for path in filter(Path.is_dir, options.paths):
        for file in records.find([path]):
            if warning := records.half(file):
                say(f"warning: {warning}; it is not in the table")
    for warning in board.warnings:
        say(f"warning: {warning}")
    print_table(board.table)
    if options.published:
        for table in published():
            print_table(table)
    return 0
