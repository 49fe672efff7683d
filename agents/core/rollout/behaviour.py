"""ToRL's figure-5 behaviour metrics, from the turns of trajectories alone.

Source: ToRL (arXiv 2503.23383), section 3.3 and figure 5. The paper's "executed code ratio" is
ambiguous between executed/generated and successful/generated, so both are reported.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

from agents.core.types import Trajectory

_CODE_OR_BOX = re.compile(r"^ {0,3}```python.*?(?:^ {0,3}```|\Z)|\\boxed", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one response did: the counts that every behaviour metric is a ratio of."""

    correct: bool
    blocks: int
    """Code blocks written, closed or not."""
    ran: int
    """Programs that ran; the other blocks came after the budget or were never closed."""
    passed: int
    """Programs that ran without error."""
    before_answer: int
    """Code blocks written before the first box outside code."""
    tool_calls: int
    tokens: int
    """Sampled tokens."""
    truncated: bool


def tally(trajectory: Trajectory) -> Tally:
    """Count one trajectory."""
    text = "".join(turn.text for turn in trajectory.turns)
    found = [piece.group() for piece in _CODE_OR_BOX.finditer(text)]
    blocks = [piece != "\\boxed" for piece in found]
    answered = blocks.index(False) if False in blocks else len(blocks)
    statuses = [turn.tool_status for turn in trajectory.turns if turn.tool_status]
    return Tally(
        correct=trajectory.correct,
        blocks=sum(blocks),
        ran=len(statuses),
        passed=statuses.count("ok"),
        before_answer=sum(blocks[:answered]),
        tool_calls=trajectory.tool_calls,
        tokens=sum(trajectory.loss_mask),
        truncated=trajectory.truncated,
    )


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares in [0, 1] (`nan` where the denominator is empty) and means over one batch."""

    count: int
    """Scorable responses."""
    accuracy: float
    """Correct / scorable responses."""
    code_ratio: float
    """Responses with at least one code block / responses (figure 5a)."""
    pass_ratio: float
    """Programs that ran without error / programs that ran (figure 5b)."""
    pass_ratio_correct: float
    """The same over correct responses (figure 5c)."""
    pass_ratio_wrong: float
    """The same over the other responses (figure 5c)."""
    executed_ratio: float
    """Programs that ran / code blocks written (figure 5d, first reading)."""
    success_ratio: float
    """Programs that ran without error / code blocks written (figure 5d, second reading)."""
    before_answer_ratio: float
    """Code blocks written before the final answer / code blocks written (figure 5d)."""
    tool_calls: float
    """Mean programs run per response."""
    tokens: float
    """Mean sampled tokens per response."""
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
