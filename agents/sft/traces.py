"""Traces to imitate: tool-integrated answers whose every output is a real execution.

A trace is ids with a loss mask like any trajectory: 1 on what the policy is to write, 0 on prompt
and tool output. (THOR's release also trains on tool output, which teaches a model to invent it.)
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.core.rollout.prompts import Prompt
from torl_env import ToRLMathEnv
from torl_env.problems.procedural import worked, worked_by_hand
from torl_env.problems.types import Problem

IGNORED = -100
"""The label that transformers' losses leave out."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One answer to imitate, token by token."""

    prompt_ids: Sequence[int]
    ids: Sequence[int]
    """Everything after the prompt, the end-of-sequence id last."""
    loss_mask: Sequence[int]
    """1 on ids to learn, 0 on tool output; same length as `ids`."""
    text: str

    def labels(self) -> list[int]:
        """Targets for prompt and response together; `IGNORED` where there is nothing to learn."""
        targets = [i if m else IGNORED for i, m in zip(self.ids, self.loss_mask, strict=True)]
        return [IGNORED] * len(self.prompt_ids) + targets


class TraceWriter:
    """Plays given turns in the environment and keeps what happened as a `Trace`.

    Args:
        env: The environment; its tool runs the code of the turns.
        prompt: The prompt style that the policy will be used with.
        tokenizer: The policy's tokenizer.
    """

    def __init__(self, env: ToRLMathEnv, prompt: Prompt, tokenizer: Any) -> None:
        self._env = env
        self._prompt = prompt
        self._tokenizer = tokenizer

    def play(self, problem: Problem, turns: Iterator[str] | Sequence[str]) -> Trace | None:
        """The trace of an episode with these turns; `None` unless it ends with a right answer.

        A turn may contain `{output}`, which becomes the last tool output without outer space.
        """
        question, _ = self._env.reset(options={"problem_id": problem.id})
        ids: list[int] = []
        mask: list[int] = []
        text, output = "", ""
        for turn in turns:
            said = turn.replace("{output}", output)
            sampled = self._tokenizer.encode(said, add_special_tokens=False)
            observation, _, terminated, truncated, info = self._env.step(said)
            forced = self._prompt.observation_ids(observation)
            ids += sampled + forced
            mask += [1] * len(sampled) + [0] * len(forced)
            text += said + self._tokenizer.decode(forced)
            output = _printed(observation)
            if terminated or truncated:
                if info["verdict"] != "correct":
                    return None
                prompt_ids = self._prompt.question_ids(question)
                end = self._tokenizer.eos_token_id
                return Trace(prompt_ids, (*ids, end), (*mask, 1), text)
        return None


def _printed(observation: str) -> str:
    """What stands between the fences of an output block."""
    return observation.strip().removeprefix("```output").removesuffix("```").strip()


def tool_turns(problem: Problem) -> list[str]:
    """A plan, a program that works the problem out, and the answer that it printed."""
    solution = worked(problem)
    return [
        f"I will use Python to {solution.plan}.\n```python\n{solution.code}\n```",
        "The answer is \\boxed{{output}}.",
    ]


def text_turns(problem: Problem) -> list[str]:
    """The same plan without code: the bare answer."""
    return [f"I will {worked(problem).plan} by hand. The answer is \\boxed{{{problem.answer}}}."]


def reasoned_turns(problem: Problem) -> list[str]:
    """The same plan worked by hand, step by step."""
    steps = worked_by_hand(problem)
    return [f"I will {worked(problem).plan}. {steps} The answer is \\boxed{{{problem.answer}}}."]


def warm_start_traces(
    writer: TraceWriter,
    problems: Sequence[Problem],
    *,
    code_share: float = 0.5,
    seed: int = 0,
    on_trace: Callable[[], None] = lambda: None,
) -> list[Trace]:
    """A mixture of answers with and without a tool call, about one for each problem.

    Args:
        writer: Plays the turns.
        problems: Procedural problems, which come with a reference program.
        code_share: Share of answers that call the tool; the rest keeps the policy's choice open, as
            ToRL's base model starts with code in about 0.4 of its answers. With 0 no program is
            there to imitate, and the answers are worked by hand: a text-only run is a fair opponent
            only if what it imitates shows the work too.
        seed: Of the choice.
        on_trace: Called after each trace.
    """
    rng = random.Random(f"warm-start/{seed}")
    without = text_turns if code_share else reasoned_turns
    traces = []
    for problem in problems:
        turns = tool_turns(problem) if rng.random() < code_share else without(problem)
        trace = writer.play(problem, turns)
        if trace is not None:
            traces.append(trace)
        on_trace()
    return traces
