"""The protocol between the rollout engine and anything that writes text token by token."""

from collections.abc import Sequence
from typing import Protocol

from agents.core.types import Completion, Sampling


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
