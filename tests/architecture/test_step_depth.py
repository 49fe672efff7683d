"""Through how many of our files a step goes: what a reader has to know to follow one."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import gymnasium as gym
import pytest

import torl_env

ROOT = Path(torl_env.__file__).parents[1]
TOOL_STEP, GRADED_STEP = 12, 16
GRAMMAR_STEPS = {r"\sqrt{8}+\frac{1}{2}": 24, r"5\text{ cm}": 24, "x^2+2x+1": 28}
"""Answers that the grammar has to read, and the files that each may take.

Sixteen cannot hold for them: beside the seven files of every graded step, reading and comparing
them runs through some 4,600 lines, which is twelve files of four hundred at the least.
"""


class FilesRun:
    """Files of this project of which a function runs, in any thread that was started meanwhile."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self.seen.add(frame.f_code.co_filename)

    def during(self, act: Callable[[], object]) -> set[str]:
        self.seen = set()
        act()
        packages = tuple(str(ROOT / name) + "/" for name in ("torl_env", "rewards"))
        return {name.removeprefix(f"{ROOT}/") for name in self.seen if name.startswith(packages)}


@pytest.fixture
def files() -> Iterator[FilesRun]:
    run = FilesRun()
    # Before the sandbox starts the threads that read its answers.
    threading.setprofile(run.note)
    sys.setprofile(run.note)
    yield run
    sys.setprofile(None)
    threading.setprofile(None)


def test_a_step_goes_through_few_files(files: FilesRun) -> None:
    """Of a second step of its kind: the first one opens a sandbox and imports."""
    env = gym.make(
        "ToRLMath-v0",
        problems="procedural:easy",
        # A sandbox of this environment's own, whose threads are seen from their start.
        sandbox="local:concurrency=1",
        tool_budget=4,
        max_turns=9,
    )
    call, answer = "```python\nprint(6*7)\n```", "It is \\boxed{\\frac{2}{4}}."
    for seed in range(2):
        env.reset(seed=seed)
        tool = files.during(lambda: env.step(call))
        graded = files.during(lambda: env.step(answer))
    grammar = {}
    for other in GRAMMAR_STEPS:
        for seed in range(2):
            env.reset(seed=seed)
            grammar[other] = files.during(lambda: env.step(f"It is \\boxed{{{other}}}."))  # noqa: B023
    env.close()
    assert {"torl_env/env.py", "torl_env/tools/toolbox.py"} <= tool
    assert {"torl_env/env.py", "rewards/grader.py"} <= graded
    assert len(tool) <= TOOL_STEP, sorted(tool)
    assert len(graded) <= GRADED_STEP, sorted(graded)
    assert all("rewards/equality/decide.py" in seen for seen in grammar.values())
    assert {
        other: len(seen) for other, seen in grammar.items() if len(seen) > GRAMMAR_STEPS[other]
    } == {}
