"""A module that is trained beside the policy, such as a critic, and its optimiser."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from agents.core.algorithm import Algorithm
from agents.core.trainer import distributed
from agents.core.trainer.options import TrainingError

FILE = "auxiliary_module.pt"


class AuxiliaryModule:
    """An algorithm's module, stepped together with the policy.

    It stays outside the policy, so that a checkpoint of the policy is an ordinary model.

    Args:
        module: The module; its gradients come from the terms of `Algorithm.extra_loss`.
        learning_rate: Of AdamW, without weight decay.
        max_grad_norm: Its gradients are clipped apart from those of the policy.
    """

    def __init__(self, module: nn.Module, learning_rate: float, max_grad_norm: float) -> None:
        self.module = module
        self._max_grad_norm = max_grad_norm
        self._weights = [p for p in module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, learning_rate, weight_decay=0.0)

    @classmethod
    def of(
        cls, algorithm: Algorithm, model: nn.Module, max_grad_norm: float
    ) -> "AuxiliaryModule | None":
        """That of an algorithm, `None` where it has none.

        Raises:
            TrainingError: Weights are sharded.
        """
        module = algorithm.auxiliary_module(model)
        if module is None:
            return None
        if distributed.sharded():
            raise TrainingError(
                f"{type(algorithm).__name__} trains an auxiliary module, which FSDP and ZeRO-3 do "
                "not know: use runs/configs/multi_gpu.yaml"
            )
        return cls(module, algorithm.auxiliary_learning_rate, max_grad_norm)

    def step(self, accelerator: Any) -> None:
        """One optimiser step with the gradients gathered since the last."""
        if accelerator.num_processes > 1:
            # A term of the loss may have reached a weight in some processes alone.
            reached = distributed.maxima([int(w.grad is not None) for w in self._weights])
            for weight, anywhere in zip(self._weights, reached, strict=True):
                if anywhere:
                    own = torch.zeros_like(weight) if weight.grad is None else weight.grad
                    weight.grad = accelerator.reduce(own, "mean")
        nn.utils.clip_grad_norm_(self._weights, self._max_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def save(self, folder: Path) -> None:
        """Write weights and optimiser into a checkpoint."""
        state = {"module": self.module.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save(state, folder / FILE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: The checkpoint was written by an algorithm without such weights.
        """
        state = torch.load(folder / FILE, weights_only=True)
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
