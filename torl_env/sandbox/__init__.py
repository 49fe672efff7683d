"""Code execution: programs of a language model in, executions out."""

from torl_env.sandbox.backends.subprocess import SubprocessSandbox
from torl_env.sandbox.backends.unsafe import UnsafeSandbox
from torl_env.sandbox.local.sandbox import LocalSandbox
from torl_env.sandbox.registry import NAMES, open_sandbox, sandbox_factory
from torl_env.sandbox.types import Execution, Limits, Sandbox, Session, Status

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
    "open_sandbox",
    "sandbox_factory",
]
