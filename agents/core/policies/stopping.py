"""Where a sampler stops: at the end of a tool call, in whatever style the environment reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from torl_env import Parser, closes_tool_call
from torl_env.parsing.fenced import FencedParser


@dataclass(frozen=True, slots=True)
class StoppingCriterion:
    r"""Whether a turn's text ends with a finished tool call, as this parser reads it.

    Example:
        >>> criterion = StoppingCriterion(FencedParser())
        >>> criterion("```python\nprint(1)\n```"), criterion.marker
        (True, '`')
    """

    parser: Parser

    def __call__(self, text: str) -> bool:
        """Whether to stop after `text`."""
        return closes_tool_call(text, self.parser)

    @property
    def marker(self) -> str:
        """Characters of which the last id of a call holds one, so that other ids need no look."""
        if isinstance(self.parser, FencedParser):
            return "`"
        return "".join(sorted({stop.rstrip()[-1] for stop in self.parser.stop if stop.strip()}))


@runtime_checkable
class Adaptive(Protocol):
    """A policy that can be told how the environment reads calls."""

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless the policy was made with a rule of its own."""
        ...


def is_default(closes_call: Callable[[str], bool]) -> bool:
    """Whether this is `closes_tool_call`, with a parser or without, and no rule of one's own."""
    plain = closes_call.func if isinstance(closes_call, partial) else closes_call
    return plain is closes_tool_call or isinstance(plain, StoppingCriterion)


def set_parser(policy: object, parser: Parser) -> None:
    """Tell a policy that can be told; one with a stopping rule of its own keeps that."""
    if isinstance(policy, Adaptive):
        policy.set_parser(parser)
