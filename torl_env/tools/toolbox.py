"""The tools of an environment: Python by default, and from a call by name to work."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torl_env.parsing.types import ToolCall
from torl_env.sandbox.types import Execution, Status
from torl_env.tools.types import (
    Outcome,
    SubmittingTool,
    Tool,
    ToolContext,
    ToolError,
    ToolResult,
)

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

WorkItem = Future[Any] | Callable[[], Any]
"""Work of one step: already under way, or to be called by whoever drives the step."""

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


def schema_of(tool: Tool) -> dict[str, Any]:
    """The function schema of a tool, as chat templates take it under `tools=`."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


class Toolbox:
    """The tools of one env by name."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._validators: dict[str, Validator] = {}
        """Made when a tool is first called: the library takes a moment to load."""
        # Asked once: a look through a protocol is a good part of what a step with a tool costs.
        self._submit = {
            tool.name: tool.submit for tool in tools if isinstance(tool, SubmittingTool)
        }

    def start(self, call: ToolCall, context: ToolContext) -> WorkItem:
        """Start `call`, or say how to run it; its result is an `Outcome`.

        A wrong call gives a failed result. `SandboxError` may come now or from the job.
        """
        try:
            tool, arguments = self._resolve(call)
        except ToolError as error:
            return partial(_failed, error)
        submit = self._submit.get(tool.name)
        future = None if submit is None else submit(arguments, context)
        if future is not None:
            return future
        return partial(_run, tool, arguments, context)

    def _resolve(self, call: ToolCall) -> tuple[Tool, Mapping[str, Any]]:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"[there is no tool {call.name!r}: use {', '.join(self._tools)}]")
        arguments = call.arguments
        if arguments is None:
            text = _only_text(tool)
            if text is not None:
                return tool, {text: call.body}
            arguments = _read(call.body, tool)
        if tool.name not in self._validators:
            self._validators[tool.name] = _validator(tool.parameters)
        _check(arguments, tool, self._validators[tool.name])
        return tool, arguments


def _only_text(tool: Tool) -> str | None:
    """The name of the one parameter, if it is text: it takes what is written as it is."""
    (name, schema), *others = tool.parameters["properties"].items() or [("", {})]
    return name if not others and schema.get("type") == "string" else None


def _read(body: str, tool: Tool) -> Mapping[str, Any]:
    """Arguments from plain text: a JSON object, or nothing."""
    # What then lacks is named by the check, as in every style.
    if not body.strip():
        return {}
    names = ", ".join(tool.parameters["properties"])
    form = f"takes a JSON object with {names}" if names else "takes no arguments: leave it empty"
    try:
        arguments = json.loads(body)
    except (ValueError, RecursionError) as error:
        why = f": {error}" if names else ""
        raise ToolError(f"[{tool.name} {form}{why}]") from None
    if not isinstance(arguments, dict):
        raise ToolError(f"[{tool.name} {form}]")
    return arguments


def _check(arguments: Mapping[str, Any], tool: Tool, validator: "Validator") -> None:
    from jsonschema.exceptions import best_match

    known = tool.parameters["properties"]
    names = ", ".join(known) or "none"
    for name in tool.parameters.get("required", ()):
        if name not in arguments:
            raise ToolError(f"[{tool.name} needs the argument {name!r}]")
    for name in arguments:
        if name not in known and not tool.parameters.get("additionalProperties"):
            raise ToolError(f"[{tool.name} has no argument {name!r}: it takes {names}]")
    error = best_match(
        error for error in validator.iter_errors(arguments) if not _is_allowed_null(error)
    )
    if error is not None:
        place = ".".join(map(str, error.absolute_path))
        raise ToolError(f"[{tool.name}: the argument {place!r} is wrong: {error.message:.300}]")


def _is_allowed_null(error: "ValidationError") -> bool:
    """Whether it is about a null where the schema says `nullable`, which the library passes by."""
    schema = error.schema
    return error.instance is None and isinstance(schema, Mapping) and bool(schema.get("nullable"))


def _validator(parameters: Mapping[str, Any]) -> "Validator":
    """Of a tool's arguments.

    An integer is one as Python has it: to JSON schema 1.0 is one too, and to a tool's `range(n)`
    it is not. References lead nowhere outside the schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    def is_integer(_: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    kind = extend(Draft202012Validator, type_checker=types)
    validator: Validator = kind(dict(parameters), registry=Registry())
    return validator


def _run(tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Outcome:
    try:
        return tool.run(arguments, context)
    except ToolError as error:
        return _failed(error)


def _failed(error: ToolError) -> ToolResult:
    return ToolResult(str(error), Status.ERROR, type(error).__name__)
