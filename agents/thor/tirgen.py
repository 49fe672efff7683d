"""TIRGen: turn a policy's own reasoning into tool-integrated traces (THOR, section 2.2).

A generator (the policy) writes a natural-language step; a refiner (any policy) sees that fragment
alone, neither question nor answer, and replaces the computation in it by code. The code runs for
real, its output joins the text, and the generator goes on from there until it has answered.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.core.prompts import Prompt
from torl_env import ToRLMathEnv
from torl_env.problems.types import Problem

Write = Callable[[Sequence[str]], Sequence[str]]
"""Continues texts; a policy (see `agents.core.writing`) or a server behind it."""

REFINER_PROMPT = """\
Below is a fragment of somebody's reasoning. If it carries out a computation that is more than \
trivial arithmetic, rewrite the fragment: keep its reasoning as it is, leave out the computed \
result, and end with one self-contained ```python block that does this computation and prints the \
result. Do not add reasoning, do not solve anything that the fragment does not solve. If there is \
nothing to compute, answer with the single word NOTHING.

Fragment:
{fragment}
"""
NOTHING = "NOTHING"


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of a sample."""

    text: str
    code: str
    """The program the turn ends with, `""` in the last turn."""
    observation: str
    status: str
    """How the program ended, `""` without one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A tool-integrated answer whose every output is a real execution."""

    problem: Problem
    steps: tuple[Step, ...]
    correct: bool
    finished: bool
    """False when the budget of fragments ran out before an answer."""

    @property
    def text(self) -> str:
        """The whole answer, outputs included."""
        return "".join(step.text + step.observation for step in self.steps)

    @property
    def calls(self) -> int:
        """Programs that ran."""
        return sum(bool(step.status) for step in self.steps)

    def tokens(self, prompt: Prompt, tokenizer: Any) -> dict[str, list[int]]:
        """Ids for TIR-SFT: `prompt_ids`, `ids`, and `loss_mask` with 0 on tool output."""
        ids: list[int] = []
        mask: list[int] = []
        for step in self.steps:
            written = tokenizer.encode(step.text, add_special_tokens=False)
            forced = prompt.observation_ids(step.observation)
            ids += written + forced
            mask += [1] * len(written) + [0] * len(forced)
        prompt_ids = prompt.question_ids(self.problem.question)
        return {
            "prompt_ids": prompt_ids,
            "ids": [*ids, tokenizer.eos_token_id],
            "loss_mask": [*mask, 1],
        }


@dataclass(frozen=True, slots=True)
class TIRGen:
    """How to generate."""

    fragments: int = 12
    """Steps of the generator in one answer."""
    least_chars: int = 20
    """Shorter fragments are left as they are."""
    refiner_prompt: str = REFINER_PROMPT

    def __post_init__(self) -> None:
        if self.fragments < 1:
            raise ValueError(f"fragments must be at least 1, got {self.fragments}")
        if "{fragment}" not in self.refiner_prompt:
            raise ValueError("refiner_prompt must contain '{fragment}', where the fragment goes")


def generate(
    problems: Sequence[Problem],
    env: ToRLMathEnv,
    generator: Callable[[Problem, str], str],
    refiner: Write,
    how: TIRGen | None = None,
) -> list[Sample]:
    r"""One sample for each problem.

    Args:
        problems: What to answer; the env must hold them.
        env: Runs the code; its budget of calls bounds the calls of a sample.
        generator: The next step of an answer, given the problem and the answer so far; it may end
            with `\boxed{}`, which ends the answer.
        refiner: Answers prompts, each made of a fragment alone.
        how: Bounds and the refiner's prompt.
    """
    how = how or TIRGen()
    return [_sample(problem, env, generator, refiner, how) for problem in problems]


def _sample(
    problem: Problem,
    env: ToRLMathEnv,
    generator: Callable[[Problem, str], str],
    refiner: Write,
    how: TIRGen,
) -> Sample:
    env.reset(options={"problem_id": problem.id})
    steps: list[Step] = []
    turn = ""
    for _ in range(how.fragments):
        so_far = "".join(step.text + step.observation for step in steps) + turn
        fragment = generator(problem, so_far)
        refined = _refined(fragment, refiner, how)
        turn += fragment if refined is None else refined
        if refined is None and "\\boxed" not in fragment:
            continue
        observation, _, terminated, truncated, info = env.step(turn)
        code = code_of(turn) if info["tool_status"] else ""
        steps.append(Step(turn, code, observation, info["tool_status"]))
        turn = ""
        if terminated or truncated:
            return Sample(problem, tuple(steps), info["verdict"] == "correct", terminated)
    if turn:
        steps.append(Step(turn, "", "", ""))
    return Sample(problem, tuple(steps), correct=False, finished=False)


def _refined(fragment: str, refiner: Write, how: TIRGen) -> str | None:
    """The fragment with code in place of its computation, `None` where there is none."""
    if len(fragment.strip()) < how.least_chars or "\\boxed" in fragment:
        return None
    (answer,) = refiner([how.refiner_prompt.replace("{fragment}", fragment)])
    if NOTHING in answer or "```python" not in answer:
        return None
    # What the refiner says after its program would keep the turn from being a call.
    end = answer.find("\n```", answer.rindex("```python") + len("```python"))
    return None if end < 0 else answer[: end + len("\n```")]


_PROGRAM = re.compile(r"^```python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def code_of(turn: str) -> str:
    r"""The last program of a turn.

    Example:
        >>> code_of("So\n```python\nprint(1)\n```")
        'print(1)\n'
    """
    found = _PROGRAM.findall(turn)
    return str(found[-1]) if found else ""
