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
from collections.abc import Iterator
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


def total(grade: Grade, reward: str, calls: int, errors: int, words: str) -> float:
    """The reward of a finished conversation, by a preset of `rewards` or `module:object`."""
    boxed = rewards.extract(words).boxed if grade.boxed is None else grade.boxed
    attempt = Attempt(grade.verdict, tool_calls=calls, tool_errors=errors, boxed=boxed)
    return float(read_reward(reward).score(attempt).total)


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
    class ToRLState(vf.State):  # type: ignore[misc]
        """What tool and reward share of one conversation."""

        __qualname__ = "ToRLState"
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

            self.sandbox = self._exit_stack.enter_context(open_sandbox(self.config.sandbox))

        @vf.tool  # type: ignore[untyped-decorator]
        async def python(self, code: str) -> str:
            """Runs a Python program and returns what it prints."""
            return await called(self, code)

    return SimpleNamespace(
        ToRLState=ToRLState, PythonConfig=PythonConfig, PythonToolset=PythonToolset
    )


async def called(toolset: Any, code: str) -> str:
    """What one call of the tool shows; past the budget nothing runs."""
    state = toolset.state
    if state.tool_calls >= toolset.config.tool_budget:
        return NOTICE
    try:
        execution = await _twice(toolset.sandbox, code)
    except SandboxError as error:
        # Raised from here it would be lost: verifiers keeps the state of calls that return.
        state.infra_error = f"{type(error).__name__}: {error}"
        return FAILED
    state.tool_calls += 1
    state.tool_errors += execution.status is not Status.OK
    return shown(execution)


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
    said = [m.content for m in trace.assistant_messages if isinstance(m.content, str)]
    words = "\n\n".join(text for text in said if text)
    grade = await rewards.grade_async(words, task.data.answer)
    if grade.verdict is Verdict.UNGRADABLE:
        raise vf.TaskError(f"the grader could not decide ({grade.rule}): {grade.detail}")
    return total(grade, task.config.reward, state.tool_calls, state.tool_errors, words)


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
