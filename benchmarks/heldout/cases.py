"""Emergent behaviour, counted by rules that a reader can check, with the cases behind each number.

ToRL (arXiv 2503.23383, section 4, tables 5 and 6) shows single transcripts of a model that repairs
its code after an error, checks its reasoning by code, or changes its mind after a contradiction.
Here each is a rule on one trajectory; a rule sees text and outputs only, never an opinion of a
model, so it is exact in what it says and says no more than that.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from agents.core.rollout.behaviour import CALLS, recorded_call_start
from agents.core.types import Trajectory, Turn
from agents.thor.selection import answer_clusters
from benchmarks.heldout.statistics import Estimate, chi_square, mean
from benchmarks.heldout.summary import batch_estimates

_BOX = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_CODE = re.compile(r"```python.*?(?:```|\Z)", re.DOTALL)
_INVENTED = re.compile(r"```output\s*\S|<(?:output|tool_response)>\s*[^\s<]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Case(StrEnum):
    """Names of the rules; what each says is in `MEANING`."""

    TOOL = "tool"
    TEXT_ONLY = "text_only"
    FIXED_ERROR = "fixed_error"
    REPEATED_ERROR = "repeated_error"
    CHANGED_MIND = "changed_mind"
    CONFIRMED = "confirmed"
    COPIED = "copied"
    CONTRADICTED = "contradicted"
    INVENTED_OUTPUT = "invented_output"
    CODE_NOT_RUN = "code_not_run"


MEANING: Mapping[Case, str] = {
    Case.TOOL: "At least one program ran, or another tool.",
    Case.TEXT_ONLY: "No code was written, and no other tool called.",
    Case.FIXED_ERROR: "A program failed and a later one ran without error (table 5).",
    Case.REPEATED_ERROR: "Two programs in a row failed with the same type of error.",
    Case.CHANGED_MIND: "An answer stood before a program ran, and the final one differs (table 6).",
    Case.CONFIRMED: "An answer stood before a program ran, which printed it, and it stayed.",
    Case.COPIED: "The final answer is the last number that a program printed.",
    Case.CONTRADICTED: "The final answer is a number, and none of the numbers that were printed.",
    Case.INVENTED_OUTPUT: "The model wrote an output block (```output, ...) with content itself.",
    Case.CODE_NOT_RUN: "A call was written that did not run: no budget left, or no proper call.",
}


@dataclass(frozen=True, slots=True)
class Count:
    """How often one case occurs, with examples."""

    case: Case
    share: Estimate
    """Of the scorable answers, interval over problems."""
    accuracy: Estimate
    """Of the answers in which it occurs."""
    examples: tuple[tuple[str, int], ...]
    """Problem id and sample of the first few."""


def cases(trajectory: Trajectory) -> frozenset[Case]:
    """Every case that one answer is an example of."""
    return frozenset(case for case, rule in _RULES.items() if rule(trajectory))


def count_cases(trajectories: Iterable[Trajectory], examples: int = 5) -> tuple[Count, ...]:
    """Shares, accuracies and examples of every case over the scorable answers."""
    kept = [t for t in trajectories if t.scorable]
    labels = [cases(t) for t in kept]
    ids = [t.problem_id for t in kept]
    found = []
    for case in Case:
        members = [t for t, own in zip(kept, labels, strict=True) if case in own]
        found.append(
            Count(
                case=case,
                share=mean([float(case in own) for own in labels], ids),
                accuracy=mean([float(t.correct) for t in members], [t.problem_id for t in members]),
                examples=tuple((t.problem_id, t.sample) for t in members[:examples]),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Execution:
    """THOR's table 4: whether execution predicts correctness."""

    table: tuple[tuple[int, int], tuple[int, int]]
    """Rows: all programs passed, some failed. Columns: right, wrong."""
    right_if_passed: float
    right_if_failed: float
    statistic: float
    """Chi-square without Yates' correction. Answers to one problem are counted as independent, as
    in the paper, so the p-value is too small when there are many of each."""
    p_value: float


def execution_against_correctness(trajectories: Iterable[Trajectory]) -> Execution:
    """Cross answers with code by whether all programs passed and whether the answer is right."""
    counts = {(passed, right): 0 for passed in (True, False) for right in (True, False)}
    for trajectory in trajectories:
        if trajectory.scorable and (ran := _ran(trajectory)):
            passed = all(turn.tool_status == "ok" for turn in ran)
            counts[passed, trajectory.correct] += 1
    table = tuple((counts[passed, True], counts[passed, False]) for passed in (True, False))
    statistic, p_value = chi_square(table)
    return Execution((table[0], table[1]), _share(*table[0]), _share(*table[1]), statistic, p_value)


@dataclass(frozen=True, slots=True)
class Calls:
    """THOR's table 6: how good answers are, and what becomes of their calls."""

    accuracy: Estimate
    code_ratio: Estimate
    failed: int
    """Programs that ran and failed through the model's own fault."""
    passed: int
    pass_ratio: Estimate


def calls(trajectories: Iterable[Trajectory]) -> Calls:
    """Counts and shares over the scorable answers."""
    kept = [t for t in trajectories if t.scorable]
    found = batch_estimates(kept)
    statuses = [turn.tool_status for t in kept for turn in _ran(t)]
    passed = statuses.count("ok")
    return Calls(
        found["accuracy"],
        found["code_ratio"],
        len(statuses) - passed,
        passed,
        found["pass_ratio"],
    )


def _calls(turn: Turn) -> bool:
    return "```python" in turn.text or turn.action_kind in CALLS


def _ran(trajectory: Trajectory) -> list[Turn]:
    return [turn for turn in trajectory.turns if turn.tool_status]


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else float("nan")


def _fixed_error(trajectory: Trajectory) -> bool:
    passed = [turn.tool_status == "ok" for turn in _ran(trajectory)]
    return False in passed and True in passed[passed.index(False) :]


def _repeated_error(trajectory: Trajectory) -> bool:
    errors = [turn.error_type for turn in _ran(trajectory)]
    return any(a and a == b for a, b in pairwise(errors))


def _early_answer(trajectory: Trajectory) -> tuple[str, Sequence[Turn]] | None:
    """The last boxed answer before a program, and the turns from that program on."""
    box = ""
    for index, turn in enumerate(trajectory.turns):
        before = turn.text[: recorded_call_start(turn)] if turn.tool_status else turn.text
        boxes = _BOX.findall(_CODE.sub("", before))
        box = boxes[-1].strip() if boxes else box
        if box and turn.tool_status:
            return box, trajectory.turns[index:]
    return None


def _changed_mind(trajectory: Trajectory) -> bool:
    early = _early_answer(trajectory)
    return early is not None and bool(trajectory.answer) and not _same(early[0], trajectory.answer)


def _confirmed(trajectory: Trajectory) -> bool:
    early = _early_answer(trajectory)
    if early is None or not _same(early[0], trajectory.answer):
        return False
    return early[0] in _printed(early[1])


def _same(one: str, other: str) -> bool:
    """Whether the grader takes each for the other: 0.5 is no change of mind about 1/2."""
    first, second = answer_clusters([one, other])
    return first == second


def _printed(turns: Sequence[Turn]) -> list[str]:
    """Numbers printed by programs that passed, in order."""
    passed = (turn for turn in turns if turn.tool_status == "ok")
    return [number for turn in passed for number in _NUMBER.findall(turn.observation)]


def _copied(trajectory: Trajectory) -> bool:
    printed = _printed(trajectory.turns)
    return bool(printed) and trajectory.answer.strip() == printed[-1]


def _contradicted(trajectory: Trajectory) -> bool:
    printed, answer = _printed(trajectory.turns), trajectory.answer.strip()
    return bool(printed) and bool(_NUMBER.fullmatch(answer)) and answer not in printed


_RULES: dict[Case, Callable[[Trajectory], bool]] = {
    Case.TOOL: lambda t: bool(_ran(t)),
    Case.TEXT_ONLY: lambda t: not any(map(_calls, t.turns)),
    Case.FIXED_ERROR: _fixed_error,
    Case.REPEATED_ERROR: _repeated_error,
    Case.CHANGED_MIND: _changed_mind,
    Case.CONFIRMED: _confirmed,
    Case.COPIED: _copied,
    Case.CONTRADICTED: _contradicted,
    Case.INVENTED_OUTPUT: lambda t: any(_INVENTED.search(turn.text) for turn in t.turns),
    Case.CODE_NOT_RUN: lambda t: any(_calls(turn) and not turn.tool_status for turn in t.turns),
}
