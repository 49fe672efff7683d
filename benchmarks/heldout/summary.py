"""What the records of one evaluation say, each number with its 95 % interval."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import nan
from typing import Any

from agents.core.rollout.behaviour import Tally, tally
from agents.core.types import Trajectory
from agents.thor.selection import answer_clusters, can_vote
from benchmarks.heldout.records import Header, Records
from benchmarks.heldout.statistics import UNKNOWN, Estimate, majority_at_k, mean, pass_at_k, ratio


@dataclass(frozen=True, slots=True)
class Summary:
    """One evaluation in numbers; shares in [0, 1]."""

    header: Header
    answers: int
    """Trajectories on record."""
    unscorable: int
    """Lost to an infrastructure error or an undecided grade; in none of the numbers below."""
    empty: int
    """Answers without a word of the model, thoughts of a reasoning model apart."""
    accuracy: Estimate
    """avg@k: mean over problems of the share of correct answers."""
    pass_at: Mapping[int, Estimate]
    """Unbiased pass@j over the problems with at least j scorable answers."""
    majority_at: Mapping[int, Estimate]
    """maj@j; unknown where right answers are no texts, as programs under tests are not."""
    code_ratio: Estimate
    pass_ratio: Estimate
    pass_ratio_correct: Estimate
    pass_ratio_wrong: Estimate
    executed_ratio: Estimate
    success_ratio: Estimate
    before_answer_ratio: Estimate
    tool_calls: Estimate
    tokens: Estimate
    truncated: Estimate
    verdicts: Mapping[str, int]
    by_level: Mapping[str, Estimate]
    """Accuracy; absent when the source names no levels."""
    by_subject: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict (`nan` inside; `agents.core.run.storage.write_json` makes it null)."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Summary":
        """The inverse of `to_json`."""
        values: dict[str, Any] = {}
        for item in fields(cls):
            value = record.get(item.name, 0) if item.name == "empty" else record[item.name]
            if item.name == "header":
                value = Header.from_json(value)
            elif item.name in {"pass_at", "majority_at"}:
                value = {int(key): _estimate(entry) for key, entry in value.items()}
            elif item.name in {"by_level", "by_subject"}:
                value = {key: _estimate(entry) for key, entry in value.items()}
            elif isinstance(value, Mapping) and "low" in value:
                value = _estimate(value)
            values[item.name] = value
        return cls(**values)


def summarise(found: Records) -> Summary:
    """All numbers of one evaluation."""
    kept = [t for t in found.trajectories if t.scorable]
    problems = _by_problem(kept)
    sizes = [size for size in _sizes(found.header.k) if any(len(p) >= size for p in problems)]
    votes = can_vote(kept)
    clusters = [answer_clusters([t.answer for t in p]) for p in problems] if votes else []
    return Summary(
        header=found.header,
        answers=len(found.trajectories),
        unscorable=len(found.trajectories) - len(kept),
        empty=sum(_is_empty(t) for t in found.trajectories),
        pass_at={size: _pass_at(problems, size) for size in sizes},
        majority_at={
            size: _majority_at(problems, clusters, size) if votes else UNKNOWN for size in sizes
        },
        verdicts=_count(t.verdict for t in found.trajectories),
        by_level=_split(kept, [t.level for t in kept]),
        by_subject=_split(kept, [t.subject for t in kept]),
        **batch_estimates(kept),
    )


def batch_estimates(kept: Sequence[Trajectory]) -> dict[str, Estimate]:
    """Accuracy and behaviour metrics of scorable answers, by name, intervals over problems."""
    ids = [t.problem_id for t in kept]
    tallies = [tally(t) for t in kept]

    def share(part: Callable[[Tally], float], whole: Callable[[Tally], float]) -> Estimate:
        return ratio([part(t) for t in tallies], [whole(t) for t in tallies], ids)

    def average(value: Callable[[Tally], float], share: bool = True) -> Estimate:
        return mean([float(value(t)) for t in tallies], ids, share=share)

    return {
        "accuracy": average(lambda t: t.correct),
        "code_ratio": average(lambda t: t.blocks > 0),
        "pass_ratio": share(lambda t: t.passed, lambda t: t.ran),
        "pass_ratio_correct": share(lambda t: t.passed * t.correct, lambda t: t.ran * t.correct),
        "pass_ratio_wrong": share(
            lambda t: t.passed * (not t.correct), lambda t: t.ran * (not t.correct)
        ),
        "executed_ratio": share(lambda t: t.ran, lambda t: t.blocks),
        "success_ratio": share(lambda t: t.passed, lambda t: t.blocks),
        "before_answer_ratio": share(lambda t: t.before_answer, lambda t: t.blocks),
        "tool_calls": average(lambda t: t.tool_calls, share=False),
        "tokens": average(lambda t: t.tokens, share=False),
        "truncated": average(lambda t: t.truncated),
    }


def per_problem(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Share of correct answers of each problem with at least one scorable answer."""
    groups = _by_problem([t for t in trajectories if t.scorable])
    return {group[0].problem_id: sum(t.correct for t in group) / len(group) for group in groups}


_THOUGHT = re.compile(r"\A<think>.*?(</think>|\Z)", re.DOTALL)


def _is_empty(t: Trajectory) -> bool:
    """Whether nothing was written; where the machine failed first, this is unknown."""
    return not t.infra_error and not any(_THOUGHT.sub("", turn.text).strip() for turn in t.turns)


def _by_problem(kept: Sequence[Trajectory]) -> list[list[Trajectory]]:
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in kept:
        groups.setdefault(trajectory.problem_id, []).append(trajectory)
    return list(groups.values())


def _sizes(k: int) -> list[int]:
    """1, 2, 4, ... and k itself."""
    return sorted({2**power for power in range(k.bit_length()) if 2**power <= k} | {k})


def _pass_at(problems: Sequence[Sequence[Trajectory]], k: int) -> Estimate:
    return mean([pass_at_k(len(p), sum(t.correct for t in p), k) for p in problems if len(p) >= k])


def _majority_at(
    problems: Sequence[Sequence[Trajectory]], clusters: Sequence[Sequence[int]], k: int
) -> Estimate:
    return mean(
        [
            majority_at_k(home, [t.correct for t in p], k)
            for p, home in zip(problems, clusters, strict=True)
            if len(p) >= k
        ]
    )


def _split(kept: Sequence[Trajectory], names: Sequence[str]) -> dict[str, Estimate]:
    found = {}
    for name in sorted(set(names), key=_natural):
        part = [t for t, own in zip(kept, names, strict=True) if own == name]
        if name:
            found[name] = mean([float(t.correct) for t in part], [t.problem_id for t in part])
    return found


def _natural(name: str) -> tuple[float, str]:
    """Levels in their order: 2 before 10, `Level 2` before `Level 10`."""
    digits = "".join(c for c in name if c.isdigit() or c == ".")
    try:
        return float(digits), name
    except ValueError:
        return float("inf"), name


def _count(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    if not entry["count"]:
        return UNKNOWN
    value, low, high = (
        nan if entry[name] is None else float(entry[name]) for name in ("value", "low", "high")
    )
    return Estimate(value, low, high, entry["count"])
