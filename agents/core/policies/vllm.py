"""vLLM as a policy: ids in, ids and log-probabilities out.

Each turn is one request, or a few, whose prompt is all ids so far, so that prefix caching stands in
for a cache kept across the tool. The engine stops at every text that may end a call; where none
ends there, the turn goes on by another request. A turn thus ends at the same id as one of the
transformers policy. Three engines fit: an asynchronous one and one stepped inside of this process
(`vllm_engines`), and a server (`vllm_served`).
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.core.policies.base import Row, RowPolicy, RowStart, Weights
from agents.core.rollout.prompts import decode
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser, closes_tool_call
from torl_env.parsing.fenced import FencedParser, ends_of_calls


@dataclass(frozen=True, slots=True)
class Request:
    """What an engine is asked for."""

    name: int
    """No other request has it."""
    ids: Sequence[int]
    """The prompt."""
    how: Sampling
    remaining: int
    """Most ids to sample."""
    seed: int
    stop: Sequence[str]
    """Strings after which to stop; they stay in the text."""
    ends: Sequence[int] = ()
    """Ids after which to stop; they stay among the ids."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine has sampled."""

    name: int
    """Of the request."""
    ids: Sequence[int]
    logprobs: Sequence[float]
    """Of each id under the distribution it was sampled from."""
    full: bool
    """Whether `remaining` ids were sampled."""


class Engine(Protocol):
    """Samples for many requests at a time."""

    @property
    def window(self) -> int | None:
        """Ids that prompt and response may take together, where it is known."""
        ...

    def ask(self, request: Request) -> None:
        """Take a request."""
        ...

    def answers(self) -> list[Answer]:
        """Do one unit of work or wait for one; what has come of it, possibly nothing.

        It is called only while a request is unanswered.
        """
        ...

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Take over weights by the names they have in the model, and forget cached prefixes."""
        ...

    def close(self) -> None:
        """Let go of whatever the engine holds."""
        ...


class VLLMPolicy(RowPolicy):
    """Samples with an engine; rows never wait for each other.

    Args:
        engine: Does the work.
        tokenizer: The model's.
        closes_call: Whether a turn's text ends with a finished tool call; the turn stops there.
            `closes_tool_call` itself stands for the style of whatever environment is played.
        stop: Strings that every finished call ends with one of; by default those of its style.
        ends: Ids that end an answer; by default the tokenizer's end-of-sequence token alone.
        chunk: Most ids of one request, so that weights can change after so many: no request is
            ever answered by two versions. By default a request may take all of a turn.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Any,
        closes_call: Callable[[str], bool] = closes_tool_call,
        *,
        stop: Sequence[str] | None = None,
        ends: Collection[int] | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(tokenizer, closes_call, ends, fixed_stop=stop is not None)
        self.engine, self.chunk = engine, chunk
        self._held: list[int] | None = None
        """Rows that wait for new weights, while these are on their way."""
        self._stop = ends_of_calls(FencedParser()) if stop is None else tuple(stop)
        self.requests: dict[int, int] = {}
        """The row of each request that is unanswered."""
        self._names = itertools.count()
        self._continued: dict[int, int] = {}
        """How many requests each row has made, so that each draws from a seed of its own."""

    overlaps = True
    """Rollouts leave rows behind whose tool is slow, by default."""

    def _stop_at(self, parser: Parser) -> None:
        self._stop = ends_of_calls(parser)

    def open(self, starts: Sequence[RowStart], how: Sampling) -> None:
        """Ask for the first turn of every row.

        Raises:
            RuntimeError: Rows of the last batch were never released.
            ValueError: Prompt and response exceed the engine's window.
        """
        self._open_rows(starts, how, self.engine.window)
        self._continued = dict.fromkeys(self._rows, 0)
        for row in self._rows:
            self._ask(row)

    def join(self, starts: Sequence[RowStart], how: Sampling) -> list[int]:
        """Ask for the first turn of rows that begin beside those that are open; their numbers."""
        new = self._add_rows(starts, how, self.engine.window)
        for row in new:
            self._continued[row] = 0
            self._ask(row)
        return new

    def renew(self, weights: Weights, version: int) -> list[Completion]:
        """Let the requests that are out end, take over weights, and go on.

        Returns:
            Turns that ended meanwhile.
        """
        self._held, ended = [], []
        while self.requests:
            ended += self.advance()
        self.load_weights(weights)
        self.version = version
        waiting, self._held = self._held, None
        for row in waiting:
            self._ask(row)
        return ended

    def _ask(self, index: int) -> None:
        if self._held is not None:
            self._held.append(index)
            return
        row, name = self._rows[index], next(self._names)
        seed = (row.seed + self._continued[index]) % 2**63
        self._continued[index] += 1
        self.requests[name] = index
        ids = [*row.context, *row.ids]
        ends = tuple(sorted(self.end_ids))
        most = min(row.remaining, self.chunk or row.remaining)
        self.engine.ask(Request(name, ids, self._how, most, seed, self._stop, ends))

    def advance(self) -> list[Completion]:
        """Turns that have come."""
        if not self.requests:
            return []
        ended = [self._take(answer) for answer in self.engine.answers()]
        return sorted((c for c in ended if c is not None), key=lambda completion: completion.row)

    def _take(self, answer: Answer) -> Completion | None:
        """Note what was sampled; `None` where the turn has to go on."""
        index = self.requests.pop(answer.name)
        row = self._rows[index]
        row.ids += answer.ids
        row.logprobs += answer.logprobs
        if self.version is not None:
            row.versions += [self.version] * len(answer.ids)
        row.remaining -= len(answer.ids)
        finish = self._finish(row, answer)
        if finish is None:
            self._ask(index)
            return None
        return self._end_turn(row, finish)

    def _finish(self, row: Row, answer: Answer) -> FinishReason | None:
        if row.ids and row.ids[-1] in self.end_ids:
            return FinishReason.EOS
        if self._closes_call(decode(self.tokenizer, [*row.prefix, *row.ids])):
            return FinishReason.STOP
        full = answer.full and self.chunk is None
        return FinishReason.LENGTH if full or row.remaining <= 0 else None

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Append tool output and ask for the row's next turn."""
        self._append(row, ids)
        self._ask(row)

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Take over the weights of a model in training, `model.named_parameters()`."""
        self.engine.load_weights(weights)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()
