"""New verdicts for old answers: records are graded again without any inference."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agents.core.run.storage import RecordError
from agents.core.types import Trajectory, Turn
from benchmarks.heldout.code_suites import GRADER as CODE_GRADER
from benchmarks.heldout.records import OWN_ENVIRONMENT, Records
from rewards import Grade, Verdict
from torl_env import EnvConfig
from torl_env.parsing.fenced import FencedParser
from torl_env.parsing.types import Parser

Grader = Callable[[str, str], Grade]
"""`grader(response, reference)`, as the environment calls it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One verdict that is no longer what it was."""

    problem_id: str
    sample: int
    answer: str
    reference: str
    before: str
    after: str
    rule: str
    """Of the new grader."""


@dataclass(frozen=True, slots=True)
class Regraded:
    """Records with new verdicts, and what changed."""

    records: Records
    changes: tuple[Change, ...]


def regrade(old: Records, grade: Grader, name: str, parser: Parser | None = None) -> Regraded:
    """Grade every answer again.

    An infrastructure error stays one, and rewards stay as they were: they belong to the run.

    Args:
        old: Records as read.
        grade: The new grader.
        name: Its name, for the header.
        parser: Of the turns, to tell prose from code; by default that of the environment on
            record.

    Raises:
        RecordError: If the answers are programs, or an environment of one's own gave the verdicts.
        ConfigError: The parser on record was an object without a name: give it.
    """
    if old.header.grader == CODE_GRADER:
        raise RecordError(
            f"{old.header.problems}: programs are graded by tests and not by their text; "
            f"run torl eval again"
        )
    if old.header.grader.startswith(OWN_ENVIRONMENT):
        raise RecordError(
            f"{old.header.problems}: {old.header.grader} gave the verdicts, and records hold no "
            "reference answers; run torl eval again"
        )
    reader = parser or _parser(old)
    trajectories, changes = [], []
    for trajectory in old.trajectories:
        if trajectory.infra_error:
            trajectories.append(trajectory)
            continue
        found = grade(prose(trajectory.turns, reader), trajectory.reference)
        new = replace(
            trajectory,
            verdict=str(found.verdict),
            answer=found.answer or "",
            scorable=found.verdict is not Verdict.UNGRADABLE,
        )
        trajectories.append(new)
        if new.verdict != trajectory.verdict:
            changes.append(_change(trajectory, new, found.rule))
    header = replace(old.header, grader=name)
    return Regraded(Records(header, tuple(trajectories)), tuple(changes))


def _parser(old: Records) -> Parser:
    """How the environment of the records read turns: fenced, where they do not say."""
    kept = {
        name: old.header.environment[name]
        for name in ("format", "parser", "tools")
        if name in old.header.environment
    }
    if "parser" not in kept:
        return FencedParser()
    return EnvConfig.from_json(json.dumps(kept)).components.parser


def prose(turns: Sequence[Turn], parser: Parser) -> str:
    """What the model wrote outside of code, turn by turn, as the environment hands it to a grader.

    A turn that the environment let go on (nothing came back) is one turn with what follows.
    """
    return "\n\n".join(parser.prose(text) for text in _joined(turns))


def _joined(turns: Sequence[Turn]) -> Iterable[str]:
    text = ""
    for turn in turns:
        text += turn.text
        if turn.observation:
            yield text
            text = ""
    if text:
        yield text


def _change(old: Trajectory, new: Trajectory, rule: str) -> Change:
    return Change(
        old.problem_id, old.sample, new.answer, old.reference, old.verdict, new.verdict, rule
    )
