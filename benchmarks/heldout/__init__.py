"""Held-out evaluation: records, estimates with intervals, summaries."""

from benchmarks.heldout.evaluate import Collect, summary_path
from benchmarks.heldout.records import Header, Records, fingerprint
from benchmarks.heldout.statistics import Estimate
from benchmarks.heldout.summary import Summary, summarise

__all__ = [
    "Collect",
    "Estimate",
    "Header",
    "Records",
    "Summary",
    "fingerprint",
    "summarise",
    "summary_path",
]
