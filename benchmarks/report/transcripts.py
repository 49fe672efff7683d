"""Which answers a page shows: all, or whole groups thinned evenly over problems and time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.core.run import transcripts
from agents.core.types import Trajectory
from benchmarks.heldout import records
from benchmarks.heldout.statistics import Estimate
from benchmarks.heldout.summary import batch_estimates
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

    @property
    def group(self) -> tuple[int, str, str]:
        """What its siblings share: run, place and problem."""
        return self.run, self.place, self.trajectory.problem_id


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a run's transcripts says, without their ids."""

    bands: Mapping[str, Mapping[int, Estimate]]
    """Intervals by metric and step, of the steps whose count agrees with the metrics."""
    groups: Mapping[tuple[str, str], int]
    """Answers by place and problem, in the order in which they come."""
    latest: tuple[str, tuple[Trajectory, ...]]
    """Name and answers of the last evaluation on record, or of the last step kept."""


def survey(run: Run) -> Survey:
    """Look through a run once; a long one has more answers than memory, so they are let go."""
    groups: dict[tuple[str, str], int] = {}
    bands: dict[str, dict[int, Estimate]] = {}
    counts = {int(step["step"]): step.get("count") for step in run.learning}
    latest: tuple[str, tuple[Trajectory, ...]] = "", ()

    def note(place: str, found: Sequence[Trajectory]) -> None:
        for trajectory in found:
            key = (place, trajectory.problem_id)
            groups[key] = groups.get(key, 0) + 1

    for name in run.evaluations:
        found = _answers(run, name)
        note(name, found)
        latest = (name, found) if found else latest
    of_steps = latest if not latest[1] else None
    for step, rows in run.steps():
        note(f"step {step}", rows)
        kept = [t for t in rows if t.scorable]
        if step in counts and counts[step] in (None, len(kept)):
            for metric, estimate in batch_estimates(kept).items():
                bands.setdefault(metric, {})[step] = estimate
        if of_steps is not None:
            latest = (f"step {step}", rows)
    return Survey(bands, groups, latest)


def _answers(run: Run, name: str) -> tuple[Trajectory, ...]:
    path = run.records(name)
    return records.read(path).trajectories if path.exists() else ()


def left_at(trajectory: Trajectory, branch: Trajectory) -> int | None:
    """Index of the turn that a branch writes anew, `None` where it does not come from here."""
    whole = (*trajectory.prompt_ids, *trajectory.ids)
    kept = len(branch.prompt_ids)
    if not branch.turns or tuple(branch.prompt_ids) != whole[:kept]:
        return None
    sampled = kept - len(trajectory.prompt_ids)
    places = (i for i, turn in enumerate(trajectory.turns) if turn.start <= sampled <= turn.end)
    return next(places, None)


def collect(runs: Sequence[Run], surveys: Sequence[Survey], limit: int) -> tuple[list[Shown], int]:
    """Transcripts of evaluations and training, evenly thinned to at most `limit`.

    Thinning keeps whole groups (all samples of a problem at a step), so that answers of one group
    can be compared, and of a problem all places, so that runs, steps and evaluations can be.

    Args:
        runs: To read.
        surveys: One of each.
        limit: Most answers.

    Returns:
        What is shown, and how many there are.
    """
    keys = [(index, *key) for index, found in enumerate(surveys) for key in found.groups]
    sizes = [count for found in surveys for count in found.groups.values()]
    wanted = set(keys) if sum(sizes) <= limit else _thinned(keys, sizes, limit)
    shown = [one for index, run in enumerate(runs) for one in _of_run(index, run, wanted)]
    return shown, sum(sizes)


def _thinned(
    keys: Sequence[tuple[int, str, str]], sizes: Sequence[int], limit: int
) -> set[tuple[int, str, str]]:
    """Groups that fit, problem by problem."""
    problems: dict[str, list[int]] = {}
    for number, (_, _, problem) in enumerate(keys):
        problems.setdefault(problem, []).append(number)
    by_problem = list(problems.values())
    kept, total = set(), 0
    for numbers in (by_problem[place] for place in spread(len(by_problem))):
        for number in (numbers[place] for place in spread(len(numbers))):
            if total + sizes[number] <= limit:
                kept.add(keys[number])
                total += sizes[number]
    return kept


def spread(count: int) -> list[int]:
    """All of `range(count)`, each beginning of which lies evenly over the whole.

    >>> spread(8)[:4]
    [0, 5, 2, 7]
    """
    # Multiples of the golden ratio, modulo 1, leave no large gap wherever one stops.
    return sorted(range(count), key=lambda i: (i * 0.618033988749895) % 1)


def _of_run(index: int, run: Run, wanted: set[tuple[int, str, str]]) -> Iterator[Shown]:
    for name in run.evaluations:
        order = -1 if name.startswith("before") else 10**9
        for trajectory in _answers(run, name):
            if (index, name, trajectory.problem_id) in wanted:
                yield Shown(index, name, order, trajectory)

    def is_wanted(step: int, row: Mapping[str, Any]) -> bool:
        return (index, f"step {step}", row["problem_id"]) in wanted

    branches: dict[tuple[int, str, int], list[Trajectory]] = {}
    for step, branch in transcripts.read(run.path / "branches", is_wanted):
        branches.setdefault((step, branch.problem_id, branch.sample), []).append(branch)
    for step, trajectory in transcripts.read(run.path / "transcripts", is_wanted):
        own = branches.get((step, trajectory.problem_id, trajectory.sample), ())
        yield Shown(index, f"step {step}", step, trajectory, tuple(own))


def grouped(shown: Iterable[Shown]) -> list[list[Shown]]:
    """The answers to each problem at each place, in the order in which these come."""
    groups: dict[tuple[int, str, str], list[Shown]] = {}
    for one in shown:
        groups.setdefault(one.group, []).append(one)
    return list(groups.values())
