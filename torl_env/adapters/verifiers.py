"""A verifiers v1 taskset: the problems, the `python` tool on our sandbox, and our reward.

verifiers (0.4) has no step: its harness runs the conversation, so only problems, tool and grading
carry over, not the env. Keep it in a virtual environment of its own: a dependency of it installs
another top-level `agents`. It is imported when one of this module's names is first used:

    from torl_env.adapters.verifiers import ToRLTaskset, ToRLTasksetConfig

    taskset = ToRLTaskset(ToRLTasksetConfig(problems="procedural:easy", count=1000))

verifiers starts the tool's server as `python -m torl_env.adapters.verifiers`.
"""

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import rewards
from rewards.types import Attempt, Grade, Verdict
from torl_env.adapters.lazy import needed, on_request
from torl_env.adapters.trl import FAILED
from torl_env.components import read_reward
from torl_env.config import EnvConfig
from torl_env.episode import NOTICE, report
from torl_env.errors import SandboxError
from torl_env.sandbox.types import Execution, Sandbox, Status

_NAMES = (
    "PythonConfig",
    "PythonToolset",
    "ToRLData",
    "ToRLState",
    "ToRLTask",
    "ToRLTaskConfig",
    "ToRLTaskset",
    "ToRLTasksetConfig",
)


def shown(execution: Execution) -> str:
    """What the model reads of a program, as in the environment."""
    return report(execution, EnvConfig()).body


def attempt_of(trace: Any, task: Any, grade: Grade) -> Attempt:
    """A finished conversation as a reward sees it: what it would be in the environment."""
    messages = [node.message for node in trace.nodes]
    sampled = [i for i, node in enumerate(trace.nodes) if node.sampled]
    response = "\n".join(_text(one) for one in messages[sampled[0] :]) if sampled else ""
    boxed = rewards.extract(_words(trace)).boxed if grade.boxed is None else grade.boxed
    return Attempt(
        grade.verdict,
        tool_calls=trace.state.tool_calls,
        tool_errors=trace.state.tool_errors,
        turns=len(sampled),
        truncated=trace.is_truncated,
        boxed=boxed,
        length=len(response),
        question=task.data.prompt,
        response=response,
        reference=task.data.answer,
    )


def total(reward: str, attempt: Attempt) -> float:
    """The reward of a finished conversation, by a preset of `rewards` or `module:object`."""
    return float(read_reward(reward).score(attempt).total)


def _words(trace: Any) -> str:
    said = [m.content for m in trace.assistant_messages if isinstance(m.content, str)]
    return "\n\n".join(text for text in said if text)


def _text(message: Any) -> str:
    """A message with its calls, whose arguments hold the programs."""
    content = message.content
    parts = (
        [content] if isinstance(content, str) else [getattr(p, "text", "") for p in content or ()]
    )
    calls = [call.arguments for call in getattr(message, "tool_calls", None) or ()]
    return "\n".join(part for part in (*parts, *calls) if part)


@cache
def _plugin() -> SimpleNamespace:
    vf = needed(
        "verifiers.v1",
        "verifiers 0.4 or later: pip install verifiers torl-gym, in a virtual environment of its "
        "own",
    )
    tool = _tool_of(vf)
    task = _task_of(vf, tool)
    return SimpleNamespace(**vars(tool), **vars(task), **vars(_taskset_of(vf, task)))


def _tool_of(vf: Any) -> SimpleNamespace:
    from pydantic import Field

    class ToRLState(vf.State):  # type: ignore[misc]
        """What tool and reward share of one conversation."""

        __qualname__ = "ToRLState"
        conversation: str = Field(default_factory=lambda: uuid.uuid4().hex)
        tool_calls: int = 0
        tool_errors: int = 0
        infra_error: str = ""

    class PythonConfig(vf.ToolsetConfig):  # type: ignore[misc]
        """Where programs run, and how many."""

        __qualname__ = "PythonConfig"
        tool_budget: int = 1
        sandbox: str = "local"

    class PythonToolset(vf.Toolset[PythonConfig, ToRLState]):  # type: ignore[misc]
        """The interpreter."""

        __qualname__ = "PythonToolset"
        TOOL_PREFIX = None

        async def setup(self) -> None:
            """Open the sandbox; verifiers closes what is on its stack."""
            from torl_env.sandbox import open_sandbox

            self.tallies: dict[str, Tally] = {}
            self.sandbox = self._exit_stack.enter_context(open_sandbox(self.config.sandbox))

        @vf.tool  # type: ignore[untyped-decorator]
        async def python(self, code: str) -> str:
            """Runs a Python program and returns what it prints."""
            return await called(self, code)

    return SimpleNamespace(
        ToRLState=ToRLState, PythonConfig=PythonConfig, PythonToolset=PythonToolset
    )


@dataclass(slots=True)
class Tally:
    """What the calls of one conversation came to."""

    tool_calls: int = 0
    tool_errors: int = 0
    infra_error: str = ""


async def called(toolset: Any, code: str) -> str:
    """What one call of the tool shows; past the budget nothing runs."""
    state = toolset.state
    # The calls of one turn run at once, each with a copy of the state of which the last one written
    # is kept. So they are counted here, and each before it waits.
    tally = toolset.tallies.setdefault(state.conversation, Tally())
    if tally.tool_calls >= toolset.config.tool_budget:
        said = NOTICE
    else:
        tally.tool_calls += 1
        try:
            execution = await _twice(toolset.sandbox, code)
            tally.tool_errors += execution.status is not Status.OK
            said = shown(execution)
        except SandboxError as error:
            # Raised from here it would be lost: verifiers keeps the state of calls that return.
            tally.tool_calls -= 1
            tally.infra_error = f"{type(error).__name__}: {error}"
            said = FAILED
    state.tool_calls, state.tool_errors = tally.tool_calls, tally.tool_errors
    state.infra_error = tally.infra_error
    return said


async def _twice(sandbox: Sandbox, code: str) -> Execution:
    try:
        return await asyncio.wrap_future(sandbox.submit(code))
    except SandboxError:
        return await asyncio.wrap_future(sandbox.submit(code))


def _task_of(vf: Any, tool: SimpleNamespace) -> SimpleNamespace:
    class ToRLTaskConfig(vf.TaskConfig):  # type: ignore[misc]
        """How to run and reward a task."""

        __qualname__ = "ToRLTaskConfig"
        reward: str = "torl"
        python: tool.PythonConfig = tool.PythonConfig()  # type: ignore[name-defined]

    class ToRLData(vf.TaskData):  # type: ignore[misc]
        """One problem."""

        __qualname__ = "ToRLData"
        answer: str

    class ToRLTask(vf.Task[ToRLData, tool.ToRLState, ToRLTaskConfig]):  # type: ignore[misc, name-defined]
        """One problem with its tool and its reward."""

        __qualname__ = "ToRLTask"

        @vf.reward  # type: ignore[untyped-decorator]
        async def torl(self, trace: vf.Trace) -> float:
            """The preset's reward; an error, not a number, where nothing may be learned."""
            return await _scored(vf, self, trace)

        @vf.metric  # type: ignore[untyped-decorator]
        async def tool_calls(self, trace: vf.Trace) -> float:
            """Programs that ran."""
            return float(trace.state.tool_calls)

        @classmethod
        def toolsets(cls, config: Any) -> list[Any]:
            """The interpreter."""
            return [tool.PythonToolset(config.python)]

    return SimpleNamespace(ToRLTaskConfig=ToRLTaskConfig, ToRLData=ToRLData, ToRLTask=ToRLTask)


async def _scored(vf: Any, task: Any, trace: Any) -> float:
    state = trace.state
    if state.infra_error:
        raise vf.SandboxError(state.infra_error)
    grade = await rewards.grade_async(_words(trace), task.data.answer)
    if grade.verdict is Verdict.UNGRADABLE:
        raise vf.TaskError(f"the grader could not decide ({grade.rule}): {grade.detail}")
    return total(task.config.reward, attempt_of(trace, task, grade))


def _taskset_of(vf: Any, parts: SimpleNamespace) -> SimpleNamespace:
    class ToRLTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
        """Which problems."""

        __qualname__ = "ToRLTasksetConfig"
        problems: str = "procedural:easy"
        split: str | None = None
        count: int = 1000
        task: parts.ToRLTaskConfig = parts.ToRLTaskConfig()  # type: ignore[name-defined]

    class ToRLTaskset(vf.Taskset[parts.ToRLTask, ToRLTasksetConfig]):  # type: ignore[misc, name-defined]
        """Problems of this project as tasks of verifiers."""

        __qualname__ = "ToRLTaskset"

        def load(self) -> Iterator[Any]:
            """The first `count` problems."""
            from torl_env.problems import load

            problems = load(self.config.problems, split=self.config.split)
            for problem in itertools.islice(problems, self.config.count):
                data = parts.ToRLData(id=problem.id, prompt=problem.question, answer=problem.answer)
                yield parts.ToRLTask(data, self.config.task)

    return SimpleNamespace(ToRLTasksetConfig=ToRLTasksetConfig, ToRLTaskset=ToRLTaskset)


__getattr__ = on_request(__name__, _NAMES, lambda name: getattr(_plugin(), name))


if __name__ == "__main__":
    _plugin().PythonToolset.run()
