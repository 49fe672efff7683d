"""ToRL's figure-5 behaviour metrics of a batch of trajectories, each from the turns alone.

Source: ToRL (arXiv 2503.23383), section 3.3 and figure 5. The paper's "executed code ratio" is
ambiguous between executed/generated and successful/generated, so both are reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from agents.core.types import Trajectory, Turn


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares in [0, 1] (`nan` where the denominator is empty) and means over one batch."""

    count: int
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
    """Responses lost to a fault of the machine or an undecided grade; in none of the above."""


def behaviour(trajectories: Sequence[Trajectory]) -> Behaviour:
    """Metrics over the scorable trajectories of a batch."""
    kept = [t for t in trajectories if t.scorable]
    ran = [turn for t in kept for turn in t.turns if turn.tool_status]
    blocks = [(t, turn) for t in kept for turn in t.turns if _writes_code(turn)]
    early = sum(_before_answer(t, turn) for t, turn in blocks)
    passed = _passed(ran)
    return Behaviour(
        count=len(kept),
        accuracy=_share(sum(t.correct for t in kept), len(kept)),
        code_ratio=_share(sum(any(map(_writes_code, t.turns)) for t in kept), len(kept)),
        pass_ratio=_share(passed, len(ran)),
        pass_ratio_correct=_pass_ratio([t for t in kept if t.correct]),
        pass_ratio_wrong=_pass_ratio([t for t in kept if not t.correct]),
        executed_ratio=_share(len(ran), len(blocks)),
        success_ratio=_share(passed, len(blocks)),
        before_answer_ratio=_share(early, len(blocks)),
        tool_calls=_share(sum(t.tool_calls for t in kept), len(kept)),
        tokens=_share(sum(sum(t.loss_mask) for t in kept), len(kept)),
        truncated=_share(sum(t.truncated for t in kept), len(kept)),
        infra_errors=len(trajectories) - len(kept),
    )


def _writes_code(turn: Turn) -> bool:
    return "```python" in turn.text


def _before_answer(trajectory: Trajectory, turn: Turn) -> bool:
    """Whether no box was written before this turn, nor in it before its code."""
    for earlier in trajectory.turns:
        if earlier is turn:
            return "\\boxed" not in turn.text.rsplit("```python", 1)[0]
        if "\\boxed" in earlier.text:
            return False
    raise ValueError("the turn is not one of the trajectory's")


def _passed(ran: Sequence[Turn]) -> int:
    return sum(turn.tool_status == "ok" for turn in ran)


def _pass_ratio(trajectories: Sequence[Trajectory]) -> float:
    ran = [turn for t in trajectories for turn in t.turns if turn.tool_status]
    return _share(_passed(ran), len(ran))


def _share(part: float, whole: int) -> float:
    return part / whole if whole else nan
