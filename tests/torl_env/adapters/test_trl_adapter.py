"""What TRL sees of the environment, and that its trainer trains with it."""

import inspect
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rewards.types import Grade, Verdict
from torl_env import ConfigError, EnvConfig, ProblemError
from torl_env.adapters.trl import (
    ENDED,
    FAILED,
    ToRLEnvironment,
    answer_reward,
    environment_factory,
    rows,
)
from torl_env.episode import NOTICE
from torl_env.testing import FaultySandbox, problem_list

PROBLEMS = problem_list([("What is 6*7?", "42"), ("What is 2+2?", "4")])


def said(text, **more):
    return [{"role": "assistant", "content": text, **more}]


@pytest.fixture
def environment(box):
    made = environment_factory(PROBLEMS, sandbox=box)()
    made.reset(problem_id="list-0")
    return made


def test_trl_sees_one_tool():
    seen = {
        name
        for name, _ in inspect.getmembers(ToRLEnvironment, predicate=inspect.isfunction)
        if not name.startswith("_")
    }
    assert seen == {"reset", "python"}


def test_the_schema_that_trl_extracts(environment):
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    assert utils.get_json_schema(environment.python) == {
        "type": "function",
        "function": {
            "name": "python",
            "description": "Runs a Python program and returns what it prints.",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "The program to run."}},
                "required": ["code"],
            },
            "return": {"type": "string"},
        },
    }


def test_an_episode(environment):
    assert environment.reset(problem_id="list-0") == "What is 6*7?"
    assert environment.python("print(6*7)") == "42"
    assert environment.python("print(1)") == NOTICE
    assert answer_reward([said("It is \\boxed{42}.")], [environment]) == [1.0]


@pytest.mark.parametrize(("calls", "options"), [(20, {}), (5, {"tool_budget": 3, "max_turns": 4})])
def test_an_answer_after_any_number_of_refused_calls_counts(box, calls, options):
    made = environment_factory(PROBLEMS, sandbox=box, **options)()
    made.reset(problem_id="list-0")
    read = [made.python("print(1)") for _ in range(calls)]
    budget = options.get("tool_budget", 1)
    assert read == ["1"] * budget + [NOTICE] * (calls - budget)
    assert answer_reward([said("It is \\boxed{42}.")], [made]) == [1.0]


def test_a_call_that_ends_the_episode_says_so(box):
    made = environment_factory(PROBLEMS, sandbox=box, over_budget="end")()
    made.reset(problem_id="list-0")
    assert [made.python("print(1)") for _ in range(3)] == ["1", ENDED, ENDED]
    assert answer_reward([said("It is \\boxed{42}.")], [made]) == [-1.0]


@pytest.mark.parametrize(
    "code", ["print('</tool_call>')", "print('```')\n```\n", "print('é😀\\n')"]
)
def test_any_program_arrives_as_it_is(box, code):
    environment = environment_factory(PROBLEMS, sandbox=box)()
    environment.reset(problem_id="list-0")
    expected = box.run(code)
    seen = environment.python(code)
    assert seen == (expected.stdout.rstrip("\n") if expected.ok else expected.error)


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        (said("It is \\boxed{41}."), -1.0),
        (said("\\boxed{42}", tool_calls=[{"function": {}}]), 1.0),
        ([*said("\\boxed{42}"), {"role": "tool", "content": "1"}, *said("So it is.")], 1.0),
        ([*said("no"), {"role": "tool", "content": "\\boxed{42}"}], -1.0),
        (said("<tool_call>nonsense</tool_call>"), -1.0),
        ([], -1.0),
    ],
)
def test_what_is_graded(environment, completion, reward):
    assert answer_reward([completion], [environment]) == [reward]


def test_asking_twice_gives_the_same(environment):
    once = answer_reward([said("\\boxed{42}")], [environment])
    assert answer_reward([said("\\boxed{41}")], [environment]) == once == [1.0]


def test_a_row_whose_machine_failed_has_no_reward(box, environment):
    broken = environment_factory(PROBLEMS, sandbox=FaultySandbox(lambda *_: True))()
    broken.reset(problem_id="list-0")
    assert broken.python("print(1)") == FAILED
    answers = [said("\\boxed{42}")] * 2
    assert answer_reward(answers, [broken, environment]) == [None, 1.0]


def test_an_undecided_grade_is_not_a_wrong_one(box):
    def give_up(response, reference):
        return Grade(Verdict.UNGRADABLE, response, "limit")

    made = environment_factory(PROBLEMS, sandbox=box, grader=give_up)()
    made.reset(problem_id="list-0")
    assert answer_reward([said("x")], [made]) == [None]


def test_a_data_set_without_ids_is_refused(environment):
    with pytest.raises(ValueError, match="needs the columns 'prompt' and 'problem_id', got prompt"):
        environment.reset(prompt=[])
    with pytest.raises(ProblemError):
        environment.reset(problem_id="nowhere")


def test_rows_start_with_a_system_message_where_one_is_given():
    first, *_ = rows(PROBLEMS, system="Use Python.")
    assert json.loads(json.dumps(first)) == first
    assert [m["role"] for m in first["prompt"]] == ["system", "user"]


@pytest.mark.slow
def test_trls_trainer_trains_with_it():
    pytest.importorskip("trl")
    example = Path(__file__).parents[3] / "examples" / "trl_environment.py"
    run = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, timeout=300, check=True
    )
    steps = re.findall(r"^reward (\S+), calls (\S+), failed (\S+)$", run.stdout, re.MULTILINE)
    assert len(steps) == 2
    assert all(float(calls) > 0 and float(failed) == 0 for _, calls, failed in steps)


def test_the_factory_travels_and_opens_nothing_before_it_is_called(tmp_path: Path) -> None:
    later = tmp_path / "later.jsonl"
    factory = environment_factory(str(later), tool_budget=2, split="train")
    travelled = pickle.loads(pickle.dumps(factory))
    assert travelled == factory
    assert (travelled.config.parser, travelled.config.over_budget) == ("hermes", "notice")
    later.write_text('{"id": "a", "question": "6*7?", "answer": "42", "split": "train"}')
    environment = travelled()
    assert environment.reset(problem_id="a") == "6*7?"


def test_a_description_makes_the_environments() -> None:
    config = EnvConfig(tool_budget=3, over_budget="end")
    made = environment_factory(config=config, stateful=True).config
    assert (made.tool_budget, made.over_budget, made.stateful) == (3, "end", True)
    with pytest.raises(ConfigError, match="tool_budget must be an integer"):
        environment_factory("procedural:easy", tool_budget=1.5)
