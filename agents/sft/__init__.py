"""Supervised fine-tuning on tool-integrated traces (TIR-SFT)."""

from agents.sft.traces import Trace, TraceWriter, warm_start_traces
from agents.sft.trainer import SFT, save, train_sft

__all__ = ["SFT", "Trace", "TraceWriter", "save", "train_sft", "warm_start_traces"]
