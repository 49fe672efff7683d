"""A trajectory in the forms of other training stacks, as plain lists and dicts."""

from collections.abc import Sequence
from typing import Any

from agents.core.types import Trajectory


def to_verl(trajectory: Trajectory) -> dict[str, Any]:
    """The keywords of verl's `AgentLoopOutput` (`verl/experimental/agent_loop/agent_loop.py`).

    Returns:
        `prompt_ids`, `response_ids`, `response_mask` (1 on sampled ids), `response_logprobs`,
        `reward_score`, `num_turns`, `metrics`, `extra_fields`. `reward_score` is `None` where
        nothing may be learned (`scorable` is false): verl then asks its own reward manager, so
        drop such rows first. `num_turns` counts as verl does: the user's prompt, each turn of the
        policy, each answer of a tool. `metrics` are seconds in verl, which a trajectory does not
        record: they are 0.
    """
    answered = sum(1 for turn in trajectory.turns if turn.observation)
    names = ("prompt_ids", "response_ids", "response_logprobs", "response_mask", "reward_score")
    return {
        **_row(trajectory, names),
        "num_turns": 1 + len(trajectory.turns) + answered,
        "metrics": {"generate_sequences": 0.0, "tool_calls": 0.0},
        "extra_fields": {
            "problem_id": trajectory.problem_id,
            "verdict": trajectory.verdict,
            "tool_calls": trajectory.tool_calls,
            "tool_errors": trajectory.tool_errors,
            "stop_reason": trajectory.stop_reason,
            "scorable": trajectory.scorable,
            "reward_extra_info": {
                "acc": float(trajectory.correct),
                **{name: float(term) for name, term in trajectory.reward_terms.items()},
            },
        },
    }


def to_trl(trajectory: Trajectory) -> dict[str, Any]:
    """One row of what a `rollout_func` of TRL's `GRPOTrainer` returns.

    Returns:
        `prompt_ids`, `completion_ids`, `logprobs` (one for each completion id), `env_mask` (1 on
        sampled ids), and beside them `reward`, which reaches reward functions as a keyword; it is
        `None` where nothing may be learned. TRL wants a dict of lists: gather the rows of a batch
        key by key.
    """
    return _row(trajectory, ("prompt_ids", "completion_ids", "logprobs", "env_mask", "reward"))


def _row(t: Trajectory, names: Sequence[str]) -> dict[str, Any]:
    """Prompt, response, its log-probabilities and mask, and the reward, under a stack's names."""
    reward = t.reward if t.scorable else None
    values = (*map(list, (t.prompt_ids, t.ids, t.logprobs, t.loss_mask)), reward)
    return dict(zip(names, values, strict=True))
