"""A transformers model as a policy: one decode loop over all rows, tools in flight, cache kept.

Every call of `advance` is one forward pass over all rows that write. A row that waits for its tool
takes no place in the cache; its output is then read in one pass, beside the others, and the row's
cache survives the call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from agents.core.policies.base import Row, RowPolicy, RowStart, Weights
from agents.core.policies.decode_attention import decode_faster
from agents.core.policies.packed_linear import forget_packed, pack_weights, reading_packed
from agents.core.policies.row_cache import RowCache, rows_that_fit, sliding_window, visible
from agents.core.policies.sampling import draw
from agents.core.policies.stopping import StoppingCriterion, end_ids
from agents.core.rollout.prompts import decode
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser, closes_tool_call

_COMMON = 8
"""Ids that all prompts have to begin with, for these to be read once: a pass costs by itself."""
_REREAD = 16
"""Rows whose ids are read again together when weights change: of a pass over whole responses."""


@dataclass(slots=True)
class _State:
    """What the decode loop knows of a row beside its books."""

    uniforms: np.random.Generator
    slot: int
    """Its place in the batch, the same in cache and logits."""
    length: int = 0
    """Ids in the cache, which is also the position of the next."""
    feed: list[int] = field(default_factory=list)
    """Ids that the model has yet to read."""
    writing: bool = True
    """False while a tool runs for this row."""


class TransformersPolicy(RowPolicy):
    """Samples from a causal language model of the transformers library.

    Args:
        model: The model; sampling runs in its own dtype on its own device. On a CPU it gets a
            faster attention. Layers may attend to everything or within a sliding window.
        tokenizer: Its tokenizer. A missing pad token is replaced by the end-of-sequence token.
        closes_call: Whether a turn's text ends with a finished tool call; the turn stops there.
            `closes_tool_call` itself stands for the style of whatever environment is played.
        marker: Of these characters every finished tool call ends with one, so that other ids need
            no look; by default what the style of the calls says, "`" for a rule of one's own.
        max_rows: Rows in the cache at a time; the others wait until some are released. By default
            as many as memory allows when a batch is opened.

    Raises:
        UnsupportedModelError: The model keeps a recurrent state, or something else that a row which
            waits could not leave alone.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        closes_call: Callable[[str], bool] = closes_tool_call,
        marker: str | None = None,
        max_rows: int | None = None,
    ) -> None:
        ends = end_ids(tokenizer, model.generation_config)
        super().__init__(tokenizer, closes_call, ends, fixed_stop=marker is not None)
        self.model = model
        self._sliding, self._has_full_layers = sliding_window(model.config)
        self._layers = len(DynamicCache(config=model.config).layers)
        if model.config._attn_implementation not in ("sdpa", "eager", "torl_decoding"):
            # Kernels such as flash attention take no mask of rows that are not in step.
            model.set_attn_implementation("sdpa")
        decode_faster(model)
        pack_weights(model)
        self._pad = min(self.end_ids) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._mark("`" if marker is None else marker)
        self._max_rows = max_rows
        self._states: dict[int, _State] = {}
        self._slots: list[int] = []
        self._waiting: list[int] = []
        """Rows for which there is no room yet."""

    @property
    def overlaps(self) -> bool:
        """Whether rollouts leave rows behind whose tool is slow, by default."""
        return bool(self.model.device.type != "cpu")

    def _mark(self, marker: str) -> None:
        """Note which ids hold one of these characters."""
        pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        self._marker = marker
        self._marked = frozenset(
            i for i, piece in enumerate(pieces) if not marker or any(m in piece for m in marker)
        )

    def _stop_at(self, parser: Parser) -> None:
        marker = StoppingCriterion(parser).marker
        if marker != self._marker:
            self._mark(marker)

    @torch.inference_mode()
    def open(self, starts: Sequence[RowStart], how: Sampling) -> None:
        """Read all prompts, equal neighbours once (the rows of one group share their prompt).

        Raises:
            RuntimeError: Rows of the last batch were never released.
            ValueError: A prompt and its response exceed the model's window.
        """
        window = getattr(self.model.config, "max_position_embeddings", None)
        self._open_rows(starts, how, window)
        columns = max(
            len(start.ids) + row.remaining
            for start, row in zip(starts, self._rows.values(), strict=True)
        )
        self._limit = self._max_rows or rows_that_fit(self.model, columns)
        begun = min(len(starts), self._limit)
        self._slots, self._waiting = list(range(begun)), list(range(begun, len(starts)))
        self._states = {i: self._state(i, slot=i) for i in self._slots}
        distinct, owner = _share_equal_neighbours([start.ids for start in starts[:begun]])
        whole = self.model.device.type == "cpu" and self.model.dtype == torch.bfloat16
        self._cache = RowCache(self._layers, max(map(len, distinct)), whole=whole)
        logits = self._read_prompts(distinct)
        index = torch.tensor(owner, device=self.model.device)
        self._cache.select(index)
        self._logits = logits[index]

    def _read_prompts(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Fill an empty cache; what all prompts begin with, such as a system text, is read once."""
        # Each has something left to read, since its last id gives the logits.
        longest = min(map(len, prompts)) - 1
        together = zip(*(prompt[:longest] for prompt in prompts), strict=True)
        common = sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, together))
        if len(prompts) == 1 or common < _COMMON:
            return self._read(prompts, [0] * len(prompts), None)
        self._read([prompts[0][:common]], [0], None)
        self._cache.select(torch.zeros(len(prompts), dtype=torch.long, device=self.model.device))
        rest = [prompt[common:] for prompt in prompts]
        return self._read(rest, [common] * len(prompts), None)

    @torch.inference_mode()
    def join(self, starts: Sequence[RowStart], how: Sampling) -> list[int]:
        """Start rows beside those that are open.

        Returns:
            Their numbers, by which they are resumed and released.

        Raises:
            ValueError: A prompt and its response exceed the model's window.
        """
        if not self._rows:
            self.open(starts, how)
            return list(self._rows)
        window = getattr(self.model.config, "max_position_embeddings", None)
        new = self._add_rows(starts, how, window)
        if self._waiting or len(self._states) + len(new) > self._limit:
            self._waiting += new
            return new
        live = [index for index in self._slots if index in self._states]
        distinct, owner = _share_equal_neighbours([start.ids for start in starts])
        self._keep(live, len(distinct))
        slots = list(range(len(live), len(live) + len(distinct)))
        logits = self._read(distinct, [0] * len(distinct), slots)
        # One copy of each prompt was read; every row of its group gets one.
        order = [*range(len(live)), *(len(live) + i for i in owner)]
        index = torch.tensor(order, device=self.model.device)
        self._cache.select(index)
        self._logits = torch.cat([self._logits, logits])[index]
        self._states |= {i: self._state(i, slot) for slot, i in enumerate(new, len(live))}
        self._slots = live + new
        return new

    @torch.inference_mode()
    def renew(self, weights: Weights, version: int) -> list[Completion]:
        """Take over new weights while rows are open.

        Keys and values of the old weights would go on to answer for ids that the new ones then
        sample; what was read is read again, so that every log-probability is that of its version.

        Args:
            weights: Of the same model; they are cast to the type it samples in.
            version: Their number, with which ids are marked from now on.

        Returns:
            Turns that ended meanwhile: none here.
        """
        for mine, (_, theirs) in zip(self.model.parameters(), weights, strict=True):
            mine.copy_(theirs)
        forget_packed(self.model)
        self.version = version
        known = [(s, self._rows[i]) for i, s in self._states.items() if s.length]
        for start in range(0, len(known), _REREAD):
            some = known[start : start + _REREAD]
            feeds = [[*row.context, *row.ids][: state.length] for state, row in some]
            slots = [state.slot for state, _ in some]
            self._logits[slots] = self._read(feeds, [0] * len(some), slots)
        return []

    def _state(self, index: int, slot: int) -> _State:
        """Of a row that begins."""
        row = self._rows[index]
        random = np.random.Generator(np.random.Philox(row.seed))
        return _State(random, slot, len(row.context))

    def _read(self, feeds: Sequence[Sequence[int]], starts: Sequence[int], rows: Any) -> Tensor:
        """One forward pass.

        Feeds are padded on the left, so that the last column is every row's last id:

            feeds   [7 8 9], [4]     ids     7 8 9   columns   5 6 7
            starts  5, 2                     . . 4             x x 2    x the trash column

        Args:
            feeds: Ids to read of each row; none where a row only keeps the others company.
            starts: The column of each row's first id.
            rows: Slots of the rows; `None` for all slots.

        Returns:
            Logits after the last id of each row, float32, (R, V).
        """
        width = max(map(len, feeds))
        cache, device = self._cache, self.model.device
        cache.reserve(max(start + len(feed) for start, feed in zip(starts, feeds, strict=True)))
        ids, places, positions = [], [], []
        for feed, start in zip(feeds, starts, strict=True):
            gap, here = width - len(feed), range(start, start + len(feed))
            ids.append([self._pad] * gap + list(feed))
            places.append([cache.trash] * gap + list(here))
            # A query that looks at nothing would be nan; those of padding look at column 0.
            positions.append([0] * gap + list(here))
        cache.places = torch.tensor(places, device=device)
        cache.rows = None if rows is None else torch.tensor(rows, device=device)
        position = torch.tensor(positions, device=device)
        with reading_packed():
            out = self.model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=self._attention_mask(position),
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits: Tensor = out.logits[:, -1].float()
        return logits

    def _attention_mask(self, position_RQ: Tensor) -> Any:
        """Boolean masks, or what is added to scores; by kind of layer where there are two."""

        def mask(window: int | None) -> Tensor:
            seen = visible(position_RQ, self._cache.read, window)
            if self.model.config._attn_implementation != "eager":
                return seen
            zero = torch.zeros(seen.shape, dtype=self.model.dtype, device=seen.device)
            return zero.masked_fill(~seen, torch.finfo(self.model.dtype).min)

        if self._sliding is None or not self._has_full_layers:
            return mask(self._sliding)
        return {"full_attention": mask(None), "sliding_attention": mask(self._sliding)}

    @torch.inference_mode()
    def advance(self) -> list[Completion]:
        """Sample an id for every writing row, then run one forward pass over what is to be read."""
        if not self._rows:
            return []
        ended = self._sample()
        self._forward()
        return ended

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Queue `ids` (tool output) for reading; the row writes on once they are read."""
        self._append(row, ids)
        state = self._states[row]
        state.feed = self._rows[row].context[state.length :]  # an end-of-turn id is unread too
        state.writing = True

    def release(self, row: int) -> None:
        """Forget the row; its place goes when enough others have gone, the cache with the last."""
        super().release(row)
        if row in self._states:
            del self._states[row]
        else:
            self._waiting.remove(row)
        if not self._rows:
            forget_packed(self.model)
            del self._cache, self._logits

    def remaining(self, row: int) -> int:
        """Tokens that the response of `row` may still hold."""
        return self._rows[row].remaining

    def _sample(self) -> list[Completion]:
        """Draw an id for every row that writes and has read all; return the turns that end."""
        # In the order of their slots, which is that of the logits.
        states = ((i, self._states[i]) for i in self._slots if i in self._states)
        writing = [i for i, state in states if state.writing and not state.feed]
        if not writing:
            return []
        slots = [self._states[i].slot for i in writing]
        uniforms = [self._states[i].uniforms.random() for i in writing]
        logits = self._logits if len(slots) == len(self._logits) else self._logits[slots]
        ids, logprobs, entropies = draw(logits, uniforms, self._how)
        ended = []
        for place, i in enumerate(writing):
            row, state, token = self._rows[i], self._states[i], ids[place]
            row.ids.append(token)
            row.logprobs.append(logprobs[place])
            row.entropies += entropies[place : place + 1]
            if self.version is not None:
                row.versions.append(self.version)
            row.remaining -= 1
            finish = self._finish(row, token)
            if finish in (None, FinishReason.STOP):
                state.feed.append(row.ids[-1])
            if finish is not None:
                state.writing = False
                ended.append(self._end_turn(row, finish))
        return ended

    def _finish(self, row: Row, token: int) -> FinishReason | None:
        """Whether and why the turn ends with the id that was just sampled."""
        if token in self.end_ids:
            return FinishReason.EOS
        if token in self._marked and self._closes_call(
            decode(self.tokenizer, [*row.prefix, *row.ids])
        ):
            return FinishReason.STOP
        return FinishReason.LENGTH if row.remaining == 0 else None

    def _forward(self) -> None:
        """Read what is queued: single ids of all rows in one pass, tool output in another."""
        self._compact()
        self._admit()
        queued = [state for state in self._states.values() if state.feed]
        # A pass over some of the rows copies their cache, so rows with one id go all together.
        long = [state for state in queued if len(state.feed) > 1]
        if len(long) < len(queued):
            by_slot = {s.slot: s for s in queued if len(s.feed) == 1}
            slots = [by_slot.get(slot) for slot in range(len(self._slots))]
            logits = self._read(
                [s.feed if s else () for s in slots], [s.length if s else 0 for s in slots], None
            )
            if len(by_slot) == len(slots):
                self._logits = logits
            else:
                fed = list(by_slot)
                self._logits[fed] = logits[fed]
        if long:
            slots_long = [s.slot for s in long]
            starts = [s.length for s in long]
            self._logits[slots_long] = self._read([s.feed for s in long], starts, slots_long)
        for state in queued:
            state.length += len(state.feed)
            state.feed = []

    def _compact(self) -> None:
        """Move rows from the end into the slots of those that are gone, and leave the end out.

        One row's keys and values are copied for each that is gone; to lay the cache anew would copy
        those of all rows, and to carry the gone along would cost a pass as much as the others do.
        """
        gone = [slot for slot, index in enumerate(self._slots) if index not in self._states]
        for slot in gone:
            while self._slots and self._slots[-1] not in self._states:
                self._slots.pop()
            if slot >= len(self._slots):
                break
            index = self._slots[slot] = self._slots.pop()
            last, self._states[index].slot = self._states[index].slot, slot
            self._cache.move(last, slot)
            self._logits[slot] = self._logits[last]
        self._cache.size = len(self._slots)
        self._logits = self._logits[: len(self._slots)]

    def _keep(self, live: list[int], more: int = 0) -> None:
        """Lay the cache anew, with room for these rows and for `more` that begin."""
        slots = [self._states[i].slot for i in live]
        index = torch.tensor(slots, dtype=torch.long, device=self.model.device)
        self._cache.select(index, more)
        self._logits = self._logits[index]
        for slot, i in enumerate(live):
            self._states[i].slot = slot
        self._slots = live

    def _admit(self) -> None:
        """Begin rows that waited; several at a time, since each time copies the cache."""
        room = self._limit - len(self._states)
        if not self._waiting or room < min(len(self._waiting), max(1, self._limit // 4)):
            return
        new, self._waiting = self._waiting[:room], self._waiting[room:]
        live = [index for index in self._slots if index in self._states]
        self._keep(live, len(new))
        slots = list(range(len(live), len(live) + len(new)))
        for i, slot in zip(new, slots, strict=True):
            self._states[i] = self._state(i, slot)
        self._slots = live + new
        logits = self._read([self._rows[i].context for i in new], [0] * len(new), slots)
        self._logits = torch.cat([self._logits, logits])


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
