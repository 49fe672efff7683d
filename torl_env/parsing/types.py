"""What a turn of the model can be, and what a style of writing calls offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class ActionKind(StrEnum):
    """What the env took an action for; `info["action_kind"]`."""

    NONE = ""
    """No action yet: the info of a reset."""
    TOOL = "tool"
    """A call that ran."""
    MALFORMED = "malformed"
    """A call that could not be read or names no tool; it counts as a failed call."""
    OVER_BUDGET = "over_budget"
    """A call that did not run because the budget of calls was used up."""
    UNFINISHED = "unfinished"
    """Neither a call nor final yet: the sampler was stopped by accident and goes on."""
    FINAL = "final"
    CUT = "cut"
    """The sampler ran into a length limit in the middle of the turn."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a turn asks for."""

    name: str
    body: str
    """The raw text of the call: the program of a fenced block."""
    arguments: Mapping[str, Any] | None = None
    """Named arguments where the style has them; `None` when `body` is all there is."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A turn that ends with a call that cannot be read."""

    reason: str
    """One sentence for the model."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A turn that a stop string ended too early."""


Reading = ToolCall | Malformed | Unfinished | None
"""What a parser says of a turn; `None` is final."""


@runtime_checkable
class Parser(Protocol):
    """One style of writing tool calls."""

    stop: tuple[str, ...]
    """Strings after which a sampler should stop, kept in its text."""

    def parse(self, turn: str) -> Reading:
        """Read one whole turn."""
        ...

    def prose(self, turn: str) -> str:
        """The turn without its calls and without what pretends to be their output."""
        ...

    def frame(self, turn: str, body: str) -> str:
        """The text to append to `turn` so that the model reads `body` as the tool's output."""
        ...
