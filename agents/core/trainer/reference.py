"""The reference policy of a KL term, and its reset (ProRL, arXiv 2505.24864, section 3.2).

Over a long training the policy moves so far from its start that the KL term outweighs the reward.
ProRL then makes the policy of the moment the reference and lets the optimiser forget its moments.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from agents.core.trainer import distributed
from agents.core.trainer.options import TrainingError

FILE = "reference.pt"


class ReferenceReset(TrainerCallback):  # type: ignore[misc]
    """Resets the reference of a trainer after every so many batches.

    Args:
        trainer: An `RLTrainer`.
        every: Batches from one reset to the next.
        per_batch: Optimiser steps of a batch.

    Raises:
        TrainingError: There is no reference of its own to overwrite.
    """

    def __init__(self, trainer: Any, every: int, per_batch: int) -> None:
        self._trainer, self._period = trainer, every * per_batch
        if trainer.ref_model is None or distributed.sharded():
            raise TrainingError(
                "kl_reset overwrites the weights of the reference model: with LoRA it is the model "
                "without adapters, and FSDP and ZeRO-3 share it out; train all weights, with "
                "runs/configs/multi_gpu.yaml on several GPUs, or set kl_reset=0"
            )

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Reset, before this step's checkpoint is written."""
        if state.global_step % self._period:
            return
        trainer = self._trainer
        model = trainer.accelerator.unwrap_model(trainer.model)
        reference = trainer.accelerator.unwrap_model(trainer.ref_model)
        for old, new in zip(reference.parameters(), model.parameters(), strict=True):
            old.copy_(new)
        trainer.optimizer.state.clear()

    def save(self, folder: Path) -> None:
        """Write the reference into a checkpoint: it is no longer the model at the start."""
        reference = self._trainer.accelerator.unwrap_model(self._trainer.ref_model)
        torch.save(reference.state_dict(), folder / FILE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        state = torch.load(folder / FILE, weights_only=True)
        self._trainer.accelerator.unwrap_model(self._trainer.ref_model).load_state_dict(state)
