"""Drawing ids from logits, one uniform number a row: the same number gives the same id anywhere."""

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.core.types import Sampling

BLOCK = 256
"""Ids that are summed together."""


def draw(
    logits_BV: Tensor,
    uniforms: Sequence[float],
    how: Sampling,
) -> tuple[list[int], list[float], list[float]]:
    """One id a row by inverting the cumulative distribution, its log-probability, the entropy.

    A stream of uniforms per row, instead of one generator for the batch, keeps what a row samples
    independent of who else is in the batch and of the order in which rows are served.

    Args:
        logits_BV: Float32 logits, shape (B, V).
        uniforms: B numbers in [0, 1).
        how: Temperature (0: the most likely id) and nucleus.

    Returns:
        B ids, B log-probabilities and, where `how` asks for them, B entropies, all of the
        distribution that was sampled (temperature and nucleus included; for temperature 0 of the
        untempered one).

    Example:
        >>> ids, _, (entropy,) = draw(torch.tensor([[0.0, 0.0]]), [0.75], Sampling(entropies=True))
        >>> ids, round(entropy, 3)
        ([1], 0.693)
    """
    scores = logits_BV if how.temperature in (0, 1) else logits_BV / how.temperature
    if how.top_p < 1 and how.temperature:
        scores = nucleus(torch.log_softmax(scores, dim=-1), how.top_p)
    # One exponential over the vocabulary is most of what drawing costs on a CPU.
    top, best = scores.max(dim=-1, keepdim=True)
    mass = (scores - top).exp_()
    sums = _block_sums(mass)
    ids = best if how.temperature == 0 else _inverse_cumulative(mass, sums, uniforms)[:, None]
    total = sums[:, -1:].log()
    logprobs = scores.gather(-1, ids) - top - total
    entropies: list[float] = []
    if how.entropies:
        # -sum p log p = log Z - E[score]; outside of a nucleus scores are -inf and weigh nothing.
        mean = mass.mul_((scores - top).clamp_(min=-1e4)).sum(-1).double() / sums[:, -1]
        entropies = (total[:, 0] - mean).clamp(min=0).tolist()
    return ids.squeeze(-1).tolist(), logprobs.squeeze(-1).tolist(), entropies


def inverse_cumulative(mass_BV: Tensor, uniforms: Sequence[float]) -> Tensor:
    """The id of each row at which the cumulative mass passes a share of the whole, (B,).

    Args:
        mass_BV: What each id weighs.
        uniforms: B numbers in [0, 1).

    Example:
        >>> inverse_cumulative(torch.tensor([[1.0, 1.0, 2.0]] * 3), [0.0, 0.49, 0.5]).tolist()
        [0, 1, 2]
    """
    return _inverse_cumulative(mass_BV, _block_sums(mass_BV), uniforms)


def _blocks(mass_BV: Tensor) -> Tensor:
    """(B, blocks, ids of a block); `pad` would copy what needs no padding."""
    gap = -mass_BV.shape[1] % BLOCK
    padded = torch.nn.functional.pad(mass_BV, (0, gap)) if gap else mass_BV
    return padded.view(len(mass_BV), -1, BLOCK)


def _block_sums(mass_BV: Tensor) -> Tensor:
    """Cumulative mass at the end of each block, float64.

    Sums over a whole vocabulary want float64, which is slow; within a block float32 will do.
    """
    return _blocks(mass_BV).sum(-1).double().cumsum(-1)


def _inverse_cumulative(mass_BV: Tensor, sums: Tensor, uniforms: Sequence[float]) -> Tensor:
    """Only the block that is hit is summed id by id."""
    blocks = _blocks(mass_BV)
    level = torch.tensor(uniforms, dtype=torch.float64, device=sums.device)[:, None] * sums[:, -1:]
    hit = torch.searchsorted(sums, level, right=True).clamp(max=sums.shape[1] - 1)
    before = sums.gather(1, (hit - 1).clamp(min=0)) * (hit > 0)
    chosen = blocks.gather(1, hit[:, :, None].expand(-1, -1, BLOCK))[:, 0].double()
    within = torch.searchsorted(before + chosen.cumsum(-1), level, right=True)
    # Rounding may leave the level above the last sum: then the last id that weighs anything.
    last = torch.where(chosen > 0, torch.arange(BLOCK, device=sums.device), 0).amax(-1, True)
    ids: Tensor = (hit * BLOCK + torch.minimum(within, last)).squeeze(1)
    return ids


def nucleus(logprobs_BV: Tensor, top_p: float) -> Tensor:
    """Log-probabilities renormalised over the smallest set of ids with mass >= `top_p`, (B, V).

    Example:
        >>> nucleus(torch.tensor([[0.6, 0.3, 0.1]]).log(), 0.8).exp().round(decimals=3).tolist()
        [[0.6669999957084656, 0.3330000042915344, 0.0]]
    """
    ordered, order = logprobs_BV.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    ordered = ordered.masked_fill(before >= top_p, float("-inf"))
    kept = torch.full_like(logprobs_BV, float("-inf")).scatter(-1, order, ordered)
    return torch.log_softmax(kept, dim=-1)
