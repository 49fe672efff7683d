"""Branches: rows sampled from inside the trajectories of a batch and learned from beside them.

THOR's step-level samples are such rows: the end of an episode, sampled again from a state of it.
They join the batch after its own rows, with an advantage scaled so that the clipped loss over them
is a mean over *their* tokens.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from agents.core.algorithm import Algorithm
from agents.core.loss import Loss
from agents.core.losses import importance_ratio, surrogate
from agents.core.trainer import distributed
from agents.core.trainer.batch import append_rows, joined, learned, to_tensors
from agents.core.trainer.collector import Collector
from agents.core.trainer.options import Training, check_credit
from agents.core.trainer.weight_sync import BranchingSampler
from agents.core.types import Trajectory

Score = Callable[[Tensor, Tensor, int], Tensor]
"""Log-probabilities, without gradient, of the last columns of ids under an attention mask."""


@dataclasses.dataclass(frozen=True, slots=True)
class Branches:
    """The branches of a batch, as one process holds them."""

    rows: list[Trajectory]
    """As many in every process, so that all make the same passes."""
    credit: list[list[float]]
    """An advantage for each id of each row."""
    tokens: int
    """Sampled ids to learn from, of all processes."""
    metrics: dict[str, float]
    weight: float
    """Of their loss beside that of the batch."""


def sample_branches(
    algorithm: Algorithm, collector: Collector, sampler: BranchingSampler, seed: int
) -> Branches:
    """Let the algorithm branch off this process's trajectories."""
    groups = algorithm.branch(collector.groups(collector.own), sampler, seed)
    rows = [t for group in groups for t in group]
    collector.branches = rows
    credit = algorithm.assign_credit_to_branches(groups)
    check_credit(credit, groups)
    scored = [t for t in rows if t.scorable]
    rewards = distributed.gather([t.reward for t in scored])
    # Rows of which nothing is learned fill up what other processes have more.
    missing = distributed.maximum(len(rows)) - len(rows)
    blank = dataclasses.replace(collector.own[0], scorable=False)
    return Branches(
        rows + [blank] * missing,
        credit + [[0.0] * len(blank.ids)] * missing,
        sum(distributed.gather([sum(sum(t.loss_mask) for t in scored)])),
        {
            "branches": sum(distributed.gather([len(groups)])),
            "branch_reward": sum(rewards) / len(rewards) if rewards else float("nan"),
        },
        algorithm.branch_weight,
    )


def append_branches(
    batch: dict[str, Any], branches: Branches, score: Score, training: Training, pad: int
) -> dict[str, Any]:
    """The batch with the rows of its branches below, marked 1 in `branch`.

    Args:
        batch: Under TRL's names, scored.
        branches: At least one.
        score: The policy before this batch's updates.
        training: How sampler and trainer are corrected for.
        pad: Id of padding.
    """
    more = to_tensors(branches.rows, branches.credit, pad)
    # TRL divides by the tokens of the batch: this turns its division into one by those of branches.
    share = batch["num_items_in_batch"] / max(1, branches.tokens)
    more["advantages"] *= branches.weight * share.cpu()
    more["branch"] = torch.ones_like(more["advantages"])
    if "old_per_token_logps" in batch:
        more["old_per_token_logps"] = score(*joined(more), more["advantages"].shape[1])
    if "importance_sampling_ratio" in batch:
        more["importance_sampling_ratio"] = importance_ratio(
            more["old_per_token_logps"].cpu() - more["sampling_per_token_logps"],
            learned(more),
            training.importance_mode,
            training.importance_cap,
        )
    return append_rows(batch, more, pad)


@torch.no_grad()
def branch_loss(logprobs: Tensor, inputs: Mapping[str, Any], loss: Loss) -> Tensor:
    """The part of the clipped loss of a pass that comes from branches, for the metrics."""
    mask = learned(inputs) * inputs["branch"]
    old = inputs.get("old_per_token_logps", logprobs)
    each = surrogate(logprobs, old, inputs["advantages"], mask, loss)
    each = each * inputs.get("importance_sampling_ratio", 1.0)
    part: Tensor = (each * mask).sum() / float(inputs["num_items_in_batch"])
    return part
