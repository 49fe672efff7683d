"""Losses as pure tensor functions, for algorithms' own terms and for checks by hand."""

import torch
from torch import Tensor

from agents.core.loss import Loss
from agents.core.trainer.options import ImportanceMode


def clipped(log_ratio_BT: Tensor, advantages_BT: Tensor, loss: Loss) -> Tensor:
    """The clipped surrogate of each id, before any mean (PPO, arXiv 1707.06347, eq. 7).

    Args:
        log_ratio_BT: Log-probability now minus at sampling time, per id.
        advantages_BT: Advantages.
        loss: Where to clip.

    Example:
        A ratio of 1.5 earns nothing beyond 1.2; DAPO's clip-higher lets it earn up to 1.28.

        >>> ratio, advantage = torch.tensor([[1.5]]).log(), torch.tensor([[1.0]])
        >>> [round(-clipped(ratio, advantage, Loss(clip_high=c)).item(), 2) for c in (0.2, 0.28)]
        [1.2, 1.28]

        A negative advantage is held back by the dual clip alone (arXiv 1912.09729, eq. 5).

        >>> ratio = torch.tensor([[10.0]]).log()
        >>> [round(clipped(ratio, -advantage, Loss(dual_clip=c)).item(), 2) for c in (None, 3.0)]
        [10.0, 3.0]
    """
    ratio = log_ratio_BT.exp()
    bounded = ratio.clamp(1 - loss.clip_low, 1 + loss.clip_high)
    if loss.dual_clip is not None:
        ratio = ratio.clamp(max=loss.dual_clip)
    return -torch.min(ratio * advantages_BT, bounded * advantages_BT)


def surrogate(
    logprobs_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, loss: Loss
) -> Tensor:
    """The policy-gradient loss of each id before any mean: what the trainer has TRL compute.

    Args:
        logprobs_BT: Under the policy in training, with gradient.
        old_BT: Under the policy that sampled.
        advantages_BT: Advantages.
        mask_BT: 1 on ids to learn from; GSPO's ratio is a mean over them.
        loss: Which surrogate, and its bounds.

    Example:
        At ratio 3 PPO has no gradient left, CISPO that of its cap, SAPO a little: 4 s (1 - s) 3
        with s = sigmoid(2).

        >>> from agents.core.loss import CISPO, SAPO
        >>> def slope(loss):
        ...     now = torch.tensor([[3.0]]).log().requires_grad_()
        ...     one = torch.ones(1, 1)
        ...     surrogate(now, torch.zeros(1, 1), one, one, loss).backward()
        ...     return round(0 - now.grad.item(), 3)
        >>> slope(Loss()), slope(CISPO), slope(SAPO)
        (0.0, 3.0, 1.26)
    """
    gap = _log_ratio(logprobs_BT, old_BT, mask_BT, loss)
    if loss.surrogate == "clip":
        return clipped(gap, advantages_BT, loss)
    ratio = gap.exp()
    if loss.surrogate == "cispo":
        return -ratio.clamp(max=1 + loss.clip_high).detach() * advantages_BT * logprobs_BT
    tau = torch.where(advantages_BT > 0, loss.sapo_positive, loss.sapo_negative)
    return -torch.sigmoid(tau * (ratio - 1)) * 4 / tau * advantages_BT


def held_back(
    logprobs_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, loss: Loss
) -> Tensor:
    """True on ids whose ratio is beyond the bound of `clip` or `cispo`, (B, T).

    For `clip` it is so where the advantage would move it further away: these earn no gradient. (The
    dual clip is not counted.) CISPO caps a ratio whatever the sign.

    Args:
        logprobs_BT: As in `surrogate`, like all others.
        old_BT: Under the policy that sampled.
        advantages_BT: Advantages; where they are 0 nothing is held back.
        mask_BT: 1 on ids to learn from.
        loss: Its bounds.

    Example:
        >>> ratio, up = torch.tensor([[1.5, 0.5, 1.1]]), torch.ones(1, 3)
        >>> one = (ratio.log(), torch.zeros(1, 3))
        >>> [held_back(*one, a, up, Loss()).tolist() for a in (up, -up)]
        [[[True, False, False]], [[False, True, False]]]
    """
    ratio = _log_ratio(logprobs_BT, old_BT, mask_BT, loss).exp()
    high = ratio > 1 + loss.clip_high
    if loss.surrogate == "cispo":
        return high & (advantages_BT != 0)
    return (high & (advantages_BT > 0)) | ((ratio < 1 - loss.clip_low) & (advantages_BT < 0))


def _log_ratio(logprobs_BT: Tensor, old_BT: Tensor, mask_BT: Tensor, loss: Loss) -> Tensor:
    """Of each id, (B, T), or the mean of a response, (B, 1)."""
    gap = logprobs_BT - old_BT
    if loss.ratio == "sequence":
        gap = ((gap * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1))[:, None]
    return gap


def entropy_threshold(entropies_N: Tensor, top: float) -> float:
    """The entropy that a share `top` of the ids reaches (arXiv 2506.01939, eq. 5).

    Example:
        >>> entropy_threshold(torch.tensor([0.1, 2.0, 0.3, 1.0, 0.2]), 0.4)
        1.0
    """
    count = max(1, round(top * entropies_N.numel()))
    return entropies_N.topk(min(count, entropies_N.numel())).values[-1].item()


def importance_ratio(
    difference_BT: Tensor, mask_BT: Tensor, mode: ImportanceMode, cap: float
) -> Tensor:
    """What corrects for a sampler that is not quite the model in training.

    Args:
        difference_BT: The trainer's log-probability minus the sampler's.
        mask_BT: 1 on sampled ids.
        mode: A ratio for each token or for the whole response; truncated, or masked out (truncated
            and masked importance sampling, TIS and MIS). `geometric_mask` weighs nothing and
            rejects: a response counts where the geometric mean of its ratios is within 1 / cap and
            cap. It does not grow with the length, as the product does, so a cap of about 1.001
            suits it.
        cap: Largest ratio.

    Returns:
        Shape (B, T), or (B, 1) where the whole response has one ratio.

    Example:
        >>> gap, mask = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2)
        >>> [importance_ratio(gap, mask, m, 2.0).tolist() for m in ("token_truncate", "token_mask")]
        [[[1.0, 2.0]], [[1.0, 0.0]]]
        >>> importance_ratio(gap, mask, "sequence_truncate", 2.0).tolist()
        [[2.0]]
        >>> [importance_ratio(gap, mask, "geometric_mask", cap).tolist() for cap in (1.6, 1.7)]
        [[[0.0]], [[1.0]]]
    """
    ratio = raw_ratio(difference_BT, mask_BT, mode)
    if mode == "geometric_mask":
        return ((ratio <= cap) & (ratio >= 1 / cap)).float()
    if mode.endswith("mask"):
        return ratio.masked_fill(ratio > cap, 0.0)
    return ratio.clamp(max=cap)


def raw_ratio(difference_BT: Tensor, mask_BT: Tensor, mode: ImportanceMode) -> Tensor:
    """The ratio that `importance_ratio` caps: of ids (B, T), or one of each response (B, 1)."""
    gap = difference_BT * mask_BT
    if mode.startswith("token"):
        return gap.exp()
    total = gap.sum(1, keepdim=True)
    if mode == "geometric_mask":
        total = total / mask_BT.sum(1, keepdim=True).clamp(min=1)
    return total.exp()


def clipped_value_error(
    values_BT: Tensor, old_values_BT: Tensor, returns_BT: Tensor, clip: float | None
) -> Tensor:
    """Half the squared error of each value, not below that of the value held near the old one.

    Args:
        values_BT: Of the critic now.
        old_values_BT: Of the critic when the batch was sampled.
        returns_BT: Targets.
        clip: How far a value may profit from moving away; `None` is the plain error (verl: 0.5).

    Example:
        >>> new, old, target = (torch.tensor([[x]]) for x in (1.0, 0.0, 1.0))
        >>> clipped_value_error(new, old, target, None).item()
        0.0
        >>> clipped_value_error(new, old, target, 0.5).item()
        0.125
    """
    error = (values_BT - returns_BT) ** 2
    if clip is not None:
        held = old_values_BT + (values_BT - old_values_BT).clamp(-clip, clip)
        error = torch.max(error, (held - returns_BT) ** 2)
    return error / 2
