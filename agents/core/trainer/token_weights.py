"""Weights of single ids and responses, taken over a whole batch before its first update.

TRL takes some of these over the rows of one forward pass, where another cut into passes would be
another loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.core.losses import entropy_threshold, importance_ratio
from agents.core.trainer import distributed
from agents.core.trainer.batch import joined, learned
from agents.core.trainer.options import Training


def keep_high_entropy(batch: dict[str, Any], entropies_BT: Tensor, top: float) -> dict[str, float]:
    """Let only the ids with the highest entropy among all processes' learn (2506.01939, eq. 5).

    Args:
        batch: Under TRL's names.
        entropies_BT: Of the distributions that the ids were sampled from.
        top: Share of ids that learn.

    Returns:
        Numbers for the metrics.
    """
    mask = learned(batch)
    everyone = distributed.gather(entropies_BT[mask > 0].tolist())
    threshold = entropy_threshold(torch.tensor(everyone), top) if everyone else 0.0
    batch["advantages"] = batch["advantages"] * mask * (entropies_BT >= threshold)
    return {"entropy_threshold": threshold}


def correct_replayed(
    batch: dict[str, Any], replayed: Sequence[bool], score: Callable[[Tensor, Tensor, int], Tensor]
) -> None:
    """Let the importance ratio of rows from earlier steps be that to the policy that wrote them.

    Args:
        batch: Under TRL's names.
        replayed: Which rows those are.
        score: Log-probabilities under the policy before this batch's updates.
    """
    rows = torch.tensor(replayed, device=batch["advantages"].device)
    old = batch.get("old_per_token_logps")
    old = score(*joined(batch), batch["advantages"].shape[1]) if old is None else old
    wrote = batch["sampling_per_token_logps"].to(old)
    batch["old_per_token_logps"] = torch.where(rows[:, None], wrote, old)
    if "importance_sampling_ratio" in batch:
        # That ratio is part of the other one now.
        batch["importance_sampling_ratio"] = batch["importance_sampling_ratio"].masked_fill(
            rows[:, None], 1.0
        )


def reject(batch: dict[str, Any], training: Training) -> dict[str, float]:
    """Put geometric rejection, which TRL does not have, in place of its importance ratio.

    Returns:
        Numbers for the metrics; none where the trainer's own model samples.
    """
    if "importance_sampling_ratio" not in batch:
        return {}
    mask = learned(batch)
    gap = torch.nan_to_num(batch["old_per_token_logps"] - batch["sampling_per_token_logps"])
    ratio = importance_ratio(gap, mask, training.importance_mode, training.importance_cap)
    batch["importance_sampling_ratio"] = ratio
    kept = distributed.gather(ratio[mask.any(1)].flatten().tolist())
    return {"importance_rejected": 1 - sum(kept) / max(1, len(kept))}
