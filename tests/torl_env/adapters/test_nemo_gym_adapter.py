"""What of NeMo-Gym's adapter needs no NeMo-Gym; the rest runs in `benchmarks/stacks`."""

from types import SimpleNamespace

import pytest

from torl_env.adapters import nemo_gym as adapter
from torl_env.adapters.trl import FAILED
from torl_env.episode import NOTICE
from torl_env.info import is_scorable
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "What is 6*7?", "42")


def says(text):
    part = SimpleNamespace(type="output_text", text=text)
    return SimpleNamespace(type="message", role="assistant", content=[part])


CALL = SimpleNamespace(type="function_call", name="python", arguments="{}")
OUTPUT = SimpleNamespace(type="function_call_output", output="\\boxed{42}")


@pytest.fixture
def sessions():
    made = adapter.Sessions({"tool_budget": 1}, idle_seconds=3600)
    made.seed("a", PROBLEM)
    return made


def test_a_rollout_with_a_call_and_one_past_the_budget(sessions):
    assert sessions.python("a", "print(6*7)") == "42"
    assert sessions.python("a", "print(1)") == NOTICE
    output = [CALL, OUTPUT, CALL, OUTPUT, says("It is \\boxed{42}.")]
    reward, info = sessions.verify("a", output)
    assert (reward, info["verdict"], info["tool_calls"]) == (1.0, "correct", 1)
    with pytest.raises(LookupError, match="call /seed_session first"):
        sessions.verify("a", output)


def test_what_a_tool_said_is_no_answer(sessions):
    reward, info = sessions.verify("a", [CALL, OUTPUT])
    assert (reward, info["stop_reason"]) == (-1.0, "length")


def test_a_session_that_nobody_uses_is_closed():
    sessions = adapter.Sessions({}, idle_seconds=-1)
    sessions.seed("old", PROBLEM)
    sessions.seed("new", PROBLEM)
    with pytest.raises(LookupError):
        sessions.python("old", "print(1)")


def test_an_environment_server_may_seed_twice_and_not_after_the_end(sessions):
    sessions.seed_once("b", PROBLEM)
    assert sessions.python("b", "print(6*7)") == "42"
    sessions.seed_once("b", PROBLEM)
    assert sessions.python("b", "print(1)") == NOTICE, "the second seed began a new episode"
    sessions.end("b")
    sessions.end("b")
    with pytest.raises(LookupError, match="closed already"):
        sessions.seed_once("b", PROBLEM)


@pytest.mark.slow
def test_a_broken_machine_is_no_wrong_answer():
    sessions = adapter.Sessions(
        {"sandbox": "fusion:http://127.0.0.1:9,retries=0"}, idle_seconds=3600
    )
    sessions.seed("a", PROBLEM)
    assert sessions.python("a", "print(1)") == FAILED
    _, info = sessions.verify("a", [CALL, OUTPUT, says("\\boxed{42}")])
    assert not is_scorable(info)
