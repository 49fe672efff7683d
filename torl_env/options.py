"""The fields of `EnvConfig` as keywords, for signatures that take them flat."""

from collections.abc import Callable
from typing import TypedDict

from rewards import Reward
from torl_env.config import ErrorFormat, Grader, OnTimeout, OverBudget
from torl_env.parsing.fenced import Parser
from torl_env.sandbox.types import Limits
from torl_env.tools.types import Tool


class EnvOptions(TypedDict, total=False):
    """See `EnvConfig`, which holds the meaning and the defaults; a test keeps the two alike."""

    tool_budget: int
    max_turns: int
    over_budget: OverBudget
    output_limit: int
    max_response: int
    length: Callable[[str], int]
    error_format: ErrorFormat
    on_timeout: OnTimeout
    stateful: bool
    limits: Limits
    parser: str | Parser
    tools: tuple[Tool, ...] | None
    reward: str | Reward
    grader: Grader | None
    prompt: str
