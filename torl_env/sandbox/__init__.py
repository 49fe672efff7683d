"""Code execution: programs of a language model in, executions out."""

from torl_env.sandbox.choose import NAMES, make_sandbox
from torl_env.sandbox.local import LocalSandbox
from torl_env.sandbox.plain import SubprocessSandbox
from torl_env.sandbox.types import Execution, Limits, Sandbox, Session, Status
from torl_env.sandbox.unsafe import UnsafeSandbox

__all__ = [
    "NAMES",
    "Execution",
    "Limits",
    "LocalSandbox",
    "Sandbox",
    "Session",
    "Status",
    "SubprocessSandbox",
    "UnsafeSandbox",
    "make_sandbox",
]
