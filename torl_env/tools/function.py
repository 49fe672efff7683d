"""A tool from a typed function."""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torl_env.errors import ConfigError
from torl_env.sandbox.types import Execution
from torl_env.signatures import refuse_returns
from torl_env.tools.types import Outcome, ToolContext, ToolResult

Function = Callable[..., str | Outcome]

RETURNS = "text, a ToolResult or an Execution"

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function as a `Tool`; it can still be called as the function it was."""

    function: Function
    name: str
    description: str
    parameters: Mapping[str, Any]
    context_name: str | None
    """The parameter that takes the `ToolContext`, which the model does not see."""

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> Outcome:
        """Call the function; a string that it returns is a successful result."""
        given = dict(arguments)
        if self.context_name is not None:
            given[self.context_name] = context
        result = self.function(**given)
        if isinstance(result, str):
            return ToolResult(result)
        if isinstance(result, ToolResult | Execution):
            return result
        raise ConfigError(
            f"tool {self.name!r} must return {RETURNS}, got {result!r} ({type(result).__name__}); "
            "return str(...) of it"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> str | Outcome:
        """Call the function itself."""
        return self.function(*args, **kwargs)


def tool(function: Function) -> FunctionTool:
    """Make a tool of a function.

    Its name is the function's, its description the first paragraph of the docstring, its schema
    comes from the annotations (str, int, float, bool, list, dict, Literal, and any of them or
    None) and from the `Args:` section. A parameter annotated `ToolContext` is filled in by the
    env. The function returns text, a `ToolResult` or an `Execution`; it raises `ToolError` when the
    model used it wrongly. It is called from any thread, for several episodes at once.

    Raises:
        ConfigError: A parameter has no annotation, or one that has no JSON form, or is positional
            only; the function is async, or can be seen to return something else.

    Example:
        >>> @tool
        ... def add(a: int, b: int = 1) -> str:
        ...     '''Adds two numbers.
        ...
        ...     Args:
        ...         a: The first one.
        ...     '''
        ...     return str(a + b)
        >>> add.parameters["properties"]["a"]
        {'type': 'integer', 'description': 'The first one.'}
        >>> add.parameters["required"], add(1, 2)
        (['a'], '3')
    """
    refuse_returns(function, f"tool {function.__name__!r}", (str, ToolResult, Execution), RETURNS)
    hints = get_type_hints(function)
    said = inspect.getdoc(function) or ""
    notes = _argument_notes(said)
    properties: dict[str, Any] = {}
    required: list[str] = []
    context_name = None
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(
                f"{function.__name__}: a tool cannot take *{name}: name its arguments"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"{function.__name__}: a tool is called by the names of its arguments, {name!r} "
                "has none: take the `/` out"
            )
        if name not in hints:
            raise ConfigError(f"{function.__name__}: annotate the parameter {name!r} with its type")
        if hints[name] is ToolContext:
            context_name = name
            continue
        properties[name] = _schema(hints[name], f"{function.__name__}.{name}")
        if name in notes:
            properties[name]["description"] = notes[name]
        if parameter.default is parameter.empty:
            required.append(name)
    parameters = {"type": "object", "properties": properties, "required": required}
    description = " ".join(said.split("\n\n")[0].split())
    return FunctionTool(function, function.__name__, description, parameters, context_name)


def _schema(hint: Any, where: str) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        rest = [argument for argument in arguments if argument is not types.NoneType]
        if len(rest) == 1:
            # Beside the type and not in it, as chat templates have it: they print one name.
            return {**_schema(rest[0], where), "nullable": True}
    elif origin is Literal:
        kinds = {type(argument) for argument in arguments}
        if len(kinds) == 1 and (kind := _NAMES.get(kinds.pop())):
            return {"type": kind, "enum": list(arguments)}
    elif hint is list or origin is list:
        items = {"items": _schema(arguments[0], where)} if arguments else {}
        return {"type": "array", **items}
    elif hint is dict or origin is dict:
        return {"type": "object"}
    elif hint in _NAMES:
        return {"type": _NAMES[hint]}
    raise ConfigError(
        f"{where}: {hint} has no JSON form here; use str, int, float, bool, list, dict or Literal"
    )


def _argument_notes(said: str) -> dict[str, str]:
    """Name to text of the `Args:` section of a docstring."""
    notes: dict[str, str] = {}
    _, _, section = said.partition("Args:\n")
    indent, last = 0, ""
    for line in section.splitlines():
        stripped = line.strip()
        if not stripped:
            break
        depth = len(line) - len(line.lstrip())
        indent = indent or depth
        name, colon, text = stripped.partition(":")
        if depth == indent and colon and name.isidentifier():
            notes[name], last = text.strip(), name
        elif depth > indent and last:
            notes[last] += " " + stripped
        else:
            break
    return notes
