"""Every option of the environment, in one frozen dataclass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from rewards import Reward
from rewards.types import Grade
from torl_env.parsing.fenced import Parser
from torl_env.parsing.styles import resolve_parser
from torl_env.sandbox.types import Limits
from torl_env.tools.types import Tool

Grader = Callable[[str, str], Grade]
"""`grader(response, reference)`: reads the model's own text, without its code."""


class OverBudget(StrEnum):
    """What a tool call does when the budget is used up."""

    IGNORE = "ignore"
    """Nothing runs and the turn goes on as text (ToRL, section 3.2)."""
    NOTICE = "notice"
    """Nothing runs and the model is told so."""
    END = "end"
    """The episode is truncated."""


class ErrorFormat(StrEnum):
    """How much of a traceback the model sees."""

    LAST_LINE = "last_line"
    """`NameError: name 'a' is not defined`, as in ToRL."""
    TRACEBACK = "traceback"


class OnTimeout(StrEnum):
    """What a call does that ran into a time limit."""

    OBSERVE = "observe"
    """The model is told and goes on."""
    END = "end"
    """The episode is truncated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvConfig:
    """Options of one environment; every one is also a keyword of `gym.make`.

    Raises:
        ValueError: A value is out of range, or two options contradict each other.

    Example:
        >>> EnvConfig(tool_budget=2).tool_budget
        2
        >>> EnvConfig(tool_budget=4, max_turns=4)
        Traceback (most recent call last):
            ...
        ValueError: max_turns must exceed tool_budget, or the model cannot answer after its last \
call: got max_turns=4, tool_budget=4
    """

    tool_budget: int = 1
    """C of ToRL: tool calls per episode; 0 is reasoning without tools."""
    max_turns: int = 16
    """Turns of the model; a call in the last one does not run and truncates the episode."""
    over_budget: OverBudget = OverBudget.IGNORE
    output_limit: int = 256
    """Longest output shown, in units of `length`; head and tail are kept. ToRL, THOR: 256."""
    max_response: int = 262_144
    """Longest response, in units of `length`; a longer one is truncated. Samplers stop earlier."""
    length: Callable[[str], int] = len
    """What limits on text count: characters, or tokens with `lambda text: len(tokenizer(text))`."""
    error_format: ErrorFormat = ErrorFormat.LAST_LINE
    on_timeout: OnTimeout = OnTimeout.OBSERVE
    stateful: bool = False
    """Whether variables live from one call to the next within an episode."""
    limits: Limits = field(default_factory=Limits)
    parser: str | Parser = "fenced"
    """`fenced`, `xml`, `hermes` or an object."""
    tools: tuple[Tool, ...] | None = None
    """The tools a model may call; `None` is Python alone."""
    reward: str | Reward = "torl"
    """A preset of `rewards`, or an object."""
    grader: Grader | None = None
    """What decides on an answer; `None` is `rewards.grade`."""
    prompt: str = "{question}"
    """The first observation, `{question}` replaced."""

    def __post_init__(self) -> None:
        for name, enum in (
            ("over_budget", OverBudget),
            ("error_format", ErrorFormat),
            ("on_timeout", OnTimeout),
        ):
            object.__setattr__(self, name, _member(enum, name, getattr(self, name)))
        if self.tools is not None:
            object.__setattr__(self, "tools", tuple(self.tools))
        for name, least in (
            ("tool_budget", 0),
            ("max_turns", 1),
            ("output_limit", 16),
            ("max_response", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.max_turns <= self.tool_budget:
            raise ValueError(
                "max_turns must exceed tool_budget, or the model cannot answer after its last "
                f"call: got max_turns={self.max_turns}, tool_budget={self.tool_budget}"
            )
        resolve_parser(self.parser, self.tools)
        if "{question}" not in self.prompt:
            raise ValueError(f"prompt must contain '{{question}}', got {self.prompt!r}")


def _member(enum: type[StrEnum], name: str, value: str) -> StrEnum:
    try:
        return enum(value)
    except ValueError:
        choices = ", ".join(repr(str(member)) for member in enum)
        raise ValueError(f"{name} must be one of {choices}, got {value!r}") from None
