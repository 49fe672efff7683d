"""The text-only agent: the same policy, problems and grader with a tool budget of zero."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoT:
    """How the text-only agent differs from any other: code it writes is never run."""

    tool_budget: int = 0
    """C = 0, ToRL's own baseline."""
    prompt: str = "chat-text"
    """The prompt does not mention a tool that is not there."""


COT = CoT()
