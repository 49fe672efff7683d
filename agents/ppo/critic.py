"""The critic: one number before each id of a response."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from agents.core.models.lora import trunk
from agents.core.trainer.batch import Batch
from agents.core.trainer.logprobs import response_logprobs


class Critic(nn.Module):
    """A value head on the policy's trunk, or on a trunk of its own.

    Args:
        model: The policy before its first step.
        own_trunk: Copy the trunk, which doubles memory and keeps value and policy apart.
        keep_reference: Keep the policy as it is now, for a penalty on moving away from it.
    """

    def __init__(self, model: Any, *, own_trunk: bool, keep_reference: bool) -> None:
        super().__init__()
        self.head = nn.Linear(model.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.trunk = copy.deepcopy(trunk(model)).requires_grad_() if own_trunk else None
        # In a list it is no submodule: it is neither trained nor saved.
        self._reference = [copy.deepcopy(model).requires_grad_(False)] if keep_reference else []

    def values(
        self, model: Any, ids_BL: Tensor, mask_BL: Tensor, length: int, hidden: Tensor | None = None
    ) -> Tensor:
        """Values before the last `length` ids, shape (B, length).

        Args:
            model: The policy.
            ids_BL: Prompt and response.
            mask_BL: 1 on ids, 0 on padding.
            length: Columns of the response.
            hidden: States of the policy before these ids, where they are at hand.
        """
        if self.trunk is not None or hidden is None:
            read = trunk(model) if self.trunk is None else self.trunk
            positions = (mask_BL.cumsum(1) - 1).clamp(min=0)
            out = read(
                input_ids=ids_BL, attention_mask=mask_BL, position_ids=positions, use_cache=False
            )
            hidden = out.last_hidden_state[:, -length - 1 : -1]
        with torch.autocast(hidden.device.type, enabled=False):
            values: Tensor = self.head(hidden.float()).squeeze(-1)
        return values

    @property
    def reference(self) -> Any:
        """The policy as it was at the start."""
        return self._reference[0]

    def logprobs(self, model: Any, batch: Batch, length: int) -> Tensor:
        """Log-probabilities of the last `length` ids under a model, (B, length)."""
        logprobs, _ = response_logprobs(
            model,
            batch.input_ids,
            batch.attention,
            length,
            batch.micro_batch,
            batch.temperature,
        )
        return logprobs
