"""The nouns of grading and reward: what a grader says, what a reward may see, what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What the grader says of an answer. Only the first three are the model's doing."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The response holds no final answer, or an empty or unclosed one."""
    UNGRADABLE = "ungradable"
    """The reference is unreadable, or the machine killed a worker: no reward. Never the answer's
    doing; what is over a limit or cannot be decided is `WRONG`."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict with its reason."""

    verdict: Verdict
    answer: str | None
    """The final answer as extracted, `None` when there is none."""
    rule: str
    """Short stable code of the rule that decided, e.g. `identical`, `value_exact`, `no_box`."""
    detail: str = ""
    """One human sentence where the rule alone does not explain the verdict."""
    boxed: bool | None = None
    """Whether the response holds a closed box that is not empty; `None` if not looked for."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished episode as far as a reward may see it: plain data."""

    verdict: Verdict
    """`NO_ANSWER` when the episode ended without a final answer."""
    tool_calls: int = 0
    """Programs that ran (within the budget)."""
    tool_errors: int = 0
    """Of these, how many failed through the model's fault (error, timeout, memory, ...)."""
    turns: int = 1
    truncated: bool = False
    """The episode hit a turn or token limit."""
    boxed: bool = False
    """The response holds a closed, non-empty answer box, right or wrong."""
    length: int = 0
    """Of the response, in the environment's unit of length (characters, or tokens of a tokenizer
    that it was given)."""
    question: str = ""
    """Text for terms that read, such as a judge; empty where only counts are known."""
    response: str = ""
    """Everything after the prompt, tool output included."""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """A reward and the weighted terms it is the sum of."""

    total: float
    terms: Mapping[str, float] = field(default_factory=dict)
