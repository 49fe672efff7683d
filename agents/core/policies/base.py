"""The protocol between the rollout engine and anything that writes text token by token.

`RowPolicy` keeps the books that policies share: which rows there are, how many ids each may still
take, where a turn ends.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.core.policies.stopping import StoppingCriterion, end_ids, is_default
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that rollouts use."""

    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]:
        """Ids of `text`."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = ...) -> str:
        """Text of `ids`."""
        ...


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

    def open(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        *,
        prefix_lengths: Sequence[int] | None = None,
        remaining_tokens: Sequence[int] | None = None,
    ) -> None:
        """Start one row per prompt; row i draws from a random stream fixed by `seeds[i]` alone.

        Args:
            prompts: Ids that each row begins with.
            seeds: Of each row's random stream.
            how: How to sample.
            prefix_lengths: How many ids at the end of each prompt are the beginning of the row's
                first turn, where an episode goes on from inside a turn; none by default.
            remaining_tokens: Tokens that each row may still take; `how.max_tokens` by default.
        """
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

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless made with a rule of one's own."""
        if self._adapts:
            self._closes_call = StoppingCriterion(parser)
            self._stop_at(parser)

    def _stop_at(self, parser: Parser) -> None:
        """What else depends on the style of calls."""

    def _open_rows(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        prefix_lengths: Sequence[int] | None,
        remaining_tokens: Sequence[int] | None,
        window: int | None,
    ) -> None:
        """Begin a batch.

        Raises:
            RuntimeError: Rows of the last batch were never released.
            ValueError: A prompt and its response exceed the window.
        """
        if self._rows:
            raise RuntimeError(f"{len(self._rows)} rows of the last batch were never released")
        prefixes = prefix_lengths or [0] * len(prompts)
        limits = remaining_tokens or [how.max_tokens] * len(prompts)
        longest = max(len(p) + limit for p, limit in zip(prompts, limits, strict=True))
        if window is not None and longest > window:
            raise ValueError(
                f"a prompt of up to {max(map(len, prompts))} tokens and its response take "
                f"{longest} tokens, the window is {window}: lower --max-tokens or leave long "
                "problems out"
            )
        self._how = how
        self._rows = {
            i: Row(i, list(prompt), seeds[i], limits[i], tuple(prompt[len(prompt) - prefixes[i] :]))
            for i, prompt in enumerate(prompts)
        }

    def _end_turn(self, row: Row, finish: FinishReason) -> Completion:
        """The turn as sampled; its ids become context."""
        done = Completion(row.index, row.ids, row.logprobs, finish)
        row.context += row.ids
        row.ids, row.logprobs, row.prefix = [], [], ()
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
