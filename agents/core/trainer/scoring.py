"""Which passes score ids: TRL's, or on one CPU our own, which read a group's prompt once."""

from typing import Any

from torch import Tensor

from agents.core.loss import Loss
from agents.core.trainer.logprobs import response_logprobs
from agents.core.trainer.options import Training
from agents.core.trainer.prefix_sharing import can_share, shared_prefix_logprobs


def own_logprobs(trainer: Any, loss: Loss) -> bool:
    """Whether log-probabilities are computed here: TRL's fused head scores prompts too on a CPU."""
    # Ours give entropies without a gradient.
    if loss.entropy:
        return False
    one: bool = trainer.accelerator.num_processes == 1
    return one and trainer.accelerator.device.type == "cpu"


def shares_prompts(trainer: Any, loss: Loss, training: Training) -> bool:
    """Whether rows of a group read their prompt once; a critic wants the states of each row."""
    return (
        own_logprobs(trainer, loss)
        and trainer.auxiliary is None
        # Checkpointing computes a layer again, and would write its keys twice.
        and not training.activation_checkpointing
        and can_share(trainer.accelerator.unwrap_model(trainer.model))
    )


def score_responses(
    trainer: Any,
    model: Any,
    ids_BS: Tensor,
    attention_BS: Tensor,
    width: int,
    rows: int,
    *,
    shared: bool,
) -> tuple[Tensor, Tensor, None]:
    """Log-probabilities and entropies of the last `width` ids of each row, (B, width) both.

    Args:
        trainer: Whose accelerator and temperature hold.
        model: As wrapped.
        ids_BS: Prompts, padded on the left, and responses, padded on the right.
        attention_BS: 1 on real ids.
        width: Of the responses.
        rows: In one pass.
        shared: Read the prompt of a group once.

    Returns:
        As TRL's method of this purpose, whose third is a loss of experts.
    """
    read = shared_prefix_logprobs if shared else response_logprobs
    with trainer.accelerator.autocast():
        logprobs, entropies = read(model, ids_BS, attention_BS, width, rows, trainer.temperature)
    return logprobs, entropies, None
