"""Tools that a model may call."""

from torl_env.tools.function import FunctionTool, tool
from torl_env.tools.session import CodeSession, LoggedTurn
from torl_env.tools.toolbox import PythonTool
from torl_env.tools.types import Outcome, SubmittingTool, Tool, ToolContext, ToolError, ToolResult

__all__ = [
    "CodeSession",
    "FunctionTool",
    "LoggedTurn",
    "Outcome",
    "PythonTool",
    "SubmittingTool",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolResult",
    "tool",
]
