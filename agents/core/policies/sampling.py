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
) -> tuple[list[int], list[float]]:
    """One id a row by inverting the cumulative distribution, and its log-probability.

    A stream of uniforms per row, instead of one generator for the batch, keeps what a row samples
    independent of who else is in the batch and of the order in which rows are served.

    Args:
        logits_BV: Float32 logits, shape (B, V).
        uniforms: B numbers in [0, 1).
        how: Temperature (0: the most likely id) and nucleus.

    Returns:
        B ids and B log-probabilities under the distribution that was sampled (temperature and
        nucleus included; for temperature 0 under the untempered one).

    Example:
        >>> draw(torch.tensor([[0.0, 0.0]]), [0.75], Sampling())[0]
        [1]
    """
    if how.temperature == 0:
        logprobs = torch.log_softmax(logits_BV, dim=-1)
        ids = logits_BV.argmax(dim=-1)
    else:
        logprobs = torch.log_softmax(logits_BV / how.temperature, dim=-1)
        if how.top_p < 1:
            logprobs = nucleus(logprobs, how.top_p)
        ids = inverse_cumulative(logprobs.exp(), uniforms)
    chosen = logprobs.gather(-1, ids[:, None]).squeeze(-1)
    return ids.tolist(), chosen.tolist()


def inverse_cumulative(mass_BV: Tensor, uniforms: Sequence[float]) -> Tensor:
    """The id of each row at which the cumulative mass passes a share of the whole, (B,).

    The sum over a vocabulary wants float64, which is slow over all of it; so blocks of ids are
    summed first, and only the block that is hit is summed id by id.

    Args:
        mass_BV: What each id weighs.
        uniforms: B numbers in [0, 1).

    Example:
        >>> inverse_cumulative(torch.tensor([[1.0, 1.0, 2.0]] * 3), [0.0, 0.49, 0.5]).tolist()
        [0, 1, 2]
    """
    width = mass_BV.shape[1]
    padded = torch.nn.functional.pad(mass_BV, (0, -width % BLOCK))
    blocks = padded.view(len(mass_BV), -1, BLOCK)
    sums = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
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
