"""ToRL's figure-5 behaviour metrics, from the turns of trajectories alone.

Source: ToRL (arXiv 2503.23383), section 3.3 and figure 5. The paper's "executed code ratio" is
ambiguous between executed/generated and successful/generated, so both are reported.

The paper counts Python blocks. Here a call of any tool counts, in whatever style it is written: a
```` ```python ```` block, closed or not, run or not, exactly as before; and each turn that the
environment took for a call (`<tool_call>`, `<sql>`, ```` ```sql ````, also one over the budget or
one that cannot be parsed).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

from agents.core.types import Trajectory, Turn
from torl_env.parsing.types import ActionKind

CALLS = frozenset({ActionKind.TOOL, ActionKind.MALFORMED, ActionKind.OVER_BUDGET})
"""What the environment takes a turn for that ends with a call of a tool, run or not."""
_PYTHON = re.compile(r"^ {0,3}```python", re.MULTILINE)
_CODE_OR_BOX = re.compile(r"^ {0,3}```python.*?(?:^ {0,3}```|\Z)|\\boxed", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one response did: the counts that every behaviour metric is a ratio of."""

    correct: bool
    blocks: int
    """Calls written: Python blocks, closed or not, and calls of any other tool or style."""
    ran: int
    """Calls that ran; the others came after the budget or were never closed."""
    passed: int
    """Calls that ran without error."""
    before_answer: int
    """Calls written before the first box outside code."""
    tool_calls: int
    tokens: int
    """Sampled tokens; of a tree those that this response was the first to have."""
    truncated: bool


def tally(trajectory: Trajectory) -> Tally:
    """Count one trajectory."""
    blocks = _calls_and_boxes(trajectory.turns)
    answered = blocks.index(False) if False in blocks else len(blocks)
    statuses = [turn.tool_status for turn in trajectory.turns if turn.tool_status]
    return Tally(
        correct=trajectory.correct,
        blocks=sum(blocks),
        ran=len(statuses),
        passed=statuses.count("ok"),
        before_answer=sum(blocks[:answered]),
        tool_calls=trajectory.tool_calls,
        tokens=sum(trajectory.loss_mask[trajectory.shared :]),
        truncated=trajectory.truncated,
    )


def _calls_and_boxes(turns: Sequence[Turn]) -> list[bool]:
    """Calls (true) and boxes outside of them (false) in the order in which they were written."""
    text, others = "", list[range]()
    for turn in turns:
        if turn.action_kind in CALLS and not _PYTHON.search(turn.text):
            others.append(range(len(text) + recorded_call_start(turn), len(text) + len(turn.text)))
        # Over turns, since a block may begin in one piece of a turn and end in the next. What the
        # environment wrote in between ends a line, and the next block may begin at once.
        text += turn.text + ("\n" if turn.observation else "")
    found = {
        piece.start(): piece.group() != "\\boxed"
        for piece in _CODE_OR_BOX.finditer(text)
        if not any(piece.start() in call for call in others)
    }
    found |= {call.start: True for call in others}
    return [found[place] for place in sorted(found)]


def recorded_call_start(turn: Turn) -> int:
    r"""Where the call of a turn begins, its length where no style that is known here begins one.

    A record does not say what parser read it; with the parser, `agents.thor.cutting.call_start`
    knows any style.

    Example:
        >>> sql = 'It is \\boxed{1}. <sql>select "```python"</sql>'
        >>> recorded_call_start(Turn(sql, "", 0, 9, "tool", "ok", "", 0.0, tool_name="sql"))
        17
    """
    names = (turn.tool_name, "python") if turn.tool_name != "python" else ("python",)
    tags = [f"<{name}>" for name in names if name] + [f"```{name}" for name in names if name]
    for opening in ("<tool_call>", *tags):
        if (place := turn.text.rfind(opening)) >= 0:
            return place
    return len(turn.text)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares in [0, 1] (`nan` where the denominator is empty) and means over one batch."""

    count: int
    """Scorable responses."""
    accuracy: float
    """Correct / scorable responses."""
    code_ratio: float
    """Responses with at least one call written / responses (figure 5a)."""
    pass_ratio: float
    """Calls that ran without error / calls that ran (figure 5b)."""
    pass_ratio_correct: float
    """The same over correct responses (figure 5c)."""
    pass_ratio_wrong: float
    """The same over the other responses (figure 5c)."""
    executed_ratio: float
    """Calls that ran / calls written (figure 5d, first reading)."""
    success_ratio: float
    """Calls that ran without error / calls written (figure 5d, second reading)."""
    before_answer_ratio: float
    """Calls written before the final answer / calls written (figure 5d)."""
    tool_calls: float
    """Mean calls run per response."""
    tokens: float
    """Sampled tokens per response, each counted once; shorter than the answers where these are a
    tree."""
    truncated: float
    """Share of responses cut by a limit."""
    infra_errors: int
    """Responses lost to an infrastructure error or an undecided grade; in none of the above."""


def behaviour(trajectories: Sequence[Trajectory]) -> Behaviour:
    """Metrics over the scorable trajectories of a batch."""
    tallies = [tally(t) for t in trajectories if t.scorable]

    def total(count: Callable[[Tally], float]) -> float:
        return sum(map(count, tallies))

    def mean(count: Callable[[Tally], float]) -> float:
        return _share(total(count), len(tallies))

    blocks, ran, passed = (
        total(lambda t: t.blocks),
        total(lambda t: t.ran),
        total(lambda t: t.passed),
    )
    return Behaviour(
        count=len(tallies),
        accuracy=mean(lambda t: t.correct),
        code_ratio=mean(lambda t: t.blocks > 0),
        pass_ratio=_share(passed, ran),
        pass_ratio_correct=_share(
            total(lambda t: t.passed * t.correct), total(lambda t: t.ran * t.correct)
        ),
        pass_ratio_wrong=_share(
            total(lambda t: t.passed * (not t.correct)), total(lambda t: t.ran * (not t.correct))
        ),
        executed_ratio=_share(ran, blocks),
        success_ratio=_share(passed, blocks),
        before_answer_ratio=_share(total(lambda t: t.before_answer), blocks),
        tool_calls=mean(lambda t: t.tool_calls),
        tokens=mean(lambda t: t.tokens),
        truncated=mean(lambda t: t.truncated),
        infra_errors=len(trajectories) - len(tallies),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else nan
