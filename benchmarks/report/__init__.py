"""Figures, tables and the page that show what a run did; they read records only."""

from benchmarks.report.plots import figure5, write_csv
from benchmarks.report.runs import Run, open_run

__all__ = ["Run", "figure5", "open_run", "write_csv"]
