"""From options to the objects they stand for: names, `module:object` and plain functions.

Whatever an option cannot be is said here, before an episode begins.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import rewards
from rewards import Reward, UndecidedError
from rewards.types import Attempt, Grade, Verdict
from torl_env.errors import ConfigError
from torl_env.loading import is_reference, load_object
from torl_env.parsing import named_parser
from torl_env.parsing.types import Parser
from torl_env.signatures import refuse_returns
from torl_env.tools.function import FunctionTool, tool
from torl_env.tools.toolbox import PythonTool, schema_of
from torl_env.tools.types import Tool

Grader = Callable[[str, str], Grade | bool]
"""`grader(response, reference)`: reads the model's own text, without its code."""


@dataclass(frozen=True, slots=True)
class Components:
    """The objects that an `EnvConfig` names."""

    tools: tuple[Tool, ...]
    parser: Parser
    reward: Reward
    grader: Callable[[str, str], Grade]
    prompt: Callable[[str], str]
    """From a question to the first observation."""
    length: Callable[[str], int]

    @property
    def schemas(self) -> list[dict[str, Any]]:
        """Function schemas of the tools, as chat templates take them under `tools=`."""
        return [schema_of(one) for one in self.tools]


def read_tools(tools: object) -> tuple[Tool, ...]:
    """The tools of the option `tools`.

    Args:
        tools: `None` for Python alone; one tool or several, each a `Tool`, a class of such, a
            function, `python` or `module:object`, whose object may be several again.

    Raises:
        ConfigError: One of them is no tool, two have one name, or there is none.
    """
    found = [PythonTool()] if tools is None else list(_each_tool(tools))
    names = [one.name for one in found]
    if not found or len(set(names)) < len(names):
        raise ConfigError(
            f"tools need at least one tool and names of their own, got {names}: "
            "leave the option out for Python alone, or take tool_budget=0 for no tool"
        )
    return tuple(found)


def _each_tool(given: object) -> Iterable[Tool]:
    if isinstance(given, str):
        if given == PythonTool.name:
            yield PythonTool()
        elif is_reference(given):
            yield from _each_tool(load_object(given, "tools"))
        else:
            raise ConfigError(f"tools: expected 'python' or module:object, got {given!r}")
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _each_tool(one)
    elif isinstance(given, FunctionType | MethodType):
        yield tool(given)
    elif isinstance(given, type):
        yield _checked(_made(given, "tools"))
    else:
        yield _checked(given)


def _checked(given: object) -> Tool:
    what = f"tools: {given!r}"
    if isinstance(given, FunctionTool):
        return given
    if not callable(getattr(given, "run", None)):
        raise ConfigError(
            f"{what} is no tool: expected a function with typed arguments, or an object with "
            f"name, description, parameters and run(arguments, context), got "
            f"{type(given).__name__}; wrap it in a function"
        )
    for name in ("name", "description"):
        value = getattr(given, name, None)
        # Tools of MCP servers may come without a description.
        if not isinstance(value, str) or not (value or name == "description"):
            raise ConfigError(f"{what}: expected {name} to be text, got {value!r}")
    schema = getattr(given, "parameters", None)
    if not hasattr(schema, "get") or not hasattr(schema.get("properties"), "keys"):  # type: ignore[union-attr]
        raise ConfigError(
            f"{what}: expected parameters to be a JSON schema "
            f'{{"type": "object", "properties": {{...}}}}, got {schema!r}'
        )
    if inspect.iscoroutinefunction(given.run):  # type: ignore[attr-defined]
        raise ConfigError(f"{what}: run is async; write a plain method, it is called from a thread")
    checked: Tool = given  # type: ignore[assignment]
    return checked


def read_parser(parser: object, names: tuple[str, ...]) -> Parser:
    """The parser of the option `parser` for tools of these names.

    Raises:
        ConfigError: It is no style and no parser.
    """
    if isinstance(parser, str):
        if not is_reference(parser):
            return named_parser(parser, names)
        parser = load_object(parser, "parser")
    if isinstance(parser, type):
        parser = _made(parser, "parser")
    lacking = [n for n in ("parse", "prose", "frame") if not callable(getattr(parser, n, None))]
    stop = getattr(parser, "stop", None)
    if not isinstance(stop, tuple | list) or not all(isinstance(text, str) for text in stop):
        lacking.insert(0, "stop (a tuple of strings)")
    if lacking:
        raise ConfigError(
            f"parser: expected fenced, xml, hermes, module:object or an object with stop, parse, "
            f"prose and frame (torl_env.Parser), got {parser!r} without {', '.join(lacking)}"
        )
    found: Parser = parser  # type: ignore[assignment]
    return found


def read_reward(reward: object) -> Reward:
    """The reward of the option `reward`.

    Raises:
        ConfigError: It is none, or does not give a number.
    """
    if isinstance(reward, str):
        if not is_reference(reward):
            try:
                return rewards.reward(reward)
            except ValueError as error:
                raise ConfigError(f"reward: {error} Or name one of yours, module:object.") from None
        reward = load_object(reward, "reward")
    if callable(reward) and not isinstance(reward, type):
        name = getattr(reward, "__name__", type(reward).__name__)
        reward = Reward(name, {name: reward})
    if not isinstance(reward, Reward):
        raise ConfigError(
            f"reward: expected a preset ({', '.join(rewards.presets())}), module:object, a "
            f"rewards.Reward or a function of an Attempt, got {reward!r}; take "
            'Reward("mine", {"term": function})'
        )
    for name, term in reward.terms.items():
        _try_term(f"reward {reward.name!r}: the term {name!r}", term)
    return reward


def _try_term(what: str, term: Callable[[Attempt], Any]) -> None:
    """Terms are pure functions of an attempt, so that trying them costs nothing and tells all."""
    for verdict in (Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER):
        try:
            said: Any = term(Attempt(verdict))
        except UndecidedError:
            continue  # A judge has nothing to read here.
        except Exception as error:
            raise ConfigError(
                f"{what} fails for a {verdict} attempt ({type(error).__name__}: {error}); it "
                "is called with one rewards.Attempt"
            ) from error
        if not hasattr(said, "__float__") or not math.isfinite(said):
            raise ConfigError(f"{what} must return a number, got {said!r} for a {verdict} attempt")


def read_grader(grader: object) -> Callable[[str, str], Grade]:
    """The grader of the option `grader`; one that says true or false is made into a full one.

    Raises:
        ConfigError: It cannot be called with response and reference, is async, or returns neither
            a `Grade` nor a `bool` as far as its text and annotations tell.
    """
    if grader is None:
        return rewards.grade
    if isinstance(grader, str):
        grader = load_object(grader, "grader")
    if isinstance(grader, type):
        grader = _made(grader, "grader")
    if not callable(grader):
        raise ConfigError(
            "grader: expected a function grader(response, reference) that returns a rewards.Grade "
            f"or a bool, or module:object, got {grader!r}"
        )
    name = getattr(grader, "__name__", type(grader).__name__)
    try:
        inspect.signature(grader).bind("response", "reference")
    except TypeError as error:
        raise ConfigError(
            f"grader {name}: it is called as {name}(response, reference): {error}"
        ) from None
    except ValueError:
        pass  # Some built-in functions have no signature to look at.
    refuse_returns(grader, f"grader {name}", (Grade, bool), "a rewards.Grade or a bool")
    return _CheckedGrader(grader, name)


@dataclass(frozen=True, slots=True)
class _CheckedGrader:
    function: Callable[[str, str], Any]
    name: str

    def __call__(self, response: str, reference: str) -> Grade:
        said = self.function(response, reference)
        if isinstance(said, Grade):
            return said
        # numpy.bool_ is no bool.
        if type(said).__name__ in ("bool", "bool_"):
            return Grade(Verdict.CORRECT if said else Verdict.WRONG, None, self.name)
        raise ConfigError(
            f"grader {self.name}: expected it to return a rewards.Grade or a bool, got {said!r}"
        )


def read_prompt(prompt: object) -> Callable[[str], str]:
    """What makes the first observation of a question.

    Raises:
        ConfigError: It is neither a template with `{question}` nor a function.
    """
    if isinstance(prompt, str) and "{question}" not in prompt and is_reference(prompt):
        prompt = load_object(prompt, "prompt")
    if isinstance(prompt, str) and "{question}" in prompt:
        template = prompt
        return lambda question: template.replace("{question}", question)
    if callable(prompt) and not isinstance(prompt, type):
        refuse_returns(prompt, "prompt", (str,), "text")
        made: Callable[[str], str] = prompt
        return made
    raise ConfigError(
        "prompt must contain '{question}' where the question goes, or be a function of the "
        f"question or module:object, got {prompt!r}"
    )


def read_length(length: object) -> Callable[[str], int]:
    """What counts the length of a text.

    Raises:
        ConfigError: It gives no integer.
    """
    if length == "characters":
        return len
    if isinstance(length, str):
        length = load_object(length, "length")
    if callable(length):
        counted = length("text")
        if isinstance(counted, int) and not isinstance(counted, bool):
            counter: Callable[[str], int] = length
            return counter
        raise ConfigError(f"length: expected a function from text to an integer, got {counted!r}")
    raise ConfigError(
        f"length: expected 'characters', a function from text to an integer or module:object, "
        f"got {length!r}"
    )


def _made(kind: type, what: str) -> object:
    try:
        return kind()
    except TypeError as error:
        raise ConfigError(
            f"{what}: {kind.__name__} is a class that needs arguments ({error}): pass an object"
        ) from None
