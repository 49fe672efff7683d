"""What the loss takes over answers that share beginnings; used by `trees.py`."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from agents.core.testing.tiny import tiny_model
from agents.core.trainer.batch import joined, to_tensors
from agents.core.trainer.logprobs import response_logprobs
from agents.core.trainer.prefix_sharing import shared_prefix_logprobs
from agents.core.types import Trajectory


def loss_seconds(rows: Sequence[Trajectory], tokenizer: Any) -> tuple[float, float]:
    """CPU seconds of a forward and backward pass, with beginnings read once and row by row.

    The answers of this toy have ten ids, so each stands for 8, and the prompt for 32, in a model
    of width 256. The better of two turns.
    """
    torch.manual_seed(0)
    model = tiny_model(tokenizer, 256, 2)
    long = [
        replace(
            t,
            prompt_ids=tuple(t.prompt_ids) * 32,
            ids=tuple(k for k in t.ids for _ in range(8)),
            loss_mask=tuple(m for m in t.loss_mask for _ in range(8)),
            logprobs=tuple(p for p in t.logprobs for _ in range(8)),
        )
        for t in rows
    ]
    ids, mask = joined(to_tensors(long, [[0.0] * len(t.ids) for t in long], 0))
    width = max(len(t.ids) for t in long)
    best = []
    for read in (shared_prefix_logprobs, response_logprobs):
        turns = []
        for _ in range(2):
            start = time.process_time()
            logprobs, _ = read(model, ids, mask, width, len(long), 1.0)
            logprobs.sum().backward()
            turns.append(time.process_time() - start)
        best.append(min(turns))
    return best[0], best[1]
