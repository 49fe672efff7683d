"""ToRL and THOR as a Gymnasium environment; importing it registers `ToRLMath-v0`."""

from torl_env.config import EnvConfig, ErrorFormat, OnTimeout, OverBudget
from torl_env.env import ToRLMathEnv
from torl_env.episode import Continue, Episode, Finish, RunTool, StopReason
from torl_env.episode_runner import EpisodeEnd, StepResult
from torl_env.errors import ConfigError, ProblemError, SandboxError, TorlError
from torl_env.info import INFO_KEYS, info_at, is_scorable
from torl_env.instructions import system_text
from torl_env.parsing.fenced import closes_tool_call
from torl_env.parsing.types import ActionKind, Parser, ToolCall
from torl_env.registration import ENV_ID, register
from torl_env.snapshot import EnvState
from torl_env.spaces import Unicode
from torl_env.text_env import RolloutEnvs, TextEnv, TextVectorEnv
from torl_env.vector_env import ToRLMathVectorEnv

__all__ = [
    "ENV_ID",
    "INFO_KEYS",
    "ActionKind",
    "ConfigError",
    "Continue",
    "EnvConfig",
    "EnvState",
    "Episode",
    "EpisodeEnd",
    "ErrorFormat",
    "Finish",
    "OnTimeout",
    "OverBudget",
    "Parser",
    "ProblemError",
    "RolloutEnvs",
    "RunTool",
    "SandboxError",
    "StepResult",
    "StopReason",
    "TextEnv",
    "TextVectorEnv",
    "ToRLMathEnv",
    "ToRLMathVectorEnv",
    "ToolCall",
    "TorlError",
    "Unicode",
    "closes_tool_call",
    "info_at",
    "is_scorable",
    "register",
    "system_text",
]

register()
