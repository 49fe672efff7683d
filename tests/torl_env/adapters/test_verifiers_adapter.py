"""The verifiers taskset; in an environment without verifiers only that it says so."""

import asyncio
import importlib.util
from concurrent.futures import Future

import pytest

from rewards.types import Grade, Verdict
from torl_env import SandboxError
from torl_env.adapters import verifiers as adapter
from torl_env.adapters.trl import FAILED
from torl_env.sandbox.types import Execution, Status

PRESENT = importlib.util.find_spec("verifiers") is not None
needs_verifiers = pytest.mark.skipif(
    not PRESENT, reason="verifiers is not installed (it needs a virtual environment of its own)"
)


def test_the_model_reads_what_it_reads_in_the_environment():
    assert adapter.shown(Execution(Status.OK, stdout="42\n")) == "42"
    failed = Execution(Status.ERROR, stdout="1\n", error="NameError: name 'x' is not defined")
    assert adapter.shown(failed) == "1\nNameError: name 'x' is not defined"


@pytest.mark.parametrize(
    ("verdict", "preset", "errors", "words", "reward"),
    [
        (Verdict.CORRECT, "torl", 0, "\\boxed{42}", 1.0),
        (Verdict.CORRECT, "torl_penalty", 1, "\\boxed{42}", 0.5),
        (Verdict.WRONG, "limr", 0, "\\boxed{41}", -0.5),
        (Verdict.NO_ANSWER, "limr", 0, "\\boxed{41", -1.0),
    ],
)
def test_the_reward_is_the_presets(verdict, preset, errors, words, reward):
    assert adapter.total(Grade(verdict, None, "rule"), preset, 1, errors, words) == reward


class Failing:
    """A sandbox whose machine is broken, on a toolset with its state."""

    def __init__(self, failures, budget=1):
        self.failures, self.calls = failures, 0
        self.sandbox = self
        self.config = type("Config", (), {"tool_budget": budget})
        self.state = type("State", (), {"tool_calls": 0, "tool_errors": 0, "infra_error": ""})()

    def submit(self, code):
        self.calls += 1
        future = Future()
        if self.calls <= self.failures:
            future.set_exception(SandboxError("a worker was killed"))
        else:
            future.set_result(Execution(Status.OK, stdout="42\n"))
        return future


def test_a_broken_machine_is_tried_twice_and_then_said():
    once, twice = Failing(1), Failing(2)
    assert asyncio.run(adapter.called(once, "print(42)")) == "42"
    assert (once.state.tool_calls, once.state.infra_error) == (1, "")
    assert asyncio.run(adapter.called(twice, "print(42)")) == FAILED
    assert (twice.state.tool_calls, twice.calls) == (0, 2)
    assert twice.state.infra_error == "SandboxError: a worker was killed"


def test_past_the_budget_nothing_runs():
    toolset = Failing(0)
    asyncio.run(adapter.called(toolset, "1"))
    assert "used up" in asyncio.run(adapter.called(toolset, "1"))
    assert toolset.calls == 1


@needs_verifiers
def test_tasks_are_those_of_the_source():
    taskset = adapter.ToRLTaskset(adapter.ToRLTasksetConfig(problems="procedural:easy", count=3))
    tasks = list(taskset)
    assert [task.data.idx for task in tasks] == [0, 1, 2]
    assert all(task.data.answer for task in tasks)


def finished(task, words, **state):
    vf = pytest.importorskip("verifiers.v1")
    trace = vf.Trace(
        task=vf.TraceTask(type=type(task).__name__, data=task.data),
        agent=vf.AgentInfo(config=vf.AgentConfig(model="none")),
        state=adapter.ToRLState(**state),
    )
    message = vf.AssistantMessage(content=words)
    trace.nodes.append(vf.MessageNode(message=message, sampled=True))
    return trace


@needs_verifiers
def test_verifiers_scores_with_our_reward():
    task = next(iter(adapter.ToRLTaskset(adapter.ToRLTasksetConfig(count=1))))
    right = finished(task, f"It is \\boxed{{{task.data.answer}}}.", tool_calls=1)
    asyncio.run(task.score(right))
    assert (right.reward, right.metrics) == (1.0, {"tool_calls": 1.0})
    wrong = finished(task, "\\boxed{-1.5}")
    asyncio.run(task.score(wrong))
    assert wrong.reward == -1.0


@needs_verifiers
def test_a_broken_machine_is_an_error_of_the_sandbox_and_no_reward():
    vf = pytest.importorskip("verifiers.v1")
    task = next(iter(adapter.ToRLTaskset(adapter.ToRLTasksetConfig(count=1))))
    void = finished(task, "\\boxed{1}", infra_error="SandboxError: gone")
    with pytest.raises(vf.SandboxError, match="gone"):
        asyncio.run(task.score(void))
    assert void.rewards == {"torl": None}
