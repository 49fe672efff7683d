"""A training set in the manner of ToRL's: sources, filters in order, and what each left out.

Source: ToRL (arXiv 2503.23383), section 3.1: NuminaMath, MATH and DeepScaleR without proofs and
without answers that cannot be verified are 75,149 problems, of which LIMR chose 28,740.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.heldout.contamination import Contamination, contamination
from benchmarks.heldout.suites import SUITES, open_suite
from torl.console import CommandError, progress, say
from torl_env.errors import ProblemError
from torl_env.problems import Listed, Problem, ProblemSource, limr_scores, load, read_solve_rates
from torl_env.problems.curation import Fault, faults
from torl_env.problems.files import open_file
from torl_env.problems.hub import open_hub
from torl_env.problems.hub_table import HUB
from torl_env.problems.normalise import question_key

BENCHMARKS = tuple(name for name, suite in SUITES.items() if not suite.source)
"""The suites that a training set is compared with unless others are named."""
FILES = (".jsonl", ".json", ".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sources by which a paper made its training set, and what it says of the result."""

    sources: tuple[str, ...]
    """In the order in which copies are kept: of two the first."""
    verifiable: int
    """Problems that the paper had after its filters."""
    selected: int
    """Problems that LIMR chose of them."""
    published: str
    """The hub set of the chosen ones."""


RECIPES = {"recipe:torl": Recipe(("math_train", "deepscaler", "numina_cot"), 75149, 28740, "torl")}
"""What `torl data build` takes in place of sources."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One source of a training set."""

    name: str
    place: str
    """Where it lies: path, configuration and split on the hub, or the file's name."""
    licence: str
    published: int | None
    """Rows as published, `None` where that is not stated."""
    rows: int
    """Rows that were read."""
    sha256: str = ""
    """Of a file; a hub set is named by its place."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One reason to leave problems out."""

    reason: str
    left_out: dict[str, int]
    """How many, by source."""

    @property
    def total(self) -> int:
        """How many of all sources."""
        return sum(self.left_out.values())


@dataclass(slots=True)
class TrainingSet:
    """Problems that are left, and what was left out on the way."""

    origins: tuple[Origin, ...]
    kept: list[Problem]
    filters: list[Filter]
    overlap: Contamination | None = None
    """With the held-out suites, before copies were left out; `None`: they were not compared."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a question was left out, by its normalised text."""

    def leave_out(self, reason: str, dropped: Iterable[Problem]) -> None:
        """Remove problems, counted by source."""
        gone = list(dropped)
        numbers = Counter(self.origin(problem) for problem in gone)
        ids = {problem.id for problem in gone}
        self.reasons.update((question_key(problem.question), reason) for problem in gone)
        self.kept = [problem for problem in self.kept if problem.id not in ids]
        self.filters.append(Filter(reason, {o.name: numbers[o.name] for o in self.origins}))

    def origin(self, problem: Problem) -> str:
        """The name of the source that a problem comes from."""
        if len(self.origins) == 1:
            return self.origins[0].name
        return problem.id.partition("/")[0]

    def verifiable(self) -> int:
        """How many were left by the filters that look at a problem alone or at its copies."""
        return sum(o.rows for o in self.origins) - sum(
            f.total for f in self.filters if f.reason in _VERIFIABLE
        )


UNREADABLE = "no question or answer, or invalid by its authors"
HELD_OUT = "copy of a held-out problem"
UNKNOWN = "not in the solve-rate log"
_VERIFIABLE = {UNREADABLE, *(fault.value for fault in Fault)}


def pool(names: Sequence[str], split: str | None, limit: int) -> TrainingSet:
    """The problems of some sources, nothing left out but rows that are none.

    Ids of several sources are `source/id`, so that none occurs twice.
    """
    origins, problems, unreadable = [], [], {}
    for name in names:
        read, skipped = read_problems(name, split, limit)
        origin = _origin(name, split, len(read) + len(skipped))
        if origin.name in unreadable:
            raise CommandError(f"expected sources of different names, got {origin.name} twice")
        origins.append(origin)
        unreadable[origin.name] = len(skipped)
        if len(names) > 1:
            read = [replace(one, id=f"{origin.name}/{one.id}") for one in read]
        problems += read
    return TrainingSet(tuple(origins), problems, [Filter(UNREADABLE, unreadable)])


def verify(found: TrainingSet) -> None:
    """Leave out what cannot be graded reliably, repetitions and contradictions."""
    faulty = faults(found.kept)
    for fault in Fault:
        found.leave_out(fault.value, [f.problem for f in faulty if f.fault is fault])


def decontaminate(found: TrainingSet, suites: dict[str, ProblemSource]) -> None:
    """Leave out copies of held-out problems."""
    found.overlap = contamination(found.kept, suites)
    leaks = found.overlap.train_ids()
    found.leave_out(HELD_OUT, [problem for problem in found.kept if problem.id in leaks])


def select(found: TrainingSet, log: Path, threshold: float) -> None:
    """LIMR's choice by a solve-rate log; problems that the log does not hold are left out.

    Scores are relative to the mean curve of all problems in the log.
    """
    scores = limr_scores(read_solve_rates(log))
    found.leave_out(UNKNOWN, [problem for problem in found.kept if problem.id not in scores])
    below = [problem for problem in found.kept if scores[problem.id] < threshold]
    found.leave_out(f"LIMR score below {threshold}", below)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a published set and a training set have in common, by their questions."""

    name: str
    questions: int
    shared: int
    left_out: dict[str, int]
    """Questions of the published set that a filter left out here, by reason."""
    absent: int
    """Questions of it that are in no source."""


def coverage(published: ProblemSource, found: TrainingSet) -> Coverage:
    """Look each question of a published set up."""
    asked = {question_key(problem.question) for problem in published}
    kept = {question_key(problem.question) for problem in found.kept}
    lost = Counter(found.reasons[key] for key in asked - kept if key in found.reasons)
    return Coverage(
        published.name,
        len(asked),
        len(asked & kept),
        dict(lost.most_common()),
        len(asked - kept) - lost.total(),
    )


def _origin(name: str, split: str | None, rows: int) -> Origin:
    path = Path(name)
    if path.suffix.lower() in FILES:
        digest = hashlib.sha256(path.expanduser().read_bytes()).hexdigest()
        return Origin(path.stem, path.name, "that of its sources", None, rows, digest)
    if name in HUB:
        item = HUB[name]
        words = item.path, item.config, split or item.split, item.revision
        return Origin(name, " ".join(filter(None, words)), item.licence, item.rows, rows)
    if name.startswith("hub:"):
        return Origin(name.removeprefix("hub:"), name, "see its page on the hub", None, rows)
    made_here = name.startswith("procedural")
    return Origin(name, "generated", "Apache-2.0" if made_here else "its author's", None, rows)


def read_problems(name: str, split: str | None, limit: int) -> tuple[list[Problem], list[str]]:
    """The problems of a source, and messages about rows of a file or hub set that are none."""
    if limit < 1:
        raise CommandError(f"--limit: expected 1 or more, got {limit}")
    skipped: list[str] = []
    if Path(name).suffix.lower() in FILES:
        source: ProblemSource = open_file(name, split, skipped=skipped)
    elif name in HUB or name.startswith("hub:"):
        source = open_hub(name, split, skipped=skipped)
    else:
        source = load(name, split)
    if len(source) > limit:
        say(f"{name} has {len(source)} problems; the first {limit} are read (--limit)")
    view = source.head(limit)
    problems = []
    with progress("reading", len(view)) as advance:
        for problem in view:
            problems.append(problem)
            advance(1)
    return problems, skipped


def open_suites(
    names: Sequence[str], folder: Path | None
) -> tuple[dict[str, ProblemSource], dict[str, str]]:
    """Held-out suites by name, and why others could not be opened."""
    found: dict[str, ProblemSource] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            if Path(name).suffix.lower() in FILES:
                found[Path(name).stem] = open_file(name)
            else:
                found[name] = Listed(name, open_suite(name, folder).problems)
        except ProblemError as error:
            absent[name] = str(error)
    return found, absent


def absent_suites(reasons: dict[str, str]) -> str:
    """The suites that could not be opened, the first reason and the remedy in one text."""
    first = next(iter(reasons.values())).rstrip(".")
    return f"{', '.join(reasons)} ({first}). Give copies with --data FOLDER or --suites FILE..."
