"""Generalised advantage estimation along the sampled ids of a response.

Tool output is no action of the policy: ids that the environment added carry no value, no reward
and no discount, so the estimate is that of the sampled ids alone, one after the other. (THOR's
release copies values into them, and plain GAE of most trainers walks over them.)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.core.trainer import distributed
from agents.core.types import Trajectory


def gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lambdas_B: Tensor
) -> Tensor:
    """Advantages (arXiv 1506.02438, eq. 16) over the ids where the mask is 1; 0 elsewhere.

    Args:
        rewards_BT: Reward received at each id.
        values_BT: Value before each id.
        mask_BT: 1 on sampled ids.
        gamma: Discount from one sampled id to the next.
        lambdas_B: Lambda of each row.

    Returns:
        Shape (B, T). Adding the values gives the targets of a critic.

    Example:
        One id of tool output between two sampled ones changes nothing.

        >>> one = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 9.0, 0.25]])
        >>> gae(*one, torch.tensor([[1.0, 0.0, 1.0]]), 1.0, torch.tensor([1.0])).tolist()
        [[0.5, 0.0, 0.75]]
    """
    advantages = torch.zeros_like(values_BT)
    later = torch.zeros_like(values_BT[:, 0])
    next_value = torch.zeros_like(later)
    for t in reversed(range(values_BT.shape[1])):
        sampled = mask_BT[:, t] > 0
        error = rewards_BT[:, t] + gamma * next_value - values_BT[:, t]
        here = error + gamma * lambdas_B * later
        later = torch.where(sampled, here, later)
        next_value = torch.where(sampled, values_BT[:, t], next_value)
        advantages[:, t] = torch.where(sampled, here, 0.0)
    return advantages


def lambdas(mask_BT: Tensor, fixed: float, length_alpha: float | None) -> Tensor:
    """Lambda of each row: fixed, or 1 - 1 / (alpha * length) (VAPO, arXiv 2504.05118, eq. 8).

    Example:
        >>> lambdas(torch.ones(1, 100), 0.95, 0.05).tolist()[0]
        0.800000011920929
    """
    lengths = mask_BT.sum(1)
    if length_alpha is None:
        return torch.full_like(lengths, fixed)
    return (1 - 1 / (length_alpha * lengths.clamp(min=1))).clamp(min=0.0)


def step_rewards(trajectories: Sequence[Trajectory], mask_BT: Tensor) -> Tensor:
    """The environment's reward of each step, at the last id of that step's turn that learns.

    A turn of which nothing learns, for it has no ids or a filter drops them, pays at the last id
    before it that does: what led there answers for it. Where there is none, nobody is paid.

    Args:
        trajectories: B rows.
        mask_BT: 1 on ids to learn from.

    Example:
        >>> from agents.core.testing.algorithm_contract import episode
        >>> row = episode(1.0)
        >>> [(turn.end, turn.reward) for turn in row.turns]
        [(2, 0.0), (6, 1.0)]
        >>> step_rewards([row], torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]])).tolist()
        [[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]
    """
    rewards = torch.zeros_like(mask_BT)
    for row, trajectory in enumerate(trajectories):
        learning = mask_BT[row].nonzero().flatten()
        for turn in trajectory.turns:
            at = int((learning < turn.end).sum()) - 1
            if at >= 0:
                rewards[row, learning[at]] += turn.reward
    return rewards


def whitened(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Values with mean 0 and standard deviation 1 over all processes' ids where the mask is 1."""
    chosen = torch.cat(distributed.gather([values_BT[mask_BT > 0].cpu()]))
    if chosen.numel() < 2:
        return values_BT * mask_BT
    return (values_BT - chosen.mean()) / (chosen.std() + 1e-8) * mask_BT
