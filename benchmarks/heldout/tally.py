"""Counts of one answer, from which every behaviour metric and its interval is made.

The definitions are those of `agents.core.behaviour`, per trajectory instead of per batch.
"""

from dataclasses import dataclass

from agents.core.types import Trajectory


@dataclass(frozen=True, slots=True)
class Tally:
    """What one answer did."""

    correct: bool
    blocks: int
    """Code blocks written."""
    ran: int
    """Of these, programs that ran (the rest came after the budget)."""
    passed: int
    """Of these, programs that ended without an error."""
    before_answer: int
    """Code blocks written before any final answer."""
    tool_calls: int
    tokens: int
    """Sampled tokens."""
    truncated: bool


def tally(trajectory: Trajectory) -> Tally:
    """Count one trajectory."""
    answered = False
    blocks = early = 0
    for turn in trajectory.turns:
        if "```python" in turn.text:
            blocks += 1
            early += not answered and "\\boxed" not in turn.text.rsplit("```python", 1)[0]
        answered = answered or "\\boxed" in turn.text
    statuses = [turn.tool_status for turn in trajectory.turns if turn.tool_status]
    return Tally(
        correct=trajectory.correct,
        blocks=blocks,
        ran=len(statuses),
        passed=statuses.count("ok"),
        before_answer=early,
        tool_calls=trajectory.tool_calls,
        tokens=sum(trajectory.loss_mask),
        truncated=trajectory.truncated,
    )
