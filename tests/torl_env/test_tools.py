"""Tools: schemas from functions, wrong calls, several tools in one episode."""

import json
from typing import Any, Literal

import pytest

from torl_env import (
    ConfigError,
    SandboxError,
    StopReason,
    ToRLMathEnv,
    ToRLMathVectorEnv,
    closes_tool_call,
)
from torl_env.sandbox.types import Sandbox, Status
from torl_env.testing import problem_list
from torl_env.tools import PythonTool, ToolContext, ToolError, ToolResult, tool

PROBLEMS = problem_list([("What is 6*7?", "42")])


@tool
def lookup(word: str) -> str:
    """Looks up a word.

    Args:
        word: The word,
            in lower case.
    """
    if word == "nothing":
        raise ToolError("[no such word]")
    if word == "fire":
        raise SandboxError("the library burns")
    return f"{word} is a word"


@tool
def place(
    name: str, count: int = 1, kind: Literal["a", "b"] | None = None, *, context: ToolContext
) -> ToolResult:
    """Places an order."""
    assert context.limits.cpu_seconds > 0
    return ToolResult(f"{count} {name} {kind}", metrics={"orders": 1.0})


@tool
def give_up() -> ToolResult:
    """Ends the episode."""
    return ToolResult("", should_stop=True)


def make(box: Sandbox, **options: Any) -> ToRLMathEnv:
    options = {"tools": (PythonTool(), lookup, place, give_up), "tool_budget": 5} | options
    env = ToRLMathEnv(problems=PROBLEMS, sandbox=box, **options)
    env.reset(seed=0)
    return env


def test_the_schema_comes_from_the_function() -> None:
    assert lookup.name == "lookup"
    assert lookup.description == "Looks up a word."
    assert lookup.parameters == {
        "type": "object",
        "properties": {"word": {"type": "string", "description": "The word, in lower case."}},
        "required": ["word"],
    }
    assert place.parameters["properties"] == {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "kind": {"type": "string", "enum": ["a", "b"], "nullable": True},
    }
    assert place.parameters["required"] == ["name"]


def test_functions_that_make_no_tool() -> None:
    def bare(x) -> str:  # type: ignore[no-untyped-def]
        return x

    def odd(x: complex) -> str:
        return ""

    def many(*x: int) -> str:
        return ""

    def nameless(x: str, /) -> str:
        return x

    wrong = (
        (bare, "annotate"),
        (odd, "no JSON form"),
        (many, "cannot take"),
        (nameless, "'x' has none"),
    )
    for function, said in wrong:
        with pytest.raises(ConfigError, match=said):
            tool(function)


def test_several_tools_in_one_episode(box: Sandbox) -> None:
    env = make(box)
    assert env.step("```python\nprint(42)\n```")[0] == "\n```output\n42\n```\n"
    assert env.step("```lookup\nmoon\n```")[0] == "\n```output\nmoon is a word\n```\n"
    body = json.dumps({"name": "tea", "count": 2, "kind": "a"})
    assert env.step(f"```place\n{body}\n```")[0] == "\n```output\n2 tea a\n```\n"
    assert env.step("\\boxed{42}")[1] == 1.0
    assert [schema["function"]["name"] for schema in env.tools] == [
        "python",
        "lookup",
        "place",
        "give_up",
    ]


def call(name: str, arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (call("lookup", {"word": "nothing"}), "[no such word]"),
        (call("browse", {}), "[there is no tool 'browse': use python, lookup, place, give_up]"),
        (call("lookup", {}), "[lookup needs the argument 'word']"),
        (
            call("lookup", {"word": 3}),
            "[lookup: the argument 'word' is wrong: 3 is not of type 'string']",
        ),
        (
            call("place", {"name": "x", "count": True}),
            "[place: the argument 'count' is wrong: True is not of type 'integer']",
        ),
        (
            call("place", {"name": "x", "count": 1.0}),
            "[place: the argument 'count' is wrong: 1.0 is not of type 'integer']",
        ),
        (call("lookup", {"word": "a", "b": 1}), "[lookup has no argument 'b': it takes word]"),
        ("<tool_call>{</tool_call>", "[the tool call is not valid JSON"),
        (call("lookup", [1]), "[the tool call must be"),
    ],
)
def test_a_wrong_call_is_the_models_fault(box: Sandbox, text: str, said: str) -> None:
    env = make(box, parser="hermes")
    observation, _, terminated, truncated, info = env.step(text)
    assert said in observation
    assert (terminated, truncated) == (False, False)
    assert (info["tool_calls"], info["tool_errors"], info["tool_status"]) == (1, 1, "error")


def test_plain_text_for_a_tool_of_several_arguments(box: Sandbox) -> None:
    env = make(box)
    assert "[place takes a JSON object with name, count, kind" in env.step("```place\nx\n```")[0]
    assert "[place takes a JSON object with name, count, kind]" in env.step("```place\n3\n```")[0]


@pytest.mark.parametrize(
    ("parser", "written"),
    [
        ("fenced", "```{}\n```"),
        ("fenced", "```{}\n \n```"),
        ("fenced", "```{}\n{{}}\n```"),
        ("xml", "<{}></{}>"),
        ("hermes", '<tool_call>{{"name": "{}"}}</tool_call>'),
    ],
)
def test_a_call_with_nothing_inside(box: Sandbox, parser: str, written: str) -> None:
    def now() -> str:
        """Says the time."""
        return "12:00"

    def add(a: int, b: int) -> str:
        """Adds."""
        return str(a + b)

    def answer(observation: str) -> str:
        return observation.strip().splitlines()[1]

    env = make(box, tools=(now, add), parser=parser)
    assert answer(env.step(written.format("now", "now"))[0]) == "12:00"
    assert answer(env.step(written.format("add", "add"))[0]) == "[add needs the argument 'a']"


@pytest.mark.parametrize("parser", ["fenced", "hermes"])
def test_null_is_none_where_a_parameter_may_be(box: Sandbox, parser: str) -> None:
    def show(
        a: int | None, kind: Literal["x"] | None = None, some: list[int | None] | None = None
    ) -> str:
        """Shows."""
        return repr((a, kind, some))

    def answer(**arguments: Any) -> str:
        text = call("show", arguments)
        if parser == "fenced":
            text = f"```show\n{json.dumps(arguments)}\n```"
        return env.step(text)[0].strip().splitlines()[1]

    env = make(box, tools=(show,), parser=parser)
    assert answer(a=None, kind=None, some=None) == "(None, None, None)"
    assert answer(a=1, kind="x", some=[1, None]) == "(1, 'x', [1, None])"
    assert answer(kind=None) == "[show needs the argument 'a']"
    assert "'some.0' is wrong: 'y' is not of type 'integer'" in answer(a=None, some=["y"])
    env = make(box, parser=parser)
    wrong = {"name": None, "count": 1}
    text = call("place", wrong)
    if parser == "fenced":
        text = f"```place\n{json.dumps(wrong)}\n```"
    assert "'name' is wrong: None is not of type 'string'" in env.step(text)[0]


def test_a_tool_without_arguments_says_so(box: Sandbox) -> None:
    def now() -> str:
        """Says the time."""
        return "12:00"

    env = make(box, tools=(now,))
    for body in ("nothing", "[]"):
        told = env.step(f"```now\n{body}\n```")[0]
        assert "[now takes no arguments: leave it empty]" in told
    assert "[now has no argument 'a': it takes none]" in env.step('```now\n{"a": 1}\n```')[0]


def test_a_tool_may_end_the_episode_or_void_it(box: Sandbox) -> None:
    env = make(box, parser="xml")
    _, _, terminated, _, info = env.step("\\boxed{42} <give_up>{}</give_up>")
    assert terminated
    assert info["stop_reason"] == StopReason.TOOL_STOPPED
    assert info["verdict"] == "correct"
    env.reset()
    assert env.step("<lookup>fire</lookup>")[4]["infra_error"] == "SandboxError: the library burns"


def test_the_parser_knows_the_tools(box: Sandbox) -> None:
    env = make(box)
    assert closes_tool_call("```lookup\nmoon\n```", env.parser)
    assert not closes_tool_call("```lookup\nmoon\n```")
    envs = ToRLMathVectorEnv(1, problems=PROBLEMS, sandbox=box, tools=(lookup,), parser="xml")
    assert closes_tool_call("<lookup>moon</lookup>", envs.parser)
    assert envs.tools[0]["function"]["name"] == "lookup"


def test_names_must_differ(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="names of their own"):
        ToRLMathEnv(problems=PROBLEMS, tools=(lookup, lookup))
    with pytest.raises(ValueError, match="at least one tool"):
        ToRLMathEnv(problems=PROBLEMS, tools=())


def test_a_bug_in_a_tool_is_not_hidden(box: Sandbox) -> None:
    @tool
    def broken(x: str) -> str:
        """Breaks."""
        return {}[x]

    env = ToRLMathEnv(problems=PROBLEMS, sandbox=box, tools=(broken,))
    env.reset()
    with pytest.raises(KeyError):
        env.step("```broken\nx\n```")
    envs = ToRLMathVectorEnv(2, problems=PROBLEMS, sandbox=box, tools=(broken,))
    envs.reset(seed=0)
    with pytest.raises(KeyError):
        envs.step(["```broken\nx\n```", "\\boxed{1}"])
    envs.close()


def test_statuses_of_a_tool_are_counted(box: Sandbox) -> None:
    @tool
    def slow(x: str) -> ToolResult:
        """Is slow."""
        return ToolResult("too slow", Status.TIMEOUT, "SlowError")

    env = ToRLMathEnv(problems=PROBLEMS, sandbox=box, tools=(slow,), on_timeout="end")
    env.reset()
    _, _, terminated, truncated, info = env.step("```slow\nx\n```")
    assert (terminated, truncated, info["error_type"]) == (False, True, "SlowError")
    assert info["stop_reason"] == "tool_timeout"
