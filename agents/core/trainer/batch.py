"""Rows as padded tensors, and how a batch is cut into forward passes without changing a gradient.

Shapes: B rows, P prompt ids (padded on the left), T response ids (padded on the right), L = P + T.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from agents.core.types import Trajectory

PREPARED = "prepared/"
"""Prefix of the names under which tensors of `Algorithm.prepare` travel with the batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What an algorithm sees of a batch, or of the part of it that is in one forward pass."""

    input_ids: Tensor
    """Prompt and response, (B, L)."""
    attention: Tensor
    """1 on ids, 0 on padding, (B, L)."""
    mask: Tensor
    """1 on sampled ids to learn from, 0 on tool output, padding and lost rows, (B, T)."""
    advantages: Tensor
    """(B, T)."""
    tokens: float
    """Sampled ids that this update's losses are means over, in all its parts together."""
    logprobs: Tensor | None = None
    """Of each response id under the policy in training, with gradient, (B, T); `None` in
    `prepare`."""
    hidden: Tensor | None = None
    """The policy's last states before each response id, with gradient, (B, T, H), where the
    algorithm has an auxiliary module; `None` in `prepare`."""
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    """What `prepare` returned, these rows of it."""
    auxiliary: nn.Module | None = None
    """The algorithm's auxiliary module."""
    model: Any = None
    """The policy."""
    trajectories: Sequence[Trajectory] = ()
    """The rows, in order; only in `prepare`."""
    micro_batch: int = 16
    """Rows that fit into one forward pass."""
    temperature: float = 1.0
    """Of sampling; log-probabilities are those of the tempered policy."""

    def mean(self, values_BT: Tensor) -> Tensor:
        """Mean over sampled ids: this part's share of it, so that the parts add up."""
        return (values_BT * self.mask).sum() / self.tokens


def learned(batch: Mapping[str, Any]) -> Tensor:
    """1 on the ids of a batch to learn from, (B, T)."""
    mask: Tensor = batch["completion_mask"] * batch["tool_mask"]
    return mask


def view(batch: Mapping[str, Any], **more: Any) -> Batch:
    """A batch under TRL's names as an algorithm sees it.

    Args:
        batch: What the trainer holds.
        **more: The fields that are not in it.
    """
    ids, attention = joined(batch)
    prepared = {
        name.removeprefix(PREPARED): value
        for name, value in batch.items()
        if name.startswith(PREPARED)
    }
    return Batch(
        input_ids=ids,
        attention=attention,
        mask=learned(batch).float(),
        advantages=batch["advantages"],
        prepared=prepared,
        **more,
    )


def to_tensors(
    trajectories: Sequence[Trajectory], credit: Sequence[Sequence[float]], pad: int
) -> dict[str, Tensor]:
    """Rows under TRL's names.

    Args:
        trajectories: B rows; those not `scorable` get a mask of zeros.
        credit: An advantage for each response id.
        pad: Id of padding.

    Example:
        >>> row = Trajectory("p", (5, 6), (7,), (1,), (0.0,), (), 0, "", "", 0, 0, "", False, True)
        >>> {name: t.tolist() for name, t in to_tensors([row], [[2.0]], 0).items()}["prompt_ids"]
        [[5, 6]]
    """
    left = max(len(t.prompt_ids) for t in trajectories)
    right = max(len(t.ids) for t in trajectories)

    def rows(values: Sequence[Sequence[Any]], width: int, fill: Any, *, front: bool) -> Tensor:
        padded = []
        for row in values:
            gap = [fill] * (width - len(row))
            padded.append([*gap, *row] if front else [*row, *gap])
        return torch.tensor(padded)

    masks = [t.loss_mask if t.scorable else [0] * len(t.ids) for t in trajectories]
    return {
        "prompt_ids": rows([t.prompt_ids for t in trajectories], left, pad, front=True),
        "prompt_mask": rows([[1] * len(t.prompt_ids) for t in trajectories], left, 0, front=True),
        "completion_ids": rows([t.ids for t in trajectories], right, pad, front=False),
        "completion_mask": rows([[1] * len(t.ids) for t in trajectories], right, 0, front=False),
        "tool_mask": rows(masks, right, 1, front=False),
        "advantages": rows(credit, right, 0.0, front=False),
        "sampling_per_token_logps": rows(
            [t.logprobs for t in trajectories], right, 0.0, front=False
        ),
    }


def append_rows(batch: Mapping[str, Any], more: Mapping[str, Tensor], pad: int) -> dict[str, Any]:
    """The batch with more rows below; both are padded to common widths.

    Raises:
        KeyError: The batch holds a tensor of rows that `more` lacks.
    """
    whole: dict[str, Any] = {}
    for name, value in batch.items():
        if not isinstance(value, Tensor) or value.dim() < 2:
            whole[name] = value
            continue
        below = more[name].to(value.device)
        width = max(value.shape[1], below.shape[1])
        fill = pad if name.endswith("_ids") else 0
        front = name.startswith("prompt")
        whole[name] = torch.cat([_widened(t, width, fill, front) for t in (value, below)])
    return whole


def _widened(values: Tensor, width: int, fill: float, front: bool) -> Tensor:
    gap = width - values.shape[1]
    return nn.functional.pad(values, (gap, 0) if front else (0, gap), value=fill)


Agree = Callable[[int], int]
"""The largest of the numbers that the processes give."""


def split(
    batch: dict[str, Any],
    *,
    updates: int,
    passes: int,
    keep_all: bool,
    order: Tensor,
    agree: Agree = int,
    groups: bool = False,
) -> list[dict[str, Any]]:
    """Cut a batch into the parts of `updates` optimiser steps of `passes` forward passes each."""
    if updates == 1:
        return micro_batches(batch, passes, keep_all, agree, groups)
    chunks = torch.tensor_split(order, updates)
    return [
        part
        for rows in chunks
        for part in micro_batches(narrow(batch, rows), passes, keep_all, agree, groups)
    ]


def micro_batches(
    batch: dict[str, Any], count: int, keep_all: bool, agree: Agree = int, groups: bool = False
) -> list[dict[str, Any]]:
    """Split a batch into `count` parts of similar length, without padding columns.

    Args:
        batch: Tensors of shape (B, P) and (B, T) under TRL's names, and `num_items_in_batch`.
        count: Parts; each gets at least one row.
        keep_all: Keep rows whose advantages are all zero. They add nothing to the policy gradient,
            but they do to a KL term, to the loss of a critic, and to a mean over responses. Those
            with a likelihood term, whose ids of high entropy are others', stay in any case.
        agree: Makes the number of rows kept the same in all processes, which gather theirs.
        groups: Keep rows in their order instead, so that those of a group stay together.

    Returns:
        The parts; `num_items_in_batch` still counts every row, so that leaving rows out changes no
        gradient.
    """
    moves = (batch["advantages"] * batch.get("tool_mask", 1)).abs().sum(1) > 0
    if "nll_weights" in batch:
        moves = moves | (batch["nll_weights"].sum(1) > 0)
    wanted = agree(len(moves) if keep_all else max(int(moves.sum()), count))
    lengths = batch["completion_mask"].sum(1)
    order = torch.argsort(lengths + (lengths.max() + 1) * moves, stable=True)
    kept = order[-wanted:]
    kept = kept.sort().values if groups else kept[torch.argsort(lengths[kept], stable=True)]
    return [narrow(batch, rows) for rows in torch.tensor_split(kept, count)]


def narrow(batch: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    """The given rows without columns in which all of them are padding."""
    prompt = batch["prompt_mask"][rows].any(0)
    completion = batch["completion_mask"][rows].any(0)
    part: dict[str, Any] = {}
    for name, value in batch.items():
        if not isinstance(value, Tensor) or value.dim() < 2:
            part[name] = value
        elif value.shape[1] == 1 < len(completion):
            # A number for each row, such as an importance ratio of whole responses.
            part[name] = value[rows]
        else:
            part[name] = value[rows][:, prompt if name.startswith("prompt") else completion]
    return part


def joined(batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask of prompt and response together, (B, L)."""
    return (
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
    )


def nll_weights(
    batch: Mapping[str, Any], gather: Callable[[Tensor], Tensor], branch_weight: float = 1.0
) -> Tensor:
    """1 / N on the N sampled ids of rows with a positive advantage, branches apart, (B, T).

    Args:
        batch: Tensors under TRL's names, `branch` marking rows of branches with 1.
        gather: Collects a number from all processes.
        branch_weight: Of the branches.
    """
    mask = learned(batch)
    positive = mask * ((batch["advantages"] * mask).sum(1, keepdim=True) > 0)
    weights = torch.zeros_like(batch["advantages"])
    branch = batch.get("branch", weights).amax(1, keepdim=True)
    for kind in (0, 1):
        weight = branch_weight if kind else 1.0
        chosen = positive * (branch == kind)
        weights = weights + weight * chosen / gather(chosen.sum()).sum().clamp(min=1)
    return weights
