"""Reading the `info` of a step: its keys, one env's out of a vector's, whether it teaches."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rewards.types import Verdict

INFO_KEYS = (
    "problem_id",
    "split",
    "turn",
    "action_kind",
    "tool_status",
    "error_type",
    "output_chars",
    "output_truncated",
    "tool_calls",
    "tool_errors",
    "verdict",
    "answer",
    "reward_terms",
    "stop_reason",
    "infra_error",
    "stop",
    "continue_generation",
)


def info_at(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    """The info of env `i` out of the one of a vector environment, without Gymnasium's masks.

    Example:
        >>> infos = {"turn": np.array([1, 2]), "_turn": np.array([True, True]),
        ...          "verdict": np.array(["", None]), "_verdict": np.array([True, False])}
        >>> info_at(infos, 1)
        {'turn': 2}
    """
    found: dict[str, Any] = {}
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if mask is None or not mask[i]:
            continue
        value = info_at(values, i) if isinstance(values, Mapping) else values[i]
        found[key] = value.item() if isinstance(value, np.generic) else value
    return found


def is_scorable(info: Mapping[str, Any], i: int | None = None) -> bool:
    """Whether the reward of the episode that ended here says something about the model.

    False for a failure of the machine and for an answer that the grader could not decide: drop
    such an episode from training groups and from accuracies, instead of reading its 0.0. False too
    where nothing was graded: before the end, and where a wrapper such as `TimeLimit` cut the
    episode from outside (`max_turns` ends and grades it).

    Args:
        info: Of a step, or of a vector environment's.
        i: Which env of a vector environment; where its episode ended and the next one began in the
            same step, the one that ended is looked at.
    """
    one = info if i is None else info_at(info, i)
    one = one.get("final_info", one)
    graded = bool(one["stop_reason"]) and not one["infra_error"]
    return graded and one["verdict"] != Verdict.UNGRADABLE
