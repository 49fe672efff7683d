"""Drawing ids from logits, one uniform number a row: the same number gives the same id anywhere."""

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.core.types import Sampling


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
        mass = logprobs.double().exp().cumsum(dim=-1)
        level = torch.tensor(uniforms, dtype=torch.float64, device=mass.device) * mass[:, -1]
        ids = torch.searchsorted(mass, level[:, None], right=True).squeeze(1)
        ids = ids.clamp(max=logits_BV.shape[-1] - 1)
    chosen = logprobs.gather(-1, ids[:, None]).squeeze(-1)
    return ids.tolist(), chosen.tolist()


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
