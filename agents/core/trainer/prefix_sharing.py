"""Teacher forcing in which what rows have in common is read once, and nothing is padded.

The samples of a group begin with the same prompt, all prompts with the same system text, and what a
causal model computes there does not depend on what follows. So the rows of a pass become a tree
that is read as one sequence; every node attends to itself and to the nodes above it:

    row 0   S S S A A x x         nodes   S S S | A A | x x | y y y | B | z
    row 1   S S S A A y y y       above            S    S A    S A     S  S B
    row 2   S S S B z

Log-probabilities and gradients are those of `token_logprobs` up to rounding. All layers but
attention see one long row, which is what products of matrices are fastest at; attention is made of
products too, since torch's fused kernel takes an order of magnitude longer on a CPU for short rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from agents.core.models.lora import trunk
from agents.core.trainer.logprobs import head_logprobs, response_logprobs, spread

NAME = "torl_tree"
SHORTEST = 8
"""Ids that rows must have in common, at least, for a node of their own."""

_reading: list["Tree"] = []
"""The tree that is being read, while it is; transformers passes nothing of ours to an attention."""


@dataclass(frozen=True, slots=True)
class Node:
    """A stretch of the packed sequence."""

    start: int
    end: int
    above: tuple[tuple[int, int], ...]
    """Start and end of the nodes above, which this one attends to in full."""


@dataclass(slots=True)
class Tree:
    """Rows of ids packed into one sequence.

    Example:
        >>> tree = Tree.of([[7] * 8 + [1], [7] * 8 + [2, 3], [4]])
        >>> len(tree.ids), tree.nodes[1]
        (12, Node(start=8, end=9, above=((0, 8),)))
        >>> tree.places[1][-2:], tree.positions[-1]
        ([9, 10], 0)
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Of each id in its row, which is the same in all rows that hold it."""
    nodes: list[Node] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    """Of each row, where its ids are."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Tree":
        """Pack these rows."""
        tree = cls(places=[[] for _ in rows])
        tree._grow(rows, range(len(rows)), 0, ())
        return tree

    def _grow(
        self,
        rows: Sequence[Sequence[int]],
        which: Sequence[int],
        depth: int,
        above: tuple[tuple[int, int], ...],
    ) -> None:
        """Add the nodes of some rows that agree in their first `depth` ids."""
        alike: dict[Any, list[int]] = {}
        for row in which:
            following = tuple(rows[row][depth : depth + SHORTEST])
            alike.setdefault(following if len(following) == SHORTEST else row, []).append(row)
        for group in alike.values():
            common = list(rows[group[0]][depth:])
            for row in group[1:]:
                pairs = zip(common, rows[row][depth:], strict=False)
                common = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
            start, size = len(self.ids), len(common)
            if not size:
                continue
            self.ids += common
            self.positions += range(depth, depth + size)
            self.nodes.append(Node(start, start + size, above))
            for row in group:
                self.places[row] += range(start, start + size)
            if len(group) > 1:
                self._grow(rows, group, depth + size, (*above, (start, start + size)))


def can_share(model: Any) -> bool:
    """Whether all layers attend to the whole text, by an attention that can be exchanged."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    plain = trunk(model)
    config = plain.config
    return (
        all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
        and bool(getattr(plain, "_supports_attention_backend", False))
        and config._attn_implementation in ("sdpa", "eager")
        and not getattr(config, "attn_logit_softcapping", None)
        and not getattr(config, "attention_dropout", 0.0)
    )


def shared_prefix_logprobs(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, length: int, rows: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `response_logprobs`, for a model of which `can_share` is true; `rows` rows a pass."""
    return response_logprobs(model, ids_BL, mask_BL, length, rows, temperature, packed_logprobs)


def packed_logprobs(
    model: Any, ids_BL: Tensor, mask_BL: Tensor, wanted_BL: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """As `token_logprobs`, for a model of which `can_share` is true."""
    wanted = wanted_BL.bool()
    texts = [ids[real].tolist() for ids, real in zip(ids_BL, mask_BL.bool(), strict=True)]
    # Nothing follows the last id of a row, so its logits are not needed.
    tree = Tree.of([text[:-1] for text in texts])
    order = (mask_BL.cumsum(1) - 1).tolist()
    # Rows of a tree rollout share sampled ids too: the head looks at each place once.
    asked: dict[tuple[int, int], int] = {}
    which = []
    for row, column in wanted[:, 1:].nonzero().tolist():
        at = order[row][column + 1]
        pair = (tree.places[row][at - 1], texts[row][at])
        which.append(asked.setdefault(pair, len(asked)))
    device = ids_BL.device
    with reading(trunk(model), tree):
        hidden = trunk(model)(
            input_ids=torch.tensor([tree.ids], device=device),
            position_ids=torch.tensor([tree.positions], device=device),
            use_cache=False,
        ).last_hidden_state[0]
    before, ids = (
        torch.tensor(list(asked), dtype=torch.long, device=device).reshape(len(asked), 2).T
    )
    logps, entropy = head_logprobs(model, hidden.index_select(0, before), ids, temperature)
    back = torch.tensor(which, dtype=torch.long, device=device)
    return spread(logps[back], wanted_BL), spread(entropy[back], wanted_BL)


@contextmanager
def reading(model: Any, tree: Tree) -> Iterator[None]:
    """Let a model attend by the nodes of a tree."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    _reading.append(tree)
    try:
        yield
    finally:
        _reading.pop()
        model.config._attn_implementation = before


def _attend(
    module: Any,
    query_BHND: Tensor,
    key_BKND: Tensor,
    value_BKND: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention in the form that transformers asks for; (1, N, H, D)."""
    unknown = [n for n in ("position_bias", "softcap", "s_aux", "sliding_window") if options.get(n)]
    if unknown:
        raise ValueError(f"{type(module).__name__} attends with {', '.join(unknown)}")
    scale = scaling or query_BHND.shape[-1] ** -0.5
    out_HND: Tensor = TreeAttention.apply(  # type: ignore[no-untyped-call]
        query_BHND[0], key_BKND[0], value_BKND[0], _reading[-1].nodes, scale
    )
    return out_HND.transpose(0, 1)[None], None


class TreeAttention(torch.autograd.Function):
    """Attention node by node; the backward pass computes the weights again, node by node."""

    @staticmethod
    def forward(
        ctx: Any,
        query_HND: Tensor,
        key_KND: Tensor,
        value_KND: Tensor,
        nodes: Sequence[Node],
        scale: float,
    ) -> Tensor:
        """Under autocast queries and keys come in float32 and values do not: theirs is the type."""
        dtype = value_KND.dtype
        ctx.types = query_HND.dtype, key_KND.dtype
        query, key = query_HND.to(dtype), key_KND.to(dtype)
        ctx.save_for_backward(query, key, value_KND)
        ctx.nodes, ctx.scale = nodes, scale
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        for node in nodes:
            weights, _, _, value = _weights(query, key, value_KND, node, scale)
            _write(out, node, weights @ value)
        return out

    @staticmethod
    def backward(ctx: Any, grad_HND: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of queries, keys and values."""
        query, key, value = ctx.saved_tensors
        grad_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        # Many nodes add to the keys of one above them.
        grad_key, grad_value = (torch.zeros(t.shape, device=t.device) for t in (key, value))
        for node in ctx.nodes:
            weights, own, keys, values = _weights(query, key, value, node, ctx.scale)
            grad = _read(grad_HND.to(query.dtype), node, len(key))
            of_weights = (grad @ values.transpose(1, 2)).float()
            kept = weights.float()
            of_scores = kept * (of_weights - (of_weights * kept).sum(-1, keepdim=True))
            of_scores = (of_scores * ctx.scale).to(query.dtype)
            _write(grad_query, node, of_scores @ keys)
            done = 0
            of_keys = of_scores.transpose(1, 2) @ own
            of_values = weights.transpose(1, 2) @ grad
            for start, end in (*node.above, (node.start, node.end)):
                part = slice(done, done + end - start)
                grad_key[:, start:end] += of_keys[:, part]
                grad_value[:, start:end] += of_values[:, part]
                done += end - start
        return (
            grad_query.to(ctx.types[0]),
            grad_key.to(ctx.types[1]),
            grad_value.to(value.dtype),
            None,
            None,
        )


def _weights(
    query_HND: Tensor, key_KND: Tensor, value_KND: Tensor, node: Node, scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the ids of a node attend to: weights, and the queries, keys and values they are of.

    Heads that share keys are rows of one product: weights are (K, G x n, m).
    """
    ranges = (*node.above, (node.start, node.end))
    key = torch.cat([key_KND[:, start:end] for start, end in ranges], 1)
    value = torch.cat([value_KND[:, start:end] for start, end in ranges], 1)
    query = _read(query_HND, node, len(key))
    size = node.end - node.start
    scores = (query @ key.transpose(1, 2)).float() * scale
    later = torch.ones(size, size, dtype=torch.bool, device=scores.device).triu(1)
    own = scores.view(len(key), -1, size, scores.shape[-1])[..., -size:]
    own.masked_fill_(later, float("-inf"))
    return scores.softmax(-1).to(value.dtype), query, key, value


def _read(values_HND: Tensor, node: Node, groups: int) -> Tensor:
    """A node's part, (K, G x n, D)."""
    return values_HND[:, node.start : node.end].reshape(groups, -1, values_HND.shape[-1])


def _write(values_HND: Tensor, node: Node, part: Tensor) -> None:
    """The reverse of `_read`."""
    values_HND[:, node.start : node.end] = part.view(
        len(values_HND), node.end - node.start, values_HND.shape[-1]
    )
