"""A transformers model as a policy: one decode loop over all rows, tools in flight, cache kept.

Every call of `advance` is one forward pass over all live rows. A row that waits for its tool is
masked out of that pass and takes no position; when the output arrives its ids are fed through the
same loop, one a pass, so that no other row waits and the cache of the row survives the call.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from agents.core.policies.decode_attention import decode_faster
from agents.core.policies.sampling import draw
from agents.core.policies.stopping import StoppingCriterion, is_default
from agents.core.rollout.prompts import decode
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser, closes_tool_call

COMPACT_BELOW = 0.75
"""The batch is cut once fewer than this share of its rows is live; cutting copies the cache."""


@dataclass(slots=True)
class _Row:
    index: int
    uniforms: np.random.Generator
    remaining: int
    """Tokens this response may still hold."""
    feed: deque[int] = field(default_factory=deque)
    """Ids that the model has yet to read."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    writing: bool = True
    """False while a tool runs for this row."""
    prefix: Sequence[int] = ()
    """Ids of the prompt that the present turn begins with."""


class TransformersPolicy:
    """Samples from a causal language model of the transformers library.

    Args:
        model: The model; sampling runs in its own dtype on its own device. On a CPU it gets a
            faster attention.
        tokenizer: Its tokenizer. A missing pad token is replaced by the end-of-sequence token.
        closes_call: Whether a turn's text ends with a finished tool call; the turn stops there.
            `closes_tool_call` itself stands for the style of whatever environment is played.
        marker: Of these characters every finished tool call ends with one, so that other ids need
            no look; by default what the style of the calls says, "`" for a rule of one's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        closes_call: Callable[[str], bool] = closes_tool_call,
        marker: str | None = None,
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no end-of-sequence token: no answer could ever end")
        decode_faster(model)
        self.model = model
        self.tokenizer = tokenizer
        self._closes_call = closes_call
        self._eos = tokenizer.eos_token_id
        self._pad = self._eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._default_stop = marker is None and is_default(closes_call)
        self._mark("`" if marker is None else marker)
        self._rows: dict[int, _Row] = {}
        self._slots: list[int] = []

    def _mark(self, marker: str) -> None:
        pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        self._marker = marker
        self._marked = frozenset(
            i for i, piece in enumerate(pieces) if not marker or any(m in piece for m in marker)
        )

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless made with a rule of its own."""
        if self._default_stop:
            criterion = StoppingCriterion(parser)
            self._closes_call = criterion
            if criterion.marker != self._marker:
                self._mark(criterion.marker)

    @torch.inference_mode()
    def open(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        *,
        prefix_lengths: Sequence[int] | None = None,
        remaining_tokens: Sequence[int] | None = None,
    ) -> None:
        """Read all prompts, equal neighbours once (the rows of one group share their prompt).

        Raises:
            RuntimeError: Rows of the last batch were never released.
            ValueError: Prompt and response exceed the model's window.
        """
        if self._rows:
            raise RuntimeError(f"{len(self._rows)} rows of the last batch were never released")
        self._how = how
        prefix_lengths = prefix_lengths or [0] * len(prompts)
        remaining_tokens = remaining_tokens or [how.max_tokens] * len(prompts)
        self._check_window(prompts, remaining_tokens)
        self._rows = {
            i: _Row(
                i,
                np.random.Generator(np.random.Philox(seed)),
                remaining_tokens[i],
                prefix=tuple(prompts[i][len(prompts[i]) - prefix_lengths[i] :]),
            )
            for i, seed in enumerate(seeds)
        }
        self._slots = list(range(len(prompts)))
        distinct, owner = _share_equal_neighbours(prompts)
        width = max(map(len, distinct))
        device = self.model.device
        ids = torch.tensor(
            [[self._pad] * (width - len(p)) + list(p) for p in distinct], device=device
        )
        mask = torch.tensor(
            [[0] * (width - len(p)) + [1] * len(p) for p in distinct], device=device
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
        )
        index = torch.tensor(owner, device=device)
        self._cache = out.past_key_values
        self._cache.batch_select_indices(index)
        self._logits = out.logits[:, -1].float()[index]
        self._mask = mask[index]
        self._next = positions[index, -1:] + 1

    def _check_window(
        self, prompts: Sequence[Sequence[int]], remaining_tokens: Sequence[int]
    ) -> None:
        window = getattr(self.model.config, "max_position_embeddings", None)
        longest = max(
            len(p) + remaining for p, remaining in zip(prompts, remaining_tokens, strict=True)
        )
        if window is not None and longest > window:
            prompt = max(map(len, prompts))
            raise ValueError(
                f"a prompt of up to {prompt} tokens and its response take {longest} tokens, the "
                f"model's window is {window}: lower --max-tokens or leave long problems out"
            )

    @torch.inference_mode()
    def advance(self) -> list[Completion]:
        """Sample an id for every writing row, then run one forward pass over what is to be read."""
        if not self._rows:
            return []
        ended = self._sample()
        if any(row.feed for row in self._rows.values()):
            self._forward()
        return ended

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Queue `ids` (tool output) for reading; the row writes on once they are read."""
        state = self._rows[row]
        if len(ids) >= state.remaining:
            raise ValueError(
                f"{len(ids)} ids do not fit into the {state.remaining} left of row {row}"
            )
        state.feed.extend(ids)
        state.remaining -= len(ids)
        state.ids, state.logprobs, state.writing, state.prefix = [], [], True, ()

    def release(self, row: int) -> None:
        """Forget the row; its place in the batch goes when enough others have gone."""
        del self._rows[row]

    def remaining(self, row: int) -> int:
        """Tokens that the response of `row` may still hold."""
        return self._rows[row].remaining

    def _sample(self) -> list[Completion]:
        """Draw an id for every row that writes and has read all; return the turns that end."""
        places = [
            (slot, self._rows[index])
            for slot, index in enumerate(self._slots)
            if index in self._rows and self._rows[index].writing and not self._rows[index].feed
        ]
        if not places:
            return []
        rows = [row for _, row in places]
        uniforms = [row.uniforms.random() for row in rows]
        ids, logprobs = draw(self._logits[[slot for slot, _ in places]], uniforms, self._how)
        ended = []
        for row, token, logprob in zip(rows, ids, logprobs, strict=True):
            row.ids.append(token)
            row.logprobs.append(logprob)
            row.remaining -= 1
            finish = self._finish(row, token)
            if finish is None:
                row.feed.append(token)
                continue
            row.writing = False
            if finish is FinishReason.STOP:
                row.feed.append(token)
            ended.append(Completion(row.index, row.ids, row.logprobs, finish))
        return ended

    def _finish(self, row: _Row, token: int) -> FinishReason | None:
        if token == self._eos:
            return FinishReason.EOS
        if token in self._marked and self._closes_call(
            decode(self.tokenizer, [*row.prefix, *row.ids])
        ):
            return FinishReason.STOP
        return FinishReason.LENGTH if row.remaining == 0 else None

    def _forward(self) -> None:
        self._compact()
        tokens, fed = [], []
        for index in self._slots:
            row = self._rows.get(index)
            fed.append(bool(row and row.feed))
            tokens.append(row.feed.popleft() if row and row.feed else self._pad)
        device = self.model.device
        read = torch.tensor(fed, device=device)[:, None]
        self._mask = torch.cat([self._mask, read.to(self._mask.dtype)], dim=1)
        out = self.model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            attention_mask=self._mask,
            position_ids=self._next,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._logits = torch.where(read, out.logits[:, -1].float(), self._logits)
        self._next = self._next + read.to(self._next.dtype)

    def _compact(self) -> None:
        live = [slot for slot, index in enumerate(self._slots) if index in self._rows]
        if len(live) >= COMPACT_BELOW * len(self._slots):
            return
        index = torch.tensor(live, device=self.model.device)
        self._cache.batch_select_indices(index)
        self._logits, self._mask, self._next = (
            self._logits[index],
            self._mask[index],
            self._next[index],
        )
        self._slots = [self._slots[slot] for slot in live]


def _share_equal_neighbours(
    prompts: Sequence[Sequence[int]],
) -> tuple[list[Sequence[int]], list[int]]:
    """The prompts without repeats of the one before, and for each prompt the index of its copy."""
    distinct: list[Sequence[int]] = []
    owner = []
    for prompt in prompts:
        if not distinct or list(prompt) != list(distinct[-1]):
            distinct.append(prompt)
        owner.append(len(distinct) - 1)
    return distinct, owner
