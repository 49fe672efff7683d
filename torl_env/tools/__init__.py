"""Tools that a model may call, and the styles in which it writes the calls."""

from torl_env.tools.function import FunctionTool, tool
from torl_env.tools.parsers import HermesParser, XmlParser
from torl_env.tools.python import PythonTool
from torl_env.tools.session import CodeSession
from torl_env.tools.types import Outcome, SubmittingTool, Tool, ToolContext, ToolError, ToolResult

__all__ = [
    "CodeSession",
    "FunctionTool",
    "HermesParser",
    "Outcome",
    "PythonTool",
    "SubmittingTool",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolResult",
    "XmlParser",
    "tool",
]
