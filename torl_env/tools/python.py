"""The Python interpreter as a tool."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from torl_env.sandbox.types import Execution
from torl_env.tools.types import Outcome, ToolContext

RESTARTED = "[the interpreter was restarted: earlier variables are lost]"


class PythonTool:
    """Runs a program; what it prints is what the model reads.

    Without a session every call has a fresh interpreter (ToRL, THOR). With one, variables stay.
    """

    name = "python"
    description = "Runs a Python program and returns what it prints."
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The program to run."}},
        "required": ["code"],
    }

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> Outcome:
        """Run the program and wait for it."""
        code = arguments["code"]
        if context.session is None:
            return context.sandbox.run(code, context.limits)
        execution, lost = context.session.run(code, context.limits)
        if not lost:
            return execution
        return replace(execution, stdout=f"{RESTARTED}\n{execution.stdout}")

    def submit(
        self, arguments: Mapping[str, Any], context: ToolContext
    ) -> Future[Execution] | None:
        """Start the program; a session can only `run`."""
        if context.session is not None:
            return None
        return context.sandbox.submit(arguments["code"], context.limits)
