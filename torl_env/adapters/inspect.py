"""inspect_ai: a task, its `python` tool and its scorer, so that runs open in inspect's viewer.

    pip install torl-env inspect-ai
    inspect eval torl_env/torl --model openai/gpt-4o -T problems=math500.jsonl -T tool_budget=2

`torl_env/torl` is found by itself where both are installed. From Python, the task, or tool and
scorer alone in a task of your own:

    from torl_env.adapters.inspect import answer, python, torl

Where the machine failed, or the grader could not decide, the sample ends with an error and is no
wrong answer; `--fail-on-error false` goes on with the others.
"""

import asyncio
import importlib
import itertools
from functools import cache
from types import SimpleNamespace
from typing import Any

import rewards
from rewards.types import Verdict
from torl_env.adapters.lazy import needed, on_request
from torl_env.adapters.token_episode import kept_open
from torl_env.config import EnvConfig
from torl_env.episode import NOTICE, report
from torl_env.errors import SandboxError
from torl_env.sandbox.types import Sandbox

_CALLS = "torl_calls"
"""Where the store of a sample counts them."""

SYSTEM = (
    "Solve the math problem. You can run Python programs and see what they print. "
    "Put the final answer in \\boxed{}."
)


@cache
def _plugin() -> SimpleNamespace:
    ai = needed("inspect_ai", "inspect_ai: pip install inspect-ai")
    parts = {
        name: importlib.import_module(f"inspect_ai.{name}")
        for name in ("dataset", "scorer", "solver", "tool", "util")
    }
    python, answer = _tool(parts), _scorer(parts["scorer"])
    return SimpleNamespace(python=python, answer=answer, torl=_task(ai, parts, python, answer))


def _tool(parts: dict[str, Any]) -> Any:
    store = parts["util"].store

    @parts["tool"].tool  # type: ignore[untyped-decorator]
    def python(budget: int = 1, sandbox: str = "local") -> Any:
        async def execute(code: str) -> str:
            """Runs a Python program and returns what it prints.

            Args:
                code: The program to run.
            """
            return await called(store(), budget, kept_open(sandbox).get(), code)

        return execute

    return python


async def called(store: Any, budget: int, sandbox: Sandbox, code: str) -> str:
    """What one call of the tool shows; past the budget nothing runs.

    Raises:
        SandboxError: The machine failed twice.
    """
    if store.get(_CALLS, 0) >= budget:
        return NOTICE
    # Before it waits: inspect runs the calls of one turn at once.
    store.set(_CALLS, store.get(_CALLS, 0) + 1)
    try:
        try:
            execution = await asyncio.wrap_future(sandbox.submit(code))
        except SandboxError:
            # Once more on a fresh worker, as the environment does; a second time it is raised.
            execution = await asyncio.wrap_future(sandbox.submit(code))
    except SandboxError:
        store.set(_CALLS, store.get(_CALLS, 0) - 1)
        raise
    return report(execution, EnvConfig()).body


def _scorer(scoring: Any) -> Any:
    @scoring.scorer(metrics=[scoring.accuracy(), scoring.stderr()])  # type: ignore[untyped-decorator]
    def answer() -> Any:
        async def score(state: Any, target: Any) -> Any:
            said = [one.text for one in state.messages if one.role == "assistant"]
            words = "\n\n".join(text for text in said if text)
            grade = await rewards.grade_async(words, target.text)
            if grade.verdict is Verdict.UNGRADABLE:
                raise ValueError(f"the grader could not decide ({grade.rule}): {grade.detail}")
            value = scoring.CORRECT if grade.verdict is Verdict.CORRECT else scoring.INCORRECT
            return scoring.Score(
                value=value,
                answer=grade.answer,
                explanation=f"{grade.verdict} ({grade.rule}) {grade.detail}".strip(),
            )

        return score

    return answer


def _task(ai: Any, parts: dict[str, Any], python: Any, answer: Any) -> Any:
    @ai.task  # type: ignore[untyped-decorator]
    def torl(
        problems: str = "procedural:easy",
        split: str | None = None,
        count: int = 200,
        tool_budget: int = 1,
        sandbox: str = "local",
    ) -> Any:
        from torl_env.problems import load

        samples = [
            parts["dataset"].Sample(
                input=one.question,
                target=one.answer,
                id=one.id,
                metadata={"level": one.level, "subject": one.subject},
            )
            for one in itertools.islice(load(problems, split), count)
        ]
        solving = parts["solver"]
        steps = [solving.system_message(SYSTEM)]
        if tool_budget:
            steps.append(solving.use_tools(python(tool_budget, sandbox)))
        return ai.Task(
            dataset=parts["dataset"].MemoryDataset(samples, name=problems),
            solver=[*steps, solving.generate()],
            scorer=answer(),
        )

    return torl


__getattr__ = on_request(
    __name__, ("answer", "python", "torl"), lambda name: getattr(_plugin(), name)
)
