"""Where a sampler stops: at an end token, or at the end of a tool call in the style in use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

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


def is_default(closes_call: Callable[[str], bool]) -> bool:
    """Whether this is `closes_tool_call`, with a parser or without, and no rule of one's own."""
    plain = closes_call.func if isinstance(closes_call, partial) else closes_call
    return plain is closes_tool_call or isinstance(plain, StoppingCriterion)


def end_ids(tokenizer: Any, generation_config: Any = None) -> frozenset[int]:
    """Every id that ends an answer.

    A tokenizer names one; `generation_config` may declare more. Gemma ends a turn with
    `<end_of_turn>` and Phi-3 with `<|end|>`, neither of which is the tokenizer's end of sequence;
    a Qwen base model under a chat template writes `<|im_end|>`. A sampler that knows the
    tokenizer's alone lets such answers run on to the token limit.

    Args:
        tokenizer: With `eos_token_id`.
        generation_config: Of the model, whose `eos_token_id` is one id, several or `None`.

    Example:
        >>> from types import SimpleNamespace as Config
        >>> sorted(end_ids(Config(eos_token_id=1), Config(eos_token_id=[1, 106])))
        [1, 106]
    """
    declared = getattr(generation_config, "eos_token_id", None)
    found = declared if isinstance(declared, list | tuple) else [declared]
    return frozenset(i for i in (tokenizer.eos_token_id, *found) if i is not None)
