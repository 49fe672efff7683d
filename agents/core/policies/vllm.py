"""vLLM as a policy: ids in, ids and log-probabilities out.

Each turn is one request, or a few, whose prompt is all ids so far, so that prefix caching stands in
for a cache kept across the tool. The engine stops at every text that may end a call; where none
ends there, the turn goes on by another request. A turn thus ends at the same id as one of the
transformers policy. Three engines fit: an asynchronous one and one stepped inside of this process
(`vllm_engines`), and a server (`vllm_served`).
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.core.policies.base import Tokenizer
from agents.core.policies.stopping import StoppingCriterion, is_default
from agents.core.rollout.prompts import decode
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser, closes_tool_call
from torl_env.parsing.fenced import FencedParser


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


@dataclass(slots=True)
class _Row:
    prompt: list[int]
    """All ids before those of the present turn that were sampled here."""
    seed: int
    remaining: int
    prefix: Sequence[int] = ()
    """Ids of the prompt that the present turn begins with."""
    asked: int = 0
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class VLLMPolicy:
    """Samples with an engine; rows never wait for each other.

    Args:
        engine: Does the work.
        tokenizer: The model's.
        closes_call: Whether a turn's text ends with a finished tool call; the turn stops there.
            `closes_tool_call` itself stands for the style of whatever environment is played.
        stop: Strings that every finished call ends with one of; by default those of its style.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        closes_call: Callable[[str], bool] = closes_tool_call,
        *,
        stop: Sequence[str] | None = None,
    ) -> None:
        self.tokenizer: Any = tokenizer
        self.engine = engine
        self._closes_call = closes_call
        self._default_stop = stop is None and is_default(closes_call)
        self._stop = ends_of_calls(FencedParser()) if stop is None else tuple(stop)
        self._rows: dict[int, _Row] = {}
        self._asked: dict[int, int] = {}
        self._names = itertools.count()

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless made with a rule of its own."""
        if self._default_stop:
            self._closes_call = StoppingCriterion(parser)
            self._stop = ends_of_calls(parser)

    def open(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        *,
        prefix_lengths: Sequence[int] | None = None,
        remaining_tokens: Sequence[int] | None = None,
    ) -> None:
        """Ask for the first turn of every row.

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
        for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            prefix = tuple(prompt[len(prompt) - prefix_lengths[i] :])
            self._rows[i] = _Row(list(prompt), seed, remaining_tokens[i], prefix)
            self._ask(i)

    def _check_window(
        self, prompts: Sequence[Sequence[int]], remaining_tokens: Sequence[int]
    ) -> None:
        window = self.engine.window
        longest = max(
            len(p) + remaining for p, remaining in zip(prompts, remaining_tokens, strict=True)
        )
        if window is not None and longest > window:
            raise ValueError(
                f"a prompt of up to {max(map(len, prompts))} tokens and its response take "
                f"{longest} tokens, the window of the engine is {window}: lower --max-tokens or "
                "leave long problems out"
            )

    def _ask(self, index: int) -> None:
        row, name = self._rows[index], next(self._names)
        ids, seed = [*row.prompt, *row.ids], (row.seed + row.asked) % 2**63
        row.asked += 1
        self._asked[name] = index
        self.engine.ask(Request(name, ids, self._how, row.remaining, seed, self._stop))

    def advance(self) -> list[Completion]:
        """Turns that have come."""
        if not self._asked:
            return []
        ended = [self._book(answer) for answer in self.engine.answers()]
        return sorted((c for c in ended if c is not None), key=lambda completion: completion.row)

    def _book(self, answer: Answer) -> Completion | None:
        """Note what was sampled; `None` where the turn has to go on."""
        index = self._asked.pop(answer.name)
        row = self._rows[index]
        row.ids += answer.ids
        row.logprobs += answer.logprobs
        row.remaining -= len(answer.ids)
        finish = self._finish(row, answer)
        if finish is None:
            self._ask(index)
            return None
        done = Completion(index, row.ids, row.logprobs, finish)
        row.prompt, row.ids, row.logprobs = [*row.prompt, *row.ids], [], []
        return done

    def _finish(self, row: _Row, answer: Answer) -> FinishReason | None:
        if row.ids and row.ids[-1] == self.tokenizer.eos_token_id:
            return FinishReason.EOS
        if self._closes_call(decode(self.tokenizer, [*row.prefix, *row.ids])):
            return FinishReason.STOP
        return FinishReason.LENGTH if answer.full or row.remaining <= 0 else None

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Append tool output and ask for the row's next turn."""
        state = self._rows[row]
        if len(ids) >= state.remaining:
            raise ValueError(
                f"{len(ids)} ids do not fit into the {state.remaining} left of row {row}"
            )
        state.prompt += ids
        state.remaining -= len(ids)
        state.prefix = ()
        self._ask(row)

    def release(self, row: int) -> None:
        """Forget the row."""
        del self._rows[row]

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Take over the weights of a model in training, `model.named_parameters()`."""
        self.engine.load_weights(weights)

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def ends_of_calls(parser: Parser) -> tuple[str, ...]:
    r"""Strings that every finished call ends with one of.

    Unlike `Parser.stop` nothing may be left to come after a call: a model that has seen only
    outputs after a closing fence would have to write a line break that it was never shown.

    Example:
        >>> ends_of_calls(FencedParser())
        ('```',)
    """
    return ("```",) if isinstance(parser, FencedParser) else tuple(s.strip() for s in parser.stop)
