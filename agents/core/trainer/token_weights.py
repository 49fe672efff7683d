"""Weights of single ids and responses, taken over a whole batch before its first update.

TRL takes some of these over the rows of one forward pass, where another cut into passes would be
another loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.core.losses import entropy_threshold, importance_ratio, raw_ratio
from agents.core.trainer import distributed
from agents.core.trainer.batch import joined, learned
from agents.core.trainer.options import Training


def keep_high_entropy(
    batch: dict[str, Any], score: Callable[..., Tensor], top: float
) -> dict[str, float]:
    """Let only the ids with the highest entropy among all processes' learn (2506.01939, eq. 5).

    Branches, which have a mean of their own, learn from all of theirs.

    Args:
        batch: Under TRL's names.
        score: Entropies of the distributions that ids were sampled from; else as `Score`.
        top: Share of ids that learn.

    Returns:
        Numbers for the metrics.
    """
    mask = learned(batch)
    branch = batch.get("branch", torch.zeros_like(batch["advantages"])) > 0
    entropies_BT = score(*joined(batch), mask.shape[1])
    everyone = distributed.gather(entropies_BT[(mask > 0) & ~branch].tolist())
    threshold = entropy_threshold(torch.tensor(everyone), top) if everyone else 0.0
    batch["advantages"] = batch["advantages"] * mask * ((entropies_BT >= threshold) | branch)
    return {"entropy_threshold": threshold}


Score = Callable[[Tensor, Tensor, int], Tensor]
"""Log-probabilities of ids, with their mask, of the last so many; before this batch's updates."""


def correct_off_policy(
    batch: dict[str, Any], training: Training, replayed: Sequence[bool], score: Score
) -> dict[str, float]:
    """Let importance ratios be those to what sampled each id, where that is not the policy.

    Args:
        batch: Under TRL's names.
        training: Whether older weights sample, and how another engine is corrected for.
        replayed: Rows from earlier steps.
        score: For rows that are not replayed, beside some that are.

    Returns:
        Numbers for the metrics.
    """
    if training.staleness:
        return decouple(batch, training, score)
    if distributed.maximum(int(any(replayed))):
        correct_replayed(batch, replayed, score)
    return weigh_by_ratio(batch, training)


def decouple(batch: dict[str, Any], training: Training, score: Score) -> dict[str, float]:
    """Clip about the policy before this batch's updates; weigh ids by its ratio to what sampled.

    The objective is w min(r A, clip(r) A) with r = now / before and w = before / sampled, capped:
    the decoupled PPO of AReaL (arXiv 2505.24298, section 5.2). With one ratio now / sampled in the
    place of both, what the policy moved since an id was sampled would use up the room to clip, and
    ids that are right would stop learning where the policy already likes them better.

    Returns:
        Numbers for the metrics, of w.
    """
    if "old_per_token_logps" not in batch:
        batch["old_per_token_logps"] = score(*joined(batch), batch["advantages"].shape[1])
    gap, mask = _gap(batch), learned(batch)
    weight = importance_ratio(gap, mask, training.importance_mode, training.importance_cap)
    # All surrogates are linear in A where it keeps its sign, so w may stand in it. (TRL multiplies
    # by such a weight too, but only where vLLM samples.)
    batch["advantages"] = batch["advantages"] * weight
    return _ratio_metrics(gap, mask, training)


def _gap(batch: dict[str, Any]) -> Tensor:
    """The trainer's log-probabilities before the first update minus the sampler's, (B, T)."""
    sampled = batch["sampling_per_token_logps"].to(batch["old_per_token_logps"])
    return torch.nan_to_num(batch["old_per_token_logps"] - sampled)


def correct_replayed(batch: dict[str, Any], replayed: Sequence[bool], score: Score) -> None:
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


def weigh_by_ratio(batch: dict[str, Any], training: Training) -> dict[str, float]:
    """Measure how far another engine's sampler is from the trainer, and correct as TRL does not.

    TRL's own ratios stay, but for geometric rejection, which it does not have.

    Returns:
        Numbers for the metrics, of all processes: the ratios before the cap, and the share of them
        that it changes. None where the trainer's own model samples.
    """
    if "importance_sampling_ratio" not in batch:
        return {}
    gap, mask, mode = _gap(batch), learned(batch), training.importance_mode
    if mode == "geometric_mask":
        cap = training.importance_cap
        batch["importance_sampling_ratio"] = importance_ratio(gap, mask, mode, cap)
    return _ratio_metrics(gap, mask, training)


def _ratio_metrics(gap: Tensor, mask: Tensor, training: Training) -> dict[str, float]:
    """Ratios before their cap, and the share that it changes, over the ids of all processes."""
    mode, cap = training.importance_mode, training.importance_cap
    raw = raw_ratio(gap, mask, mode)
    raw = raw[mask > 0 if raw.shape == mask.shape else mask.any(1)].flatten()
    beyond = (raw > cap) | (raw < 1 / cap if mode == "geometric_mask" else False)
    own = []
    if len(raw):
        sums = (raw.sum().item(), beyond.sum().item(), float(len(raw)))
        own = [(raw.min().item(), raw.max().item(), *sums)]
    found = distributed.gather(own)
    if not found:
        return {}
    least, most, total, outside, count = zip(*found, strict=True)
    share = "importance_rejected" if mode.endswith("mask") else "importance_truncated"
    return {
        "importance_ratio_min": min(least),
        "importance_ratio_mean": sum(total) / sum(count),
        "importance_ratio_max": max(most),
        share: sum(outside) / sum(count),
    }
