"""Which differences of two evaluations are real: paired by problem, corrected for many tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.core.run.storage import RecordError
from agents.core.types import Trajectory
from benchmarks.heldout.records import Records, different
from benchmarks.heldout.statistics import Difference, holm, paired
from benchmarks.heldout.summary import per_problem


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison."""

    name: str
    """`all`, or a level or subject."""
    difference: Difference
    adjusted: float
    """Holm's p-value over all lines of the table but the first, which stands alone."""

    @property
    def real(self) -> bool:
        """Whether the difference is significant at 5 % after correction."""
        return self.adjusted < 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A."""

    lines: tuple[Line, ...]
    """First the whole, then each level, then each subject."""
    warnings: tuple[str, ...]


def compare(a: Records, b: Records, seed: int = 0) -> Comparison:
    """Compare two evaluations of the same problems.

    Different models, tool budgets, temperatures and k are what one compares; another grader or
    another set of problems would make the difference meaningless.

    Raises:
        RecordError: If graders or problems differ, or nothing is common.
    """
    if a.header.grader != b.header.grader:
        raise RecordError(
            f"verdicts of two graders cannot be compared: {a.header.grader!r} against "
            f"{b.header.grader!r}; run `torl regrade` on both"
        )
    first, second = per_problem(a.trajectories), per_problem(b.trajectories)
    shared = _shared(a.trajectories, b.trajectories)
    common = [problem for problem in first if problem in second and problem in shared]
    if not common:
        raise RecordError(
            "no problem is in both, with an answer that can be scored: "
            f"{a.header.problems!r} against {b.header.problems!r}"
        )
    whole = _difference(first, second, common, seed)
    parts = {
        name: _difference(first, second, members, seed)
        for name, members in _parts(a.trajectories, common).items()
    }
    adjusted = holm([part.p_value for part in parts.values()])
    lines = [Line("all", whole, whole.p_value)]
    lines += [Line(n, d, p) for (n, d), p in zip(parts.items(), adjusted, strict=True)]
    return Comparison(tuple(lines), tuple(_warnings(a, b, len(common), len(shared))))


def _shared(a: Sequence[Trajectory], b: Sequence[Trajectory]) -> set[str]:
    """Ids under which both were asked the same; in files of one's own an id may be a number only.

    What a record does not say (questions of older ones) is taken to be the same.
    """
    asked = {t.problem_id: (t.question, t.reference) for t in a}
    return {
        t.problem_id
        for t in b
        if t.problem_id in asked
        and all(
            not one or not other or one == other
            for one, other in zip(asked[t.problem_id], (t.question, t.reference), strict=True)
        )
    }


def _same_in_another_order(a: Records, b: Records, shared: int) -> bool:
    stated = all(t.question and t.reference for t in (*a.trajectories, *b.trajectories))
    return stated and shared == a.header.count == b.header.count


def _difference(
    a: Mapping[str, float], b: Mapping[str, float], members: Sequence[str], seed: int
) -> Difference:
    return paired([a[name] for name in members], [b[name] for name in members], seed=seed)


def _parts(trajectories: Sequence[Trajectory], common: Sequence[str]) -> dict[str, list[str]]:
    """Problem ids of each level and subject, where there are at least two of them."""
    known = {t.problem_id: t for t in trajectories}
    found: dict[str, list[str]] = {}
    for field in ("level", "subject"):
        groups: dict[str, list[str]] = {}
        for problem in common:
            if value := getattr(known[problem], field):
                groups.setdefault(f"{field} {value}", []).append(problem)
        if len(groups) > 1:
            found |= dict(sorted(groups.items()))
    return found


def _warnings(a: Records, b: Records, common: int, shared: int) -> list[str]:
    found = []
    for name, records in (("A", a), ("B", b)):
        if not records.complete:
            found.append(
                f"{name} is not complete: {len(records.trajectories)} of "
                f"{records.header.count * records.header.k} answers"
            )
    if a.header.fingerprint != b.header.fingerprint and not _same_in_another_order(a, b, shared):
        found.append(f"the sets of problems differ; compared on the {common} that both have")
    if common < shared:
        found.append(
            f"{shared - common} of the {shared} problems of both are left out: all answers of a "
            "side were lost to the machine, or could not be graded"
        )
    if gaps := different(a.header.environment, b.header.environment):
        differences = "; ".join(gap.replace(":", "", 1) for gap in gaps)
        found.append(f"the environments differ: {differences}")
    if a.header.versions != b.header.versions:
        differences = "; ".join(different(a.header.versions, b.header.versions))
        found.append(f"made with other versions: {differences}")
    if a.header.k != b.header.k:
        found.append(f"A has {a.header.k} answers to a problem, B has {b.header.k}")
    return found
