"""What a turn of the model can be, and what a style of writing calls offers."""

from collections.abc import Mapping, Sequence
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
    """A turn that ends with a call nobody can read."""

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


class TagStyle:
    r"""A style whose calls are named by their first line or tag, and whose output has a frame.

    Example:
        >>> style = TagStyle()
        >>> style.opening, style.closing = "<output>", "</output>"
        >>> style.frame("<python>1</python>", "1")
        '\n<output>\n1\n</output>\n'
        >>> style.frame("<python>1</python>\n<output>\n", "1")
        '1\n</output>\n'
    """

    opening: str
    """First line of an output."""
    closing: str
    """Its last line."""
    spelling: str
    """A call, with `{name}` for its tool."""
    how: str
    """One sentence for the model on how to call."""

    def describe(self, schemas: Sequence[Mapping[str, Any]]) -> str:
        """The tools, a line each, and how they are called, for a system text."""
        tools = [one["function"] for one in schemas]
        lines = [
            f"- {self.spelling.format(name=tool['name'])}: {tool['description']} "
            f"Inside: {_arguments(tool['parameters']['properties'])}"
            for tool in tools
        ]
        return "\n".join([self.how, *lines])

    def frame(self, turn: str, body: str) -> str:
        """The output on lines of its own, without its opening line where the turn has written it.

        The sampler may have stopped before or behind that line: the transcript has it once.
        """
        newline = "" if turn.endswith("\n") else "\n"
        start = "" if turn.rstrip().endswith(self.opening) else f"{self.opening}\n"
        return f"{newline}{start}{body}\n{self.closing}\n"


def _arguments(properties: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands inside a call that has no names: the one text, or a JSON object."""
    said = [
        f"{name} ({detail})" if detail else name
        for name, one in properties.items()
        for detail in [one.get("description") or one.get("type", "")]
    ]
    if len(said) == 1 and next(iter(properties.values())).get("type") == "string":
        return said[0]
    return f"a JSON object with {', '.join(said)}" if said else "nothing"
