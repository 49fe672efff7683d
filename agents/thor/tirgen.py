"""TIRGen: turn a policy's own reasoning into tool-integrated traces (THOR, section 2.2).

A generator (the policy) writes a natural-language step; a refiner (any policy) sees that fragment
alone, neither question nor answer, and replaces the computation in it by code. The code runs for
real, its output joins the text, and the generator goes on from there until it has answered.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.core.rollout.prompts import Prompt
from torl_env import ToRLMathEnv
from torl_env.parsing.fenced import ends_of_calls
from torl_env.parsing.types import Malformed, Parser, ToolCall
from torl_env.problems.types import Problem

Write = Callable[[Sequence[str]], Sequence[str]]
"""Continues texts; a policy (see `agents.core.policies.writing`) or a server behind it."""

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
    shown: str = ""
    """The question as the environment shows it, where that is known."""

    @property
    def text(self) -> str:
        """The whole answer, outputs included."""
        return "".join(step.text + step.observation for step in self.steps)

    @property
    def calls(self) -> int:
        """Programs that ran."""
        return sum(bool(step.status) for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Sample":
        """The inverse of `to_json`."""
        steps = tuple(Step(**step) for step in record["steps"])
        problem = Problem(**record["problem"])
        ended = bool(record["correct"]), bool(record["finished"])
        return cls(problem, steps, *ended, record.get("shown", ""))

    def tokens(self, prompt: Prompt, tokenizer: Any) -> dict[str, list[int]]:
        """Ids for TIR-SFT: `prompt_ids`, `ids`, and `loss_mask` with 0 on tool output."""
        ids: list[int] = []
        mask: list[int] = []
        for step in self.steps:
            written = tokenizer.encode(step.text, add_special_tokens=False)
            forced = prompt.observation_ids(step.observation)
            ids += written + forced
            mask += [1] * len(written) + [0] * len(forced)
        prompt_ids = prompt.question_ids(self.shown or self.problem.question)
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


Reason = Callable[[Sequence[tuple[Problem, str]]], Sequence[str]]
"""The next step of each answer, given its problem and the answer so far."""


@dataclass(slots=True)
class _Draft:
    """A sample that is being written."""

    problem: Problem
    env: ToRLMathEnv
    shown: str
    steps: list[Step] = field(default_factory=list)
    turn: str = ""
    sample: Sample | None = None
    """Set when the episode is over."""

    @property
    def so_far(self) -> str:
        return "".join(step.text + step.observation for step in self.steps) + self.turn

    def is_prose(self, fragment: str) -> bool:
        """Whether a step leaves something to refine: no program of its own, and calls are left."""
        parser = self.env.config.components.parser
        # A program may go on over several steps; with a fence behind it an open one is a call.
        own = to_first_call(f"{self.turn}{fragment}\n```", parser)
        ran = sum(bool(step.status) for step in self.steps)
        return own is None and ran < self.env.config.tool_budget

    def add(self, fragment: str, refined: str | None) -> None:
        """Take a step, or what the refiner made of it; a call or an answer is acted on.

        What stands behind the first call was written without its output, and is left out.
        """
        parser = self.env.config.components.parser
        call = to_first_call(self.turn + refined, parser) if refined is not None else None
        call = call or to_first_call(self.turn + fragment, parser)
        self.turn = call or self.turn + fragment
        if call is None and "\\boxed" not in fragment:
            return
        observation, _, terminated, truncated, info = self.env.step(self.turn)
        code = code_of(self.turn) if info["tool_status"] else ""
        self.steps.append(Step(self.turn, code, observation, info["tool_status"]))
        self.turn = ""
        if terminated or truncated:
            correct = info["verdict"] == "correct"
            steps = tuple(self.steps)
            self.sample = Sample(self.problem, steps, correct, terminated, self.shown)

    def end(self) -> Sample:
        """The sample; unfinished where no answer came."""
        if self.sample is not None:
            return self.sample
        if self.turn:
            self.steps.append(Step(self.turn, "", "", ""))
        steps = tuple(self.steps)
        return Sample(self.problem, steps, correct=False, finished=False, shown=self.shown)


def generate(
    problems: Sequence[Problem],
    env: ToRLMathEnv,
    generator: Callable[[Problem, str], str],
    refiner: Write,
    how: TIRGen | None = None,
) -> list[Sample]:
    r"""One sample for each problem, one after the other.

    Args:
        problems: What to answer; the env must hold them.
        env: Runs the code; its budget of calls bounds the calls of a sample.
        generator: The next step of an answer, given the problem and the answer so far; it may end
            with `\boxed{}`, which ends the answer.
        refiner: Answers prompts, each made of a fragment alone.
        how: Bounds and the refiner's prompt.
    """

    def reason(asked: Sequence[tuple[Problem, str]]) -> list[str]:
        return [generator(problem, so_far) for problem, so_far in asked]

    return [generate_together([problem], [env], reason, refiner, how)[0] for problem in problems]


def generate_together(
    problems: Sequence[Problem],
    envs: Sequence[ToRLMathEnv],
    generator: Reason,
    refiner: Write,
    how: TIRGen | None = None,
) -> list[Sample]:
    """One sample for each problem, all in step, so that generator and refiner work on batches.

    Args:
        problems: What to answer; a problem may come several times.
        envs: One for each, which holds its problem.
        generator: As in `generate`, for all answers that go on.
        refiner: As in `generate`.
        how: As in `generate`.
    """
    how = how or TIRGen()
    drafts = [
        _Draft(problem, env, env.reset(options={"problem_id": problem.id})[0])
        for problem, env in zip(problems, envs, strict=True)
    ]
    for _ in range(how.fragments):
        left = [draft for draft in drafts if draft.sample is None]
        if not left:
            break
        fragments = generator([(draft.problem, draft.so_far) for draft in left])
        prose = [draft.is_prose(said) for draft, said in zip(left, fragments, strict=True)]
        refined = _refined_all(fragments, prose, refiner, how)
        for draft, fragment, better in zip(left, fragments, refined, strict=True):
            draft.add(fragment, better)
    return [draft.end() for draft in drafts]


def _refined_all(
    fragments: Sequence[str], prose: Sequence[bool], refiner: Write, how: TIRGen
) -> list[str | None]:
    """Each fragment with code in place of its computation, `None` where there is none."""
    shown = [
        i
        for i, fragment in enumerate(fragments)
        if prose[i] and len(fragment.strip()) >= how.least_chars and "\\boxed" not in fragment
    ]
    found: list[str | None] = [None] * len(fragments)
    if shown:
        prompts = [how.refiner_prompt.replace("{fragment}", fragments[i]) for i in shown]
        for i, answer in zip(shown, refiner(prompts), strict=True):
            found[i] = _with_code(answer)
    return found


def _with_code(answer: str) -> str | None:
    """The refiner's rewriting, `None` where it has no program."""
    return None if NOTHING in answer or "```python" not in answer else answer


def to_first_call(text: str, parser: Parser) -> str | None:
    r"""A text up to the end of its first call, `None` where it has none.

    Example:
        >>> from torl_env.parsing.fenced import FencedParser
        >>> to_first_call("So\n```python\n1\n```\n```output\n2\n```\n", FencedParser())
        'So\n```python\n1\n```'
    """
    ends = ends_of_calls(parser)
    for end in range(1, len(text) + 1):
        if text.endswith(ends, 0, end) and isinstance(
            parser.parse(text[:end]), ToolCall | Malformed
        ):
            return text[:end]
    return None


_PROGRAM = re.compile(r"^```python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def code_of(turn: str) -> str:
    r"""The last program of a turn.

    Example:
        >>> code_of("So\n```python\nprint(1)\n```")
        'print(1)\n'
    """
    found = _PROGRAM.findall(turn)
    return str(found[-1]) if found else ""
