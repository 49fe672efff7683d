"""The one description of an environment: what it takes, what it refuses, how it is stored."""

import dataclasses
import json
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import gymnasium as gym
import numpy as np
import pytest
import tyro

import rewards
from rewards import Attempt, Grade, Reward, Verdict
from torl_env import (
    ConfigError,
    EnvConfig,
    OverBudget,
    ProblemError,
    SandboxError,
    TorlError,
    ToRLMathEnv,
    is_scorable,
)
from torl_env.loading import load_object, reference_of
from torl_env.problems import Problem
from torl_env.sandbox import Limits, Sandbox
from torl_env.tools import PythonTool, ToolContext, ToolResult, tool

MINE = '''
from rewards import Reward, Attempt
from torl_env.parsing.fenced import FencedParser
from torl_env.problems import Listed, Problem, Source
from torl_env.tools import tool

def sql(query: str) -> str:
    """Runs a query."""
    return query.upper()

@tool
def search(words: str) -> str:
    """Finds an article."""
    return words

both = (sql, search)
problems = [Problem("a", "What is 6*7?", "42"), Problem("b", "What is 1+1?", "2")]
source = Listed("mine", problems)

def right(response, reference):
    return reference in response

def number(attempt: Attempt) -> float:
    return 0.25

reward = Reward("mine", {"number": number})
template = "Question: {question}"

def ask(question: str) -> str:
    return question.upper()

def words(text: str) -> int:
    return len(text.split())

class Shout(FencedParser):
    pass

class Empty(Source):
    def __init__(self, name): ...
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of the user's own, in which the process stands."""
    (tmp_path / "mine_env.py").write_text(MINE)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine_env", None)


def every_name() -> dict[str, Any]:
    return {
        "problems": "mine_env:problems",
        "tools": ("python", "mine_env:both"),
        "reward": "mine_env:reward",
        "grader": "mine_env:right",
        "parser": "hermes",
        "prompt": "mine_env:template",
        "length": "mine_env:words",
    }


def test_everything_by_name_makes_an_episode(mine: Path, box: Sandbox) -> None:
    env = gym.make("ToRLMath-v0", **every_name(), sandbox=box, tool_budget=2)
    question, _ = env.reset(options={"problem_id": "a"})
    assert question == "Question: What is 6*7?"
    call = '<tool_call>{"name": "sql", "arguments": {"query": "select"}}</tool_call>'
    assert "SELECT" in env.step(call)[0]
    _, reward, _, _, info = env.step("It is 42.")
    assert (reward, info["verdict"]) == (0.25, "correct")
    env.close()


def test_a_config_and_its_fields_make_the_same_env(box: Sandbox) -> None:
    config = EnvConfig(tool_budget=3, sandbox=box)
    for env in (
        gym.make("ToRLMath-v0", config=config),
        gym.make("ToRLMath-v0", tool_budget=3, sandbox=box),
        gym.make_vec("ToRLMath-v0", num_envs=2, config=config),
        gym.make_vec("ToRLMath-v0", num_envs=2, tool_budget=3, sandbox=box),
    ):
        assert env.unwrapped.config == config
        env.close()
    changed = gym.make("ToRLMath-v0", config=config, tool_budget=4)
    assert changed.unwrapped.config == dataclasses.replace(config, tool_budget=4)


def test_an_unknown_option_is_told_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"'tool_budgets' is no option. Did you mean tool_budget"):
        gym.make("ToRLMath-v0", tool_budgets=3)
    with pytest.raises(ConfigError, match=r"config must be an EnvConfig, got {'tool_budget': 1}"):
        gym.make("ToRLMath-v0", config={"tool_budget": 1})


def gives_int(text: str) -> int:
    """Counts."""
    return len(text)


async def waits(text: str) -> str:
    """Waits."""
    return text


def forgets(text: str, reference: str = ""):  # type: ignore[no-untyped-def]
    """Forgets."""
    text.upper()


def untyped(text):  # type: ignore[no-untyped-def]
    """Has no types."""
    return text


class Unnamed:
    def run(self, arguments: object, context: object) -> str:
        return ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tool_budget": 1.5}, "tool_budget must be an integer of at least 0, got 1.5 (float)"),
        ({"tool_budget": "3"}, "got '3' (str)"),
        ({"tool_budget": True}, "got True (bool)"),
        ({"max_turns": None}, "max_turns must be an integer"),
        ({"output_limit": 256.0}, "output_limit must be an integer"),
        ({"max_response": "long"}, "max_response must be an integer"),
        ({"stateful": 1}, "stateful must be True or False, got 1"),
        ({"over_budget": 3}, "over_budget must be one of"),
        ({"limits": {"cpu": 1}}, "mapping of some of cpu_seconds, wall_seconds"),
        ({"limits": {"cpu_seconds": "1"}}, "limits['cpu_seconds'] must be a number, got '1'"),
        ({"limits": {"cpu_seconds": -1}}, "cpu_seconds must be positive"),
        ({"limits": 3}, "limits must be a Limits or a mapping"),
        ({"split": 3}, "split must be text or None"),
        ({"problems": 3}, "problems must be a name, a path, module:object, a source"),
        ({"system": 3}, "system must be text or None"),
        ({"sandbox": 3}, "sandbox must be a name"),
        ({"tools": ()}, "tools need at least one tool"),
        ({"tools": 3}, "3 is no tool: expected a function with typed arguments"),
        ({"tools": "sql"}, "expected 'python' or module:object, got 'sql'"),
        ({"tools": gives_int}, "expected it to return text, a ToolResult or an Execution, but it"),
        ({"tools": (waits,)}, "tool 'waits' is async"),
        ({"tools": forgets}, "tool 'forgets': expected it to return text, a ToolResult or an"),
        ({"tools": untyped}, "annotate the parameter 'text'"),
        ({"tools": Unnamed()}, "expected name to be text, got None"),
        ({"tools": (PythonTool(), PythonTool())}, "names of their own, got ['python', 'python']"),
        ({"parser": "yaml"}, "parser must be one of fenced, xml, hermes"),
        ({"parser": 3}, "got 3 without stop (a tuple of strings), parse, prose, frame"),
        ({"reward": "best"}, "unknown reward 'best'"),
        ({"reward": 3}, "expected a preset"),
        ({"reward": lambda attempt: "good"}, "must return a number, got 'good'"),
        ({"reward": lambda attempt: None}, "must return a number, got None"),
        ({"reward": lambda attempt: float("nan")}, "must return a number, got nan"),
        ({"reward": lambda response, answer: 1.0}, "is called with one rewards.Attempt"),
        ({"reward": lambda attempt: attempt.score}, "'Attempt' object has no attribute 'score'"),
        ({"grader": 3}, "expected a function grader(response, reference)"),
        ({"grader": lambda response: True}, "it is called as <lambda>(response, reference)"),
        ({"grader": forgets}, "expected it to return a rewards.Grade or a bool, but it returns no"),
        ({"prompt": 3}, "prompt must contain '{question}'"),
        ({"length": "tokens"}, "length: expected module:object"),
        ({"length": lambda text: 0.5}, "a function from text to an integer, got 0.5"),
        ({"reward": "no_such_module:reward"}, "there is no module 'no_such_module' here"),
        ({"reward": "math:reward"}, ") has no 'reward'; it has acos"),
    ],
)
def test_what_cannot_be_is_refused_when_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        gym.make("ToRLMath-v0", **options)


def test_what_can_be_is_taken() -> None:
    def only(query: str) -> str:
        """A plain function."""
        return query

    assert [t.name for t in EnvConfig(tools=only).components.tools] == ["only"]
    assert EnvConfig(tools=tool(only)).tools == (tool(only),)
    assert [t.name for t in EnvConfig(tools=PythonTool).components.tools] == ["python"]

    class Library:
        def find(self, words: str) -> str:
            """Finds an article."""
            return words

        def __call__(self, attempt: Attempt) -> float:
            return 0.5

    method = EnvConfig(tools=Library().find).components.tools[0]
    assert (method.name, list(method.parameters["properties"])) == ("find", ["words"])
    assert EnvConfig(reward=Library()).components.reward.name == "Library"
    assert EnvConfig(limits={"cpu_seconds": 1}).limits == Limits(cpu_seconds=1)
    assert EnvConfig(tool_budget=np.int64(3)).tool_budget == 3
    assert EnvConfig(over_budget="end").over_budget is OverBudget.END
    assert EnvConfig(length=lambda text: 2).components.length("abc") == 2


@pytest.mark.parametrize("said", [True, np.bool_(True)])
def test_a_grader_may_say_true_or_false(said: object, box: Sandbox) -> None:
    env = ToRLMathEnv("procedural:easy", grader=lambda response, reference: said, sandbox=box)
    env.reset(seed=0)
    _, reward, _, _, info = env.step("anything")
    assert (reward, info["verdict"]) == (1.0, "correct")


def test_what_only_running_shows_is_said_by_name(box: Sandbox) -> None:
    def later(response: str, reference: str):  # type: ignore[no-untyped-def]
        return None if response else True

    env = ToRLMathEnv("procedural:easy", grader=later, sandbox=box)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"grader later: expected it to return .* got None"):
        env.step("anything")

    def count(text: str):  # type: ignore[no-untyped-def]
        """Counts."""
        return len(text)

    env = ToRLMathEnv("procedural:easy", tools=count, sandbox=box)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"tool 'count' must return text, .* got 3 \(int\)"):
        env.step("```count\nabc\n```")


def test_a_reward_may_be_a_function() -> None:
    def frugal(attempt: Attempt) -> float:
        return 1.0 - 0.5 * attempt.tool_calls

    made = EnvConfig(reward=frugal).components.reward
    assert made.score(Attempt(Verdict.WRONG, tool_calls=1)).terms == {"frugal": 0.5}


def test_names_survive_storing(mine: Path) -> None:
    config = EnvConfig(
        **every_name(),
        split="train",
        system="Answer.\n{tools}",
        tool_budget=3,
        max_turns=20,
        over_budget="notice",
        stateful=True,
        limits={"memory_mb": 512},
        error_format="traceback",
        on_timeout="end",
        output_limit=99,
        max_response=999,
        sandbox="ray:auto",
    )
    for field in dataclasses.fields(EnvConfig):
        assert getattr(config, field.name) != getattr(EnvConfig(), field.name), field.name
    assert EnvConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["tools"] == ["python", "mine_env:both"]
    assert pickle.loads(pickle.dumps(config)) == config


def test_objects_that_have_a_name_are_stored_by_it(mine: Path) -> None:
    tools = (PythonTool(), load_object("mine_env:sql"), load_object("mine_env:search"))
    kept = EnvConfig(tools=tools, grader=load_object("mine_env:right"), length=len)
    names = json.loads(kept.to_json())
    assert names["tools"] == ["python", "mine_env:sql", "mine_env:search"]
    assert (names["grader"], names["length"]) == ("mine_env:right", "builtins:len")
    assert json.loads(EnvConfig(reward=rewards.reward("thor")).to_json())["reward"] == "thor"
    assert reference_of(lambda: 0) is None


def test_an_object_without_a_name_has_to_be_given_again() -> None:
    own = Reward("own", {"one": lambda attempt: 1.0})
    text = EnvConfig(reward=own, tool_budget=2).to_json()
    with pytest.raises(ConfigError, match=r"no module:object name: reward \(Reward\(name='own'"):
        EnvConfig.from_json(text)
    assert EnvConfig.from_json(text, reward=own) == EnvConfig(reward=own, tool_budget=2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "colour": 1}'])
def test_other_text_is_no_stored_config(text: str) -> None:
    with pytest.raises(ConfigError, match=r"to_json|no option"):
        EnvConfig.from_json(text)


def test_classes_that_need_arguments_say_so(mine: Path) -> None:
    with pytest.raises(ProblemError, match="Empty needs arguments"):
        gym.make("ToRLMath-v0", problems="mine_env:Empty")
    with pytest.raises(ProblemError, match=r"expected a torl_env.problems.Source or a list"):
        gym.make("ToRLMath-v0", problems="mine_env:template")
    assert EnvConfig(parser="mine_env:Shout").components.parser.stop
    with pytest.raises(TorlError, match="needs arguments"):
        EnvConfig(reward="torl", parser=type("P", (), {"__init__": lambda self, names: None}))


def test_a_module_that_breaks_says_where(mine: Path) -> None:
    (mine / "broken_env.py").write_text("import no_such_thing\n")
    with pytest.raises(ConfigError, match="broken_env cannot be imported: No module named 'no_su"):
        EnvConfig(reward="broken_env:reward")


def test_a_list_of_problems_is_a_source(box: Sandbox) -> None:
    env = ToRLMathEnv([Problem("a", "What is 6*7?", "42")], sandbox=box)
    assert env.reset(seed=0)[0] == "What is 6*7?"


@dataclasses.dataclass(frozen=True)
class Options:
    env: EnvConfig = dataclasses.field(default_factory=EnvConfig)


def test_the_command_line_reads_it_as_a_nested_dataclass(mine: Path) -> None:
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def by_name(info: Any) -> Any:
        """Fields that take an object or its name are names on a command line."""
        kinds = [kind for kind in get_args(info.type) if kind is not type(None)]
        if get_origin(info.type) in (Union, UnionType) and str in kinds and len(kinds) > 1:
            return tyro.constructors.PrimitiveConstructorSpec(
                nargs=1,
                metavar="STR",
                instance_from_str=lambda words: words[0],
                is_instance=lambda value: True,
                str_from_instance=lambda value: [str(value)],
            )
        return None

    with registry:
        text = "--env.stateful --env.tool-budget 3 --env.tools mine_env:sql mine_env:search"
        more = "--env.parser hermes --env.limits.cpu-seconds 4 --env.reward mine_env:reward"
        made = tyro.cli(Options, args=[*text.split(), *more.split(), "--env.sandbox", "ray:auto"])
    assert made.env == EnvConfig(
        stateful=True,
        tool_budget=3,
        tools=("mine_env:sql", "mine_env:search"),
        parser="hermes",
        limits=Limits(cpu_seconds=4.0),
        reward="mine_env:reward",
        sandbox="ray:auto",
    )


def test_the_context_and_a_result_are_types_of_a_tool() -> None:
    @tool
    def whole(text: str, context: ToolContext) -> ToolResult:
        """Has everything."""
        return ToolResult(text)

    assert EnvConfig(tools=whole).components.tools == (whole,)


def test_a_grade_may_be_optional_only_in_part() -> None:
    def maybe(response: str, reference: str) -> Grade | None:
        return None

    # `-> Grade | None` may return a grade; that this one never does is seen in its text.
    with pytest.raises(ConfigError, match="returns nothing"):
        EnvConfig(grader=maybe)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_grader_that_cannot_ask_its_server_is_no_wrong_answer(
    box: Sandbox, failures: int
) -> None:
    """Tried twice, as a call is; then nothing is learned from the episode."""
    asked = []

    def judge(response: str, reference: str) -> bool:
        asked.append(response)
        if len(asked) <= failures:
            raise SandboxError("the judge cannot be reached")
        return True

    env = ToRLMathEnv("procedural:easy", grader=judge, sandbox=box)
    env.reset(seed=0)
    _, reward, _, _, info = env.step("anything")
    assert is_scorable(info) is (failures == 1)
    assert (reward, info["stop_reason"]) == (
        (1.0, "final") if failures == 1 else (0.0, "infra_error")
    )
