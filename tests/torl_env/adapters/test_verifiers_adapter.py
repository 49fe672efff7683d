"""The verifiers taskset; in an environment without verifiers only that it says so."""

import asyncio
import importlib.util
import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from rewards.types import Attempt, Grade, Verdict
from torl_env import SandboxError
from torl_env.adapters import verifiers as adapter
from torl_env.adapters.trl import FAILED
from torl_env.episode import NOTICE
from torl_env.sandbox.types import Execution, Status

PRESENT = importlib.util.find_spec("verifiers") is not None
needs_verifiers = pytest.mark.skipif(
    not PRESENT, reason="verifiers is not installed (it needs a virtual environment of its own)"
)


def test_the_model_reads_what_it_reads_in_the_environment():
    assert adapter.shown(Execution(Status.OK, stdout="42\n")) == "42"
    failed = Execution(Status.ERROR, stdout="1\n", error="NameError: name 'x' is not defined")
    assert adapter.shown(failed) == "1\nNameError: name 'x' is not defined"


def conversation(*said, prompt="What is 6*7?", answer="42", truncated=False, **state):
    """A finished trace and its task, messages as (role, text, program)."""
    nodes = [SimpleNamespace(sampled=False, message=SimpleNamespace(content=prompt))]
    for role, text, code in said:
        calls = [SimpleNamespace(name="python", arguments=code)] if code else None
        message = SimpleNamespace(content=text, tool_calls=calls)
        nodes.append(SimpleNamespace(sampled=role == "assistant", message=message))
    trace = SimpleNamespace(
        nodes=nodes,
        assistant_messages=[node.message for node in nodes if node.sampled],
        state=SimpleNamespace(**({"tool_calls": 0, "tool_errors": 0} | state)),
        is_truncated=truncated,
    )
    return trace, SimpleNamespace(data=SimpleNamespace(prompt=prompt, answer=answer))


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
    trace, task = conversation(("assistant", words, ""), tool_calls=1, tool_errors=errors)
    attempt = adapter.attempt_of(trace, task, Grade(verdict, None, "rule"))
    assert adapter.total(preset, attempt) == reward


def test_a_reward_of_ones_own_sees_the_whole_conversation():
    trace, task = conversation(
        ("assistant", None, '{"code": "print(6*7)"}'),
        ("tool", [SimpleNamespace(text="42")], ""),
        ("assistant", "\\boxed{42}", ""),
        truncated=True,
        tool_calls=1,
    )
    response = '{"code": "print(6*7)"}\n42\n\\boxed{42}'
    assert adapter.attempt_of(trace, task, Grade(Verdict.CORRECT, "42", "rule")) == Attempt(
        Verdict.CORRECT,
        tool_calls=1,
        turns=2,
        truncated=True,
        boxed=True,
        length=len(response),
        question="What is 6*7?",
        response=response,
        reference="42",
    )


class Failing:
    """A sandbox whose machine is broken, on a toolset with its state."""

    def __init__(self, failures, budget=1):
        self.failures, self.calls = failures, 0
        self.sandbox = self
        self.config = type("Config", (), {"tool_budget": budget})
        self.tallies = {}
        self.states = []

    @property
    def state(self):
        """A copy for each call, as verifiers gives it."""
        last = self.states[-1] if self.states else {"tool_calls": 0, "tool_errors": 0}
        state = SimpleNamespace(**{"conversation": "one", "infra_error": ""} | last)
        self.states.append(vars(state))
        return state

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
    assert once.states[-1].items() >= {"tool_calls": 1, "infra_error": ""}.items()
    assert asyncio.run(adapter.called(twice, "print(42)")) == FAILED
    assert (twice.states[-1]["tool_calls"], twice.calls) == (0, 2)
    assert twice.states[-1]["infra_error"] == "SandboxError: a worker was killed"


def test_past_the_budget_nothing_runs():
    toolset = Failing(0)
    asyncio.run(adapter.called(toolset, "1"))
    assert "used up" in asyncio.run(adapter.called(toolset, "1"))
    assert toolset.calls == 1


class Slow(Failing):
    """A sandbox whose programs end together, when as many run as are expected."""

    def __init__(self, budget):
        super().__init__(0, budget)
        self.waiting = []

    def submit(self, code):
        self.calls += 1
        self.waiting.append(Future())
        if self.calls == 1:
            threading.Timer(0.2, self.end).start()
        return self.waiting[-1]

    def end(self):
        for future in self.waiting:
            future.set_result(Execution(Status.ERROR, stdout="", error="NameError"))


def test_calls_of_one_turn_share_the_budget():
    async def turn():
        return await asyncio.gather(*(adapter.called(toolset, f"{i}") for i in range(4)))

    toolset = Slow(budget=2)
    said = asyncio.run(turn())
    assert [text == NOTICE for text in said] == [False, False, True, True]
    assert toolset.calls == 2
    assert toolset.states[1].items() >= {"tool_calls": 2, "tool_errors": 2}.items()


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
