"""Teacher forcing in which the responses to one prompt read it once.

The samples of a group begin with the same prompt, and what a causal model computes there does not
depend on what follows. So every distinct prompt of a pass is read once; its keys and values stand
before each of its responses, and gradients flow back through them. Log-probabilities and gradients
are those of `response_logprobs` up to rounding; the cost is that of P + G x T ids in place of
G x (P + T).
"""

from typing import Any

import torch
from torch import Tensor

from agents.core.models.lora import trunk
from agents.core.trainer.logprobs import head_logprobs, in_chunks

ROWS = 4
"""Responses that are read side by side, those of similar length together."""


def can_share(model: Any) -> bool:
    """Whether all layers keep keys and values of the whole text, as plain attention does."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def shared_prefix_logprobs(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, length: int, rows: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `response_logprobs`; of the rows of a pass, equal prompts are read once.

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

    def read(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return _score(model, ids, mask, length, temperature)

    return in_chunks(read, rows, ids_BL, mask_BL)


def _score(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, length: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """All rows in one pass."""
    ids_BT, wanted_BT = ids_BL[:, -length:], mask_BL[:, -length:].bool()
    first_N, owner_B = _distinct(ids_BL[:, :-length], mask_BL[:, :-length])
    mask_NP = mask_BL[first_N, :-length]
    read = trunk(model)(
        input_ids=ids_BL[first_N, :-length],
        attention_mask=mask_NP,
        position_ids=(mask_NP.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
    )
    states, places = [], []
    for rows in torch.split(wanted_BT.sum(1).argsort(), ROWS):
        here = wanted_BT[rows]
        here = here[:, : max(1, int(here.sum(1).max()))]
        mask_RP = mask_NP[owner_B[rows]]
        before = _before(model, read, owner_B[rows], mask_RP, ids_BT[rows, : here.shape[1]], here)
        states.append(before[here])
        places.append((rows[:, None] * length + torch.arange(here.shape[1]).to(rows))[here])
    place = torch.cat(places)
    logps, entropy = head_logprobs(model, torch.cat(states), ids_BT.flatten()[place], temperature)
    zeros = torch.zeros(wanted_BT.numel(), dtype=logps.dtype, device=logps.device)
    return (
        zeros.index_add(0, place, logps).view(wanted_BT.shape),
        zeros.index_add(0, place, entropy).view(wanted_BT.shape),
    )


def _distinct(ids_BP: Tensor, mask_BP: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each distinct prompt, (N,), and for each row which prompt it has, (B,)."""
    known: dict[tuple[int, ...], int] = {}
    first: list[int] = []
    owner: list[int] = []
    for row, (ids, mask) in enumerate(zip(ids_BP, mask_BP.bool(), strict=True)):
        prompt = tuple(ids[mask].tolist())
        if prompt not in known:
            known[prompt] = len(first)
            first.append(row)
        owner.append(known[prompt])
    return torch.tensor(first, device=ids_BP.device), torch.tensor(owner, device=ids_BP.device)


def _before(
    model: Any, read: Any, owner_R: Tensor, mask_RP: Tensor, ids_RT: Tensor, here_RT: Tensor
) -> Tensor:
    """The model's state before each id of some responses, (R, T, H).

    Args:
        model: The model.
        read: Output of its trunk for the prompts.
        owner_R: The prompt of each response.
        mask_RP: 1 on ids of that prompt.
        ids_RT: The responses.
        here_RT: Where they have ids.
    """
    from transformers.cache_utils import DynamicCache

    last: Tensor = read.last_hidden_state[:, -1:].index_select(0, owner_R)
    if ids_RT.shape[1] == 1:
        return last
    cache = DynamicCache()
    for i, layer in enumerate(read.past_key_values.layers):
        cache.update(layer.keys.index_select(0, owner_R), layer.values.index_select(0, owner_R), i)
    steps = torch.arange(ids_RT.shape[1] - 1, device=ids_RT.device)
    out = trunk(model)(
        input_ids=ids_RT[:, :-1],
        attention_mask=torch.cat([mask_RP, here_RT[:, :-1].to(mask_RP.dtype)], 1),
        position_ids=mask_RP.sum(1, keepdim=True) + steps,
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([last, out.last_hidden_state], 1)
