"""Keys and values of rows that grow at different times, each row without gaps.

A cache of transformers appends the same columns to every row, so a row that waits for its tool
would collect columns to be masked: they cost attention, a sliding window counts them, and every
pass copies all of the cache to make room for one column. Here each row has its ids in columns 0, 1,
2, ... of one block that is written in place: a column *is* a position, tool output of any length
is read in one pass, and a waiting row takes no space.

    row 0   P P P P s s s T T T s s . . x      P prompt, s sampled, T tool output
    row 1   P P s s s . . . . . . . . . x      x the trash column: rows that only keep the others
                                                 company in a pass write there
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from torl_env.machine import free_memory_bytes

BLOCK = 64
"""Columns come in multiples of so many; making room copies the cache, one layer after the other."""

UNDECLARED = {
    "bloom": "ALiBi",
    "mpt": "ALiBi",
    "gpt_neo": "local attention",
    "rwkv": "recurrent state",
}
"""What old families do that their configurations do not declare as kinds of layers."""


class UnsupportedModelError(ValueError):
    """This sampler cannot run a model of this kind; the message says what can."""


def sliding_window(config: Any) -> tuple[int | None, bool]:
    """The window of the layers that have one, and whether others attend to the whole text.

    Raises:
        UnsupportedModelError: Some layers keep something else than keys and values of each id, such
            as the state of a recurrence: waiting for a tool would change it.
    """
    text = config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ())
    layers = DynamicCache(config=config).layers
    strange = {type(layer).__name__ for layer in layers} - {
        DynamicLayer.__name__,
        DynamicSlidingWindowLayer.__name__,
    }
    strange |= kinds - {"full_attention", "sliding_attention"}
    if getattr(text, "alibi", False) or text.model_type in UNDECLARED:
        strange.add(UNDECLARED.get(text.model_type, "ALiBi"))
    if strange:
        raise UnsupportedModelError(
            f"the transformers sampler cannot run {text.model_type} ({', '.join(sorted(strange))}):"
            " it keeps keys and values of each id, in full or in a sliding window. Use --policy "
            "vllm"
        )
    windows = {x.sliding_window for x in layers if isinstance(x, DynamicSlidingWindowLayer)}
    whole = any(type(layer) is DynamicLayer for layer in layers)
    return (min(windows) if windows else None), whole


class RowCache(Cache):  # type: ignore[misc]
    """See the first lines of this file.

    Args:
        layers: How many layers of the model keep keys and values.
        columns: That rows begin with; more are added when needed.
        whole: Read all columns there are in every pass, and mask those that hold nothing yet.
            Products of bfloat16 on a CPU copy a part of a cache before they read it, which takes
            twice the time that reading all of it does.
    """

    def __init__(self, layers: int, columns: int, *, whole: bool = False) -> None:
        super().__init__(layers=[_RowLayer(self) for _ in range(layers)])
        self.columns = _rounded(columns)
        self._whole = whole
        self.rows: Tensor | None = None
        """Rows of the next pass, (R,); `None` for all of them."""
        self.places: Tensor
        """Columns that the next pass writes, (R, Q)."""
        self.read = 0
        """Columns that the next pass reads."""
        self.size: int | None = None
        """Rows that are in use, the first ones; `None` for all that there are."""

    @property
    def trash(self) -> int:
        """The last column, which is written but never read."""
        return self.columns - 1

    def reserve(self, columns: int) -> None:
        """Make room for so many columns, which the next pass reads."""
        if columns >= self.columns:
            self.columns = _rounded(columns)
            for layer in self.layers:
                layer.widen(self.columns)
        self.read = self.columns if self._whole else columns

    def move(self, source: int, target: int) -> None:
        """Put a row in the place of another, which is gone."""
        for layer in self.layers:
            layer.keys[target], layer.values[target] = layer.keys[source], layer.values[source]

    def select(self, rows: Tensor, more: int = 0) -> None:
        """Keep these rows, in this order; one may come several times. Add `more` empty ones."""
        self.size = None
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
            if more:
                # Not `empty`, see below.
                gap = (0, 0, 0, 0, 0, 0, 0, more)
                layer.keys = torch.nn.functional.pad(layer.keys, gap)
                layer.values = torch.nn.functional.pad(layer.values, gap)


def rows_that_fit(model: Any, columns: int, free: float | None = None) -> int:
    """Rows whose keys and values, and the logits drawn from, have room beside the model.

    Args:
        model: On its device, in the type it samples in.
        columns: Ids of a row, at most.
        free: Bytes there are; by default what the device, or the machine, says is free.
    """
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cell = torch.finfo(model.dtype).bits // 8
    cache = 2 * config.num_hidden_layers * heads * size * cell * _rounded(columns)
    # Logits, their exponentials and a copy, in float32.
    row = cache + 12 * config.vocab_size
    # Compaction and growth copy the cache, one layer after the other; passes take some, too.
    room = 0.6 * (free_bytes(model.device) if free is None else free)
    return max(1, int(min(room / row, 1e9)))


def free_bytes(device: torch.device) -> float:
    """Bytes that the device, or the machine, says are free."""
    if device.type == "cuda":
        # What torch has reserved and holds nothing is free to it as well.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + idle)
    return free_memory_bytes()


def _rounded(columns: int) -> int:
    """Columns of a block that has room for so many and the trash column."""
    return -(-(columns + 1) // BLOCK) * BLOCK


class _RowLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer: keys and values of shape (B, heads, columns, size of a head)."""

    is_sliding = False

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        def empty(like: Tensor) -> Tensor:
            shape = (*like.shape[:2], self._cache.columns, like.shape[3])
            # Not `empty`: what is masked is still multiplied by 0, and 0 times nan is nan.
            return torch.zeros(shape, dtype=like.dtype, device=like.device)

        self.keys, self.values = empty(key_states), empty(value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache, read = self._cache, slice(0, self._cache.read)
        used = len(self.keys) if cache.size is None else cache.size
        rows = torch.arange(used).to(cache.places) if cache.rows is None else cache.rows
        # (R, 1) and (R, Q) pick (R, Q) places, each a (heads, size) slice: hence the transposition.
        place = (rows[:, None], slice(None), cache.places)
        self.keys[place] = key_states.transpose(1, 2)
        self.values[place] = value_states.transpose(1, 2)
        if cache.rows is None:
            return self.keys[:used, :, read], self.values[:used, :, read]
        return self.keys[rows][:, :, read], self.values[rows][:, :, read]

    def widen(self, columns: int) -> None:
        if self.is_initialized:
            gap = (0, 0, 0, columns - self.keys.shape[2])
            self.keys = torch.nn.functional.pad(self.keys, gap)
            self.values = torch.nn.functional.pad(self.values, gap)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.read, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        # Its name before transformers 5.11, which verl needs; abstract there.
        return -1


def visible(places_RQ: Tensor, columns: int, window: int | None = None) -> Tensor:
    """Which columns each query may look at, (R, 1, Q, columns): its own and those before it.

    Args:
        places_RQ: The column, which is the position, of each query.
        columns: That there are to read.
        window: Of a sliding attention: so many columns, the query's own included.

    Example:
        >>> visible(torch.tensor([[2]]), 4, window=2)[0, 0].tolist()
        [[False, True, True, False]]
    """
    column = torch.arange(columns, device=places_RQ.device)
    at = places_RQ[:, None, :, None]
    seen = column <= at
    return seen if window is None else seen & (column > at - window)
