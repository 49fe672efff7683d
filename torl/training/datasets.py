"""Which problems a run trains and is evaluated on; no held-out one is among the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.core.run.transcripts import read_rows
from benchmarks.heldout.contamination import LEAKS, Overlap, contamination
from torl.console import CommandError
from torl.training.options import TrainOptions, algorithm_of, is_generated
from torl.wiring import HELDOUT_SEEDS, heldout_seeds, text_env_of
from torl_env.errors import ProblemError
from torl_env.problem_sampling import open_problems
from torl_env.problems.procedural.family import Split
from torl_env.problems.procedural.source import Coordinates
from torl_env.problems.types import Problem, ProblemSource


@dataclass(frozen=True, slots=True)
class Datasets:
    """The problems of one run, in the order of their use."""

    warm_start: Sequence[Problem]
    schedule: Sequence[Problem]
    """One for each group of each step."""
    heldout: Sequence[Problem]


def open_datasets(options: TrainOptions) -> Datasets:
    """Open the sources that the options name.

    Raises:
        ProblemError: A source cannot be opened.
        CommandError: There is nothing to evaluate on, or training would see held-out problems.
    """
    if options.text_env is not None:
        return _seeds(options)
    train = open_problems(options.env.problems, options.env.split)
    heldout = _heldout(options)
    evaluated = heldout.shuffle(0).head(options.eval_problems) if heldout else ()
    found = Datasets(
        _scheduled(train, options.seed + 7, options.warm_start or 0),
        _scheduled(train, options.seed + 11, _wanted(options, train)),
        list(evaluated),
    )
    # The training side of procedural problems shares no question with the other by construction.
    apart = _all_generated(options) and train[0].split == Split.TRAIN and options.traces is None
    if heldout and not apart:
        _refuse_overlap(options, found, heldout)
    _check_worked(found.warm_start)
    return found


def _check_worked(problems: Sequence[Problem]) -> None:
    for problem in problems:
        try:
            Coordinates.parse(problem.id)
        except ProblemError:
            raise CommandError(
                "--warm-start: expected procedural problems, which come with programs to imitate, "
                f"got {problem.id!r}: leave it out, or name --traces FILE"
            ) from None


def _all_generated(options: TrainOptions) -> bool:
    return is_generated(options.env.problems) and is_generated(heldout_of(options))


POOL = 50_000
"""Most problems that a curriculum draws from."""


def _wanted(options: TrainOptions, train: ProblemSource) -> int:
    """Problems that a run needs at hand.

    Behind the schedule stand the fresh problems of dynamic sampling; a curriculum draws from all
    there are, and from more than a run needs where they are generated.
    """
    planned = options.steps * options.prompts
    if options.curriculum.on:
        return max(planned, min(len(train), 4 * planned if generated(train) else POOL))
    return planned * (1 + algorithm_of(options).resample)


def generated(source: ProblemSource) -> bool:
    """Whether problems are made as they are asked for."""
    return source[0].source == "procedural"


def _seeds(options: TrainOptions) -> Datasets:
    own = text_env_of(options.text_env)
    assert own is not None
    train = own.problems.head(HELDOUT_SEEDS)
    schedule = _scheduled(train, options.seed + 11, options.steps * options.prompts)
    return Datasets((), schedule, list(heldout_seeds(own, options.eval_problems)))


def heldout_of(options: TrainOptions) -> str | ProblemSource:
    """What the run is evaluated on."""
    return options.heldout or options.env.problems


def source_name(problems: str | ProblemSource) -> str:
    """What to call problems in a message or a record."""
    return problems if isinstance(problems, str) else problems.name


def _heldout(options: TrainOptions) -> ProblemSource | None:
    """All that the run may be evaluated on, now or later; `None` where nothing is named."""
    if not options.heldout and not is_generated(options.env.problems):
        if not options.eval_problems:
            return None
        raise CommandError(
            f"{source_name(options.env.problems)} has no held-out split of its own: name one with "
            "--heldout, or leave evaluation out with --eval-problems 0"
        )
    heldout = heldout_of(options)
    return open_problems(heldout, "heldout" if is_generated(heldout) else None)


def _scheduled(source: ProblemSource, seed: int, count: int) -> list[Problem]:
    """`count` problems; each pass over a source that is shorter has an order of its own."""
    found: list[Problem] = []
    while len(found) < count:
        order = source.shuffle(seed + 1_000_003 * (len(found) // max(1, len(source))))
        more = list(order.head(count - len(found)))
        if not more:
            break
        found += more
    return found


def _imitated(file: Path) -> Iterator[Problem]:
    """What traces answer, where their file says it: one of bare ids has no questions."""
    for number, row in enumerate(read_rows(file, arrays=()), start=1):
        if question := row.get("question"):
            yield Problem(f"{file.name}:{number}", question, row.get("reference", ""))


def _refuse_overlap(options: TrainOptions, found: Datasets, heldout: ProblemSource) -> None:
    """Training on what one is evaluated on makes every number above it wrong.

    All of the held-out source counts, not only what this run looks at: its last checkpoint may be
    evaluated on the rest.
    """
    # By question: in a mix of sources one id may name two problems.
    seen = {problem.question: problem for problem in (*found.warm_start, *found.schedule)}
    if options.traces is not None:
        seen |= {problem.question: problem for problem in _imitated(options.traces)}
    name = source_name(heldout_of(options))
    report = contamination(seen.values(), {name: heldout})
    # Problems of one family share their wording, so that near copies are none.
    leaks = (Overlap.EXACT,) if _all_generated(options) else LEAKS
    hits = [hit for hit in report.hits if hit.overlap in leaks]
    if hits and options.allow_overlap != name:
        pairs = ", ".join(f"{hit.train_id} = {hit.heldout_id}" for hit in hits[:3])
        count = report.leaked(name, *leaks)
        raise CommandError(
            f"{count} of {len(heldout)} held-out problems of {name} are in the "
            f"training problems of {source_name(options.env.problems)} ({pairs}, ...): train on "
            "another source, remove them with `torl data build`, or say that you know with "
            f"--allow-overlap {name}"
        )
