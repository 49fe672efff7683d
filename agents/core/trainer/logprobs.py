"""Log-probabilities of given ids under a model: teacher forcing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from agents.core.models.lora import trunk


def token_logprobs(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, wanted_BL: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probability of each wanted id given all ids before it, and the entropy at its place.

    Only wanted places go through the language-model head, whose vocabulary is what costs on a CPU.

    Args:
        model: A causal language model of the transformers library.
        ids_BL: Ids, shape (B, L).
        mask_BL: 1 on real ids, 0 on padding; padding may stand on either side.
        wanted_BL: Where a log-probability is wanted; the first column cannot be.
        temperature: Divides the logits.

    Returns:
        Two float32 tensors of shape (B, L), 0 where nothing was wanted. Gradients flow through the
        first only.
    """
    positions = (mask_BL.cumsum(1) - 1).clamp(min=0)
    hidden = trunk(model)(
        input_ids=ids_BL, attention_mask=mask_BL, position_ids=positions, use_cache=False
    ).last_hidden_state
    wanted = wanted_BL[:, 1:].bool()
    logps, entropy = head_logprobs(
        model, hidden[:, :-1][wanted], ids_BL[:, 1:][wanted], temperature
    )
    return spread(logps, wanted_BL), spread(entropy, wanted_BL)


def response_logprobs(
    model: Any,
    ids_BL: Tensor,
    mask_BL: Tensor,
    length: int,
    rows: int,
    temperature: float,
    score: Callable[..., tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """`score` (`token_logprobs`) of the last `length` columns, `rows` rows a pass; (B, length)."""
    wanted = mask_BL.clone()
    wanted[:, :-length] = 0

    def read(ids: Tensor, mask: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        return (score or token_logprobs)(model, ids, mask, there, temperature)

    logps, entropies = in_chunks(read, rows, ids_BL, mask_BL, wanted)
    return logps[:, -length:], entropies[:, -length:]


def in_chunks(
    read: Callable[..., tuple[Tensor, Tensor]], rows: int, *tensors: Tensor
) -> tuple[Tensor, Tensor]:
    """What `read` says of tensors of rows, `rows` of them at a time, put together."""
    cuts = [slice(start, start + rows) for start in range(0, len(tensors[0]), rows)]
    parts = [read(*(tensor[cut] for tensor in tensors)) for cut in cuts]
    logps, entropies = (torch.cat(part) for part in zip(*parts, strict=True))
    return logps, entropies


HELD = 2**29
"""Bytes of float32 logits that are held at once. More of them are computed in chunks, and once more
in the backward pass: a third more work in the head, and never rows x tokens x vocabulary."""


def head_logprobs(
    model: Any, states_NH: Tensor, ids_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability of each id, and the entropy at its place, given the trunk's states there.

    What some families do to their logits is done here too: caps (Gemma 2), scales (Cohere,
    Granite).
    """

    def read(states: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        logits = _scaled(model.config, model.get_output_embeddings()(states))
        found: tuple[Tensor, Tensor] = _Chosen.apply(logits, ids, temperature)  # type: ignore[no-untyped-call]
        return found

    rows = chunk_rows(model.config.get_text_config().vocab_size)
    if len(states_NH) <= rows:
        return read(states_NH, ids_N)

    def again(states: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = checkpoint(read, states, ids, use_reentrant=False)
        return found

    return in_chunks(again if torch.is_grad_enabled() else read, rows, states_NH, ids_N)


def chunk_rows(vocabulary: int) -> int:
    """Places whose logits are held at once."""
    return max(1, HELD // (4 * vocabulary))


def _scaled(config: Any, logits: Tensor) -> Tensor:
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits = logits * scale
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = cap * torch.tanh(logits.float() / cap)
    return logits


def with_positions(module: Any, args: Any, inputs: dict[str, Any]) -> Any:
    """Positions that padding on the left does not shift.

    TRL passes none; a model with rotary positions does not mind, one with absolute positions, such
    as GPT-2, then scores a prompt by how long others of its pass are.
    """
    mask = inputs.get("attention_mask")
    if mask is not None and mask.dim() == 2 and inputs.get("position_ids") is None:
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    return args, inputs


class _Chosen(torch.autograd.Function):
    """Log-softmax at one id a row, and the entropy of the row.

    Autograd would keep the float32 logits, their log-softmax and its exponential; what comes out of
    the head, in its own type, and a sum a row say all of it.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_NV: Tensor, ids_N: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        scores = _tempered(logits_NV, temperature)
        total = scores.logsumexp(-1)
        chosen = scores.gather(-1, ids_N[:, None]).squeeze(-1) - total
        mass = (scores - total[:, None]).exp_()
        entropy = total - mass.mul_(scores).sum(-1)
        ctx.save_for_backward(logits_NV, ids_N, total)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return chosen, entropy

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor, _: Any) -> tuple[Tensor, None, None]:
        """(1 at the id, minus the softmax) / temperature."""
        logits_NV, ids_N, total = ctx.saved_tensors
        each = grad_N[:, None] / ctx.temperature
        mass = _tempered(logits_NV, ctx.temperature).sub_(total[:, None]).exp_()
        grad = mass.mul_(-each).scatter_add_(1, ids_N[:, None], each)
        return grad.to(logits_NV.dtype), None, None


def _tempered(logits_NV: Tensor, temperature: float) -> Tensor:
    """A copy in float32, to be written over."""
    scores = logits_NV.to(torch.float32, copy=True)
    return scores if temperature == 1 else scores.div_(temperature)


def spread(values: Tensor, wanted_BL: Tensor) -> Tensor:
    """Values back at their places; stays part of the graph when nothing was wanted."""
    wanted = wanted_BL.bool().clone()
    wanted[:, 0] = False
    zeros = torch.zeros(wanted.shape, dtype=values.dtype, device=values.device)
    return zeros.masked_scatter(wanted, values)
