"""LoRA through PEFT: train small adapters in place of all weights."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters (arXiv 2106.09685) on all linear layers but the head."""

    rank: int = 16
    alpha: int = 32
    """The update is scaled by alpha / rank."""
    dropout: float = 0.0
    """Above 0 the log-probabilities in the loss are not those of the sampler."""
    seed: int = 0
    """Of the adapters' first weights, whatever was drawn before."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")


def with_lora(model: Any, lora: Lora) -> Any:
    """The model with fresh adapters; only these are trained.

    Raises:
        ValueError: PEFT is not installed.
    """
    peft = _peft()
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(lora.seed)
        return peft.get_peft_model(model, config)


def merged(model: Any, folder: str) -> Any:
    """The plain model with the adapters of a folder added into its weights, which can be trained.

    Args:
        model: What they adapt, in float32, so that adding them rounds once.
        folder: With `adapter_config.json` and the adapters.

    Raises:
        ValueError: PEFT is not installed.
    """
    plain = _peft().PeftModel.from_pretrained(model, folder).merge_and_unload()
    # PEFT has frozen what it adapts, and leaves it so.
    return plain.requires_grad_()


def _peft() -> Any:
    try:
        return import_module("peft")
    except ImportError as error:
        raise ValueError("LoRA needs PEFT: pip install 'torl-gym[peft]'") from error


def trunk(model: Any) -> Any:
    """The model without its head, below adapters where it has them."""
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    return plain.base_model


def plain_weights(model: Any) -> Iterator[Tensor]:
    """The parameters of the model without adapters, with what the adapters add to them.

    Nothing is merged into the model itself: merging and unmerging at every step would leave
    rounding errors in weights that are meant to be frozen.
    """
    adapted = {
        id(layer.base_layer.weight): layer
        for layer in model.modules()
        if hasattr(layer, "base_layer") and hasattr(layer, "get_delta_weight")
    }
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            # One layer's product at a time: those of all layers are as large as the model.
            layer = adapted.get(id(weight))
            with _gathered(weight):
                yield whole(weight if layer is None else weight + delta_of(layer))


def delta_of(layer: Any) -> Tensor:
    """What the adapter in use adds to a layer's weight; made anew each time."""
    delta: Tensor = layer.get_delta_weight(layer.active_adapters[0])
    return delta


def whole(weight: Tensor) -> Tensor:
    """A weight that is sharded over processes (FSDP 2), put together; any other as it is."""
    together: Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    return together


def _gathered(weight: Tensor) -> AbstractContextManager[Any]:
    """Holds a weight that DeepSpeed shards together for a while."""
    if not hasattr(weight, "ds_id"):
        return nullcontext()
    held: AbstractContextManager[Any] = import_module("deepspeed").zero.GatheredParameters([weight])
    return held
