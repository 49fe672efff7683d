"""The protocol between the rollout engine and anything that writes text token by token.

`RowPolicy` keeps the books that policies share: which rows there are, how many ids each may still
take, where a turn ends.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.core.policies.stopping import StoppingCriterion, end_ids, is_default
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser

Weights = Iterable[tuple[str, Any]]
"""Tensors by the names that they have in a model: `model.named_parameters()`, in its order."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that rollouts use."""

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]:
        """Ids of `text`."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = ...) -> str:
        """Text of `ids`."""
        ...


@dataclass(frozen=True, slots=True)
class RowStart:
    """Where a row begins: at a prompt, or inside an episode that goes on."""

    ids: Sequence[int]
    """The prompt, and what the episode has of ids behind it."""
    seed: int = 0
    """Of the row's random stream."""
    prefix_length: int = 0
    """How many ids at the end are the beginning of the first turn to write."""
    max_tokens: int | None = None
    """Ids that the response may still take, tool output included; by default those of `Sampling`.
    """

    def remaining(self, how: Sampling) -> int:
        """Ids that the response may still take."""
        return how.max_tokens if self.max_tokens is None else self.max_tokens


class Policy(Protocol):
    """Writes turns for many rows at once; a row is one episode.

    The engine opens a batch of rows, then alternates `advance` with `resume` (after tool output) or
    `release` (episode over) until every row is released. Ids passed in are kept as they are and ids
    handed out are the ones sampled, so that nothing is ever re-tokenised.

    A policy may also have `set_parser(parser)`, called before `open`: it then ends its turns where
    that parser sees a call.
    """

    @property
    def tokenizer(self) -> Tokenizer:
        """Between text and ids, both ways."""
        ...

    def open(self, starts: Sequence[RowStart], how: Sampling) -> None:
        """Start rows 0, 1, ...; each draws from a random stream fixed by its seed alone."""
        ...

    def advance(self) -> list[Completion]:
        """Do one unit of work and return the turns that ended in it, `[]` when none did."""
        ...

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Append `ids` that the policy did not sample and let the row write its next turn."""
        ...

    def release(self, row: int) -> None:
        """Drop the row and its cache."""
        ...


@dataclass(slots=True)
class Row:
    """One episode as its policy sees it."""

    index: int
    context: list[int]
    """All ids before those of the present turn that were sampled here."""
    seed: int
    remaining: int
    """Ids, sampled or tool output, that this response may still take."""
    prefix: Sequence[int] = ()
    """Ids at the end of `context` that the present turn begins with."""
    ids: list[int] = field(default_factory=list)
    """Sampled in the present turn."""
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    """Empty unless asked for."""
    versions: list[int] = field(default_factory=list)
    """Of the weights that sampled them, where the policy has one."""


class RowPolicy:
    """The books of a policy: its rows, their limits, where their turns end.

    Args:
        tokenizer: Between text and ids.
        closes_call: Whether a turn's text ends with a finished tool call; the turn stops there.
            `closes_tool_call` itself stands for the style of whatever environment is played.
        ends: Ids that end an answer; by default the tokenizer's end-of-sequence token alone.
        fixed_stop: Keep `closes_call`, whatever environment is played.
    """

    def __init__(
        self,
        tokenizer: Any,
        closes_call: Callable[[str], bool],
        ends: Collection[int] | None = None,
        *,
        fixed_stop: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.end_ids = end_ids(tokenizer) if ends is None else frozenset(ends)
        if not self.end_ids:
            raise ValueError("the tokenizer has no end-of-sequence token: no answer could ever end")
        self._closes_call = closes_call
        self._adapts = not fixed_stop and is_default(closes_call)
        self._rows: dict[int, Row] = {}
        self.version: int | None = None
        """Of the weights, where these change while rows are open; every id is then marked."""

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless made with a rule of one's own."""
        if self._adapts:
            self._closes_call = StoppingCriterion(parser)
            self._stop_at(parser)

    def _stop_at(self, parser: Parser) -> None:
        """What else depends on the style of calls."""

    def _open_rows(self, starts: Sequence[RowStart], how: Sampling, window: int | None) -> None:
        """Begin a batch.

        Raises:
            RuntimeError: Rows of the last batch were never released.
            ValueError: A prompt and its response exceed the window.
        """
        if self._rows:
            raise RuntimeError(f"{len(self._rows)} rows of the last batch were never released")
        self._add_rows(starts, how, window)

    def _add_rows(self, starts: Sequence[RowStart], how: Sampling, window: int | None) -> list[int]:
        """Begin rows beside those that are open; returns their numbers.

        Raises:
            ValueError: A prompt and its response exceed the window.
        """
        longest = max(len(start.ids) + start.remaining(how) for start in starts)
        if window is not None and longest > window:
            raise ValueError(
                f"a prompt of up to {max(len(s.ids) for s in starts)} tokens and its response take "
                f"{longest} tokens, the window is {window}: lower --max-tokens or leave long "
                "problems out"
            )
        self._how = how
        first = max(self._rows, default=-1) + 1
        added = {
            i: Row(
                index=i,
                context=list(start.ids),
                seed=start.seed,
                remaining=start.remaining(how),
                prefix=tuple(start.ids[len(start.ids) - start.prefix_length :]),
            )
            for i, start in enumerate(starts, first)
        }
        self._rows |= added
        return list(added)

    def _end_turn(self, row: Row, finish: FinishReason) -> Completion:
        """The turn as sampled; its ids become context."""
        done = Completion(
            *(row.index, row.ids, row.logprobs, finish),
            entropies=row.entropies,
            versions=row.versions,
        )
        row.context += row.ids
        row.ids, row.logprobs, row.entropies, row.versions = [], [], [], []
        row.prefix = ()
        return done

    def _append(self, index: int, ids: Sequence[int]) -> Row:
        """Note tool output.

        Raises:
            ValueError: It leaves no room for another id of the policy.
        """
        row = self._rows[index]
        if len(ids) >= row.remaining:
            raise ValueError(
                f"{len(ids)} ids do not fit into the {row.remaining} left of row {index}"
            )
        row.context += ids
        row.remaining -= len(ids)
        return row

    def release(self, row: int) -> None:
        """Forget the row."""
        del self._rows[row]
