"""What the loss of a pass says of a batch, as parts of one mean that add up over its passes.

TRL means over the ids of a pass and then over passes, so that ids of short responses weigh more,
and another `micro_batch` gives other numbers for the same update.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.core.loss import Loss
from agents.core.losses import held_back
from agents.core.trainer.batch import learned
from agents.core.trainer.branches import branch_loss


@torch.no_grad()
def pass_metrics(logprobs: Tensor, inputs: Mapping[str, Any], loss: Loss) -> dict[str, Tensor]:
    """The part of each number that comes from a pass, of a sum over a batch by all its ids.

    Rows that are left out of the passes have no advantage, so the loss holds none of them back.

    Args:
        logprobs: Of the response ids under the policy in training, (B, T).
        inputs: The pass under TRL's names.
        loss: Of this step.

    Returns:
        `clip_ratio`, where the surrogate has a bound; `kl`, where there is a reference; and
        `loss_branches`, where there are branches, which are in no other of the numbers.
    """
    own = learned(inputs) * (1 - inputs.get("branch", torch.zeros_like(logprobs)))
    tokens = float(inputs["num_items_in_batch"].clamp(min=1))
    found = {}
    if loss.surrogate != "sapo":
        old = inputs.get("old_per_token_logps", logprobs)
        stopped = held_back(logprobs, old, inputs["advantages"], learned(inputs), loss)
        found["clip_ratio"] = (stopped * own).sum() / tokens
    if loss.kl:
        gap = inputs["ref_per_token_logps"] - logprobs
        found["kl"] = ((gap.exp() - gap - 1) * own).sum() / tokens
    if "branch" in inputs:
        found["loss_branches"] = branch_loss(logprobs, inputs, loss)
    return found
