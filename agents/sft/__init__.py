"""Supervised fine-tuning on tool-integrated traces (TIR-SFT)."""

from agents.sft.files import (
    TraceError,
    Written,
    accepted,
    chosen,
    is_good,
    ran_clean,
    read_traces,
    write_texts,
    write_traces,
)
from agents.sft.traces import Trace, TraceWriter, warm_start_traces
from agents.sft.trainer import SFT, save, train_sft

__all__ = [
    "SFT",
    "Trace",
    "TraceError",
    "TraceWriter",
    "Written",
    "accepted",
    "chosen",
    "is_good",
    "ran_clean",
    "read_traces",
    "save",
    "train_sft",
    "warm_start_traces",
    "write_texts",
    "write_traces",
]
