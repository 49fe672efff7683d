"""Teacher forcing in which the responses to one prompt read it once.

The samples of a group begin with the same prompt, and what a causal model computes there does not
depend on what follows. So a prompt is laid out once with all its responses behind it, each of which
sees the prompt and itself. Log-probabilities and gradients are those of `score_responses` up to
rounding; the cost is that of P + G x T ids in place of G x (P + T).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.core.lora import trunk


@dataclass(slots=True)
class _Pack:
    """A prompt and the responses behind it, as one sequence."""

    ids: list[int]
    places: list[int]
    """Position of each id in its own text."""
    parts: list[int]
    """0 in the prompt, k in the k-th response."""
    prompt: int = 0
    count: int = 0
    before: dict[int, list[int]] = field(default_factory=dict)
    """For each row, the index before each of its response's ids."""

    def add(self, row: int, response: Sequence[int]) -> None:
        """Lay a response behind what is there."""
        start, size = len(self.ids), len(response)
        self.count += 1
        self.ids += response
        self.places += range(self.prompt, self.prompt + size)
        self.parts += [self.count] * size
        self.before[row] = [self.prompt - 1, *range(start, start + size - 1)][:size]


def can_share(model: Any) -> bool:
    """Whether the model takes any mask: scaled dot-product attention without a window."""
    config = model.config
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return getattr(config, "_attn_implementation", "") == "sdpa" and not window


def score_sharing(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, length: int, rows: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `scoring.score_responses`; of the rows of a pass, equal prompts are read once.

    Args:
        model: A causal language model of which `can_share` is true.
        ids_BL: Ids, prompts of at least one id padded on the left, responses on the right.
        mask_BL: 1 on real ids.
        length: Columns of the responses.
        rows: Rows of a pass.
        temperature: Divides the logits.

    Returns:
        Log-probabilities and entropies of the responses, shape (B, length), 0 on padding.
    """
    cuts = [slice(start, start + rows) for start in range(0, len(ids_BL), rows)]
    parts = [_score(model, ids_BL[c], mask_BL[c], length, temperature) for c in cuts]
    logps, entropies = (torch.cat(part) for part in zip(*parts, strict=True))
    return logps, entropies


def _score(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, length: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """All rows in one pass."""
    wanted = mask_BL[:, -length:].bool()
    packs, order = _packed(ids_BL, mask_BL, length)
    width = max(len(pack.ids) for pack in packs)
    device = ids_BL.device

    def rows(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[*v, *[fill] * (width - len(v))] for v in values], device=device)

    parts = rows([pack.parts for pack in packs], -1)
    hidden = trunk(model)(
        input_ids=rows([pack.ids for pack in packs], 0),
        attention_mask=_visible(parts),
        position_ids=rows([pack.places for pack in packs], 0),
        use_cache=False,
    ).last_hidden_state
    index = [i * width + at for row, i in enumerate(order) for at in packs[i].before[row]]
    chosen = hidden.flatten(0, 1)[torch.tensor(index, device=device)]
    logits = model.get_output_embeddings()(chosen).float() / temperature
    logprobs = torch.log_softmax(logits, dim=-1)
    told = logprobs.gather(-1, ids_BL[:, -length:][wanted][:, None]).squeeze(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
    zeros = torch.zeros(wanted.shape, dtype=told.dtype, device=device)
    return zeros.masked_scatter(wanted, told), zeros.masked_scatter(wanted, entropy)


def _packed(ids_BL: Tensor, mask_BL: Tensor, length: int) -> tuple[list[_Pack], list[int]]:
    """Packs of rows with equal prompts, and which pack each row is in."""
    packs: list[_Pack] = []
    known: dict[tuple[int, ...], int] = {}
    order = []
    for row, (ids, mask) in enumerate(zip(ids_BL, mask_BL.bool(), strict=True)):
        prompt = tuple(ids[:-length][mask[:-length]].tolist())
        if prompt not in known:
            known[prompt] = len(packs)
            size = len(prompt)
            packs.append(_Pack(list(prompt), list(range(size)), [0] * size, size))
        order.append(known[prompt])
        packs[known[prompt]].add(row, ids[-length:][mask[-length:]].tolist())
    return packs, order


def _visible(parts_NM: Tensor) -> Tensor:
    """What each id sees: the prompt and its own response, up to itself, (N, 1, M, M)."""
    size = parts_NM.shape[1]
    earlier = torch.ones(size, size, dtype=torch.bool, device=parts_NM.device).tril()
    same = parts_NM[:, :, None] == parts_NM[:, None, :]
    prompt = (parts_NM == 0)[:, None, :]
    return ((same | prompt) & earlier)[:, None]
