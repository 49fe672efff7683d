"""Where to leave an episode: L_suf ids before the program of a failed call, within its own turn."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from agents.core.rollout.prompts import decode
from agents.core.types import Trajectory, Turn
from torl_env import Parser, ToolCall
from torl_env.parsing.fenced import FencedParser
from torl_env.parsing.types import Malformed


class Repair(StrEnum):
    """How much of a step is written again after its call failed (THOR, table 5, and ours)."""

    ACTION = "action"
    """The program only; the whole thought before it stays."""
    SUFFIX = "suffix"
    """The last L_suf ids of the thought and the program: THOR's own choice."""
    PLAN = "plan"
    """The whole step."""
    SHOWN = "shown"
    """Nothing is taken back: the model reads the error and goes on, and the failed call is not
    counted against the budget. Ours; the paper never shows the error."""


def failed_turns(trajectory: Trajectory) -> list[int]:
    """Indices of the turns whose call failed through the model's own fault."""
    return [i for i, turn in enumerate(trajectory.turns) if turn.tool_status not in ("", "ok")]


def call_start(text: str, parser: Parser | None = None) -> int:
    r"""Index of the first character of the call that a turn ends with.

    It is the last place from which the rest of the turn still reads as a call. That asks nothing of
    the style in which calls are written.

    Args:
        text: A turn.
        parser: What reads turns; the fenced style by default.

    Raises:
        ValueError: The turn ends with no call.

    Example:
        >>> turn = "A\n```python\n1\n```\nB\n```python\n2\n```"
        >>> turn[call_start(turn):]
        '```python\n2\n```'
    """
    parser = parser or FencedParser()
    places = [i for i, c in enumerate(text) if c == "<" or i == 0 or text[i - 1] == "\n"]
    for place in reversed(places):
        if isinstance(parser.parse(text[place:]), ToolCall | Malformed):
            return place
    raise ValueError(f"expected a turn that ends with a tool call, got ...{text[-80:]!r}")


def ids_before(tokenizer: Any, ids: Sequence[int], text: str, offset: int) -> int:
    """How many of `ids` come wholly before character `offset` of their text."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high + 1) // 2
        if len(decode(tokenizer, ids[:middle])) <= offset:
            low = middle
        else:
            high = middle - 1
    # An id may end within a character, whose text then is not a beginning of the whole.
    while low and not text.startswith(decode(tokenizer, ids[:low])):
        low -= 1
    return low


def cut(
    trajectory: Trajectory,
    turn: Turn,
    tokenizer: Any,
    repair: Repair,
    suffix: int,
    parser: Parser | None = None,
) -> int:
    """How many ids of the trajectory stay when `turn` is repaired this way.

    The result lies within the turn: a thought shorter than L_suf goes as a whole, and no cut falls
    into the tool output before it. (THOR's release counts L_suf from the end of the text, wherever
    that falls.)

    Args:
        trajectory: The episode.
        turn: Its turn with the failed call.
        tokenizer: Of the policy.
        repair: What to take back; not `SHOWN`.
        suffix: L_suf, ids.
        parser: How the environment reads calls; by default in the fenced style.
    """
    if repair is Repair.PLAN:
        return turn.start
    ids = trajectory.ids[turn.start : turn.end]
    thought = ids_before(tokenizer, ids, turn.text, call_start(turn.text, parser))
    return turn.start + max(0, thought - (suffix if repair is Repair.SUFFIX else 0))
