"""Trajectories as the page shows them: compact, labelled, with a bound on their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.core.types import Trajectory, Turn
from benchmarks.heldout import records
from benchmarks.heldout.cases import cases
from benchmarks.report.runs import Run


@dataclass(frozen=True, slots=True)
class Shown:
    """A trajectory and where it comes from."""

    run: int
    """Index of the run on the page."""
    place: str
    """`step 12`, or the name of an evaluation."""
    order: int
    """Sorts places in time; evaluations before training are negative."""
    trajectory: Trajectory
    branches: tuple[Trajectory, ...] = ()
    """Single turns that were written anew, each with its own prompt."""

    def to_json(self) -> dict[str, Any]:
        """Short keys, because a page holds thousands; ids and log-probabilities stay behind."""
        t = self.trajectory
        return {
            "run": self.run,
            "place": self.place,
            "order": self.order,
            "id": t.problem_id,
            "sample": t.sample,
            "question": t.question,
            "reference": t.reference,
            "verdict": t.verdict,
            "answer": t.answer,
            "level": t.level,
            "subject": t.subject,
            "reward": t.reward,
            "terms": dict(t.reward_terms),
            "stop": t.stop_reason,
            "lost": "" if t.scorable else (t.infra_error or "ungradable"),
            "tokens": sum(t.loss_mask),
            "cases": sorted(cases(t)),
            "turns": [_turn(turn, turn.reward) for turn in t.turns],
            "branches": [
                {"at": place, **_turn(branch.turns[-1], branch.reward)}
                for branch in self.branches
                if (place := left_at(t, branch)) is not None
            ],
        }


def _turn(turn: Turn, reward: float) -> dict[str, Any]:
    return {
        "text": turn.text,
        "output": turn.observation,
        "status": turn.tool_status,
        "error": turn.error_type,
        "reward": reward,
    }


def left_at(trajectory: Trajectory, branch: Trajectory) -> int | None:
    """Index of the turn that a branch writes anew, `None` where it does not come from here."""
    whole = (*trajectory.prompt_ids, *trajectory.ids)
    kept = len(branch.prompt_ids)
    if not branch.turns or tuple(branch.prompt_ids) != whole[:kept]:
        return None
    sampled = kept - len(trajectory.prompt_ids)
    places = (i for i, turn in enumerate(trajectory.turns) if turn.start <= sampled <= turn.end)
    return next(places, None)


def collect(runs: Sequence[Run], limit: int) -> tuple[list[Shown], int]:
    """Transcripts of evaluations and training, evenly thinned to at most `limit`.

    Thinning keeps whole problems (all samples of a problem at a step), so that answers of one group
    can be compared.

    Returns:
        What is shown, and how many there are.
    """
    found = [shown for index, run in enumerate(runs) for shown in _of_run(index, run)]
    if len(found) <= limit:
        return found, len(found)
    groups: dict[tuple[int, str, str], list[Shown]] = {}
    for shown in found:
        groups.setdefault((shown.run, shown.place, shown.trajectory.problem_id), []).append(shown)
    share = limit / len(found)
    kept: list[Shown] = []
    for number, group in enumerate(groups.values()):
        wanted = int((number + 1) * share) > int(number * share)
        if wanted and len(kept) + len(group) <= limit:
            kept += group
    return kept, len(found)


def _of_run(index: int, run: Run) -> Iterator[Shown]:
    for name in run.evaluations:
        path = run.records(name)
        if path.exists():
            order = -1 if name.startswith("before") else 10**9
            for trajectory in records.read(path).trajectories:
                yield Shown(index, name, order, trajectory)
    branches: dict[tuple[int, str, int], list[Trajectory]] = {}
    for step, branch in run.branches():
        branches.setdefault((step, branch.problem_id, branch.sample), []).append(branch)
    for step, trajectory in run.transcripts():
        own = branches.get((step, trajectory.problem_id, trajectory.sample), ())
        yield Shown(index, f"step {step}", step, trajectory, tuple(own))
