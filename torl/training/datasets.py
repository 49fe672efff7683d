"""Which problems a run trains and is evaluated on; no held-out one is among the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.heldout.contamination import LEAKS, contamination
from torl.console import CommandError
from torl_env.problems import Listed, Source, load
from torl_env.problems.types import Problem

if TYPE_CHECKING:
    from torl.commands.train import TrainOptions


@dataclass(frozen=True, slots=True)
class Material:
    """The problems of one run, in the order of their use."""

    warm_start: Sequence[Problem]
    schedule: Sequence[Problem]
    """One for each group of each step."""
    heldout: Sequence[Problem]


def gather(options: "TrainOptions") -> Material:
    """Open the sources that the options name.

    Raises:
        ProblemError: A source cannot be opened.
        CommandError: There is nothing to evaluate on, or training would see held-out problems.
    """
    train = load(options.problems)
    found = Material(
        _repeated(train.shuffle(options.seed + 7), options.warm_start),
        _repeated(train.shuffle(options.seed + 11), options.steps * options.prompts),
        _heldout(options),
    )
    if not (_generated(options.problems) and _generated(options.heldout or options.problems)):
        _refuse_overlap(options, found)
    return found


def _generated(name: str) -> bool:
    """Procedural splits share no question, by construction."""
    return name.startswith("procedural")


def _heldout(options: "TrainOptions") -> list[Problem]:
    if not options.eval_problems:
        return []
    if not options.heldout and not _generated(options.problems):
        raise CommandError(
            f"{options.problems} has no held-out split of its own: name one with --heldout, or "
            "leave evaluation out with --eval-problems 0"
        )
    split = "heldout" if _generated(options.heldout or options.problems) else None
    source = load(options.heldout or options.problems, split=split)
    return list(source.shuffle(0).head(options.eval_problems))


def _repeated(source: Source, count: int) -> list[Problem]:
    """`count` problems, from the start again where the source is shorter."""
    have = list(source.head(count))
    return [have[i % len(have)] for i in range(count)] if have else []


def _refuse_overlap(options: "TrainOptions", found: Material) -> None:
    """Training on what one is evaluated on makes every number above it wrong."""
    seen = {problem.id: problem for problem in (*found.warm_start, *found.schedule)}
    if not found.heldout or not seen:
        return
    name = options.heldout or options.problems
    told = contamination(seen.values(), {name: Listed(name, found.heldout)})
    hits = [hit for hit in told.hits if hit.overlap in LEAKS]
    if hits and options.allow_overlap != name:
        pairs = ", ".join(f"{hit.train_id} = {hit.heldout_id}" for hit in hits[:3])
        raise CommandError(
            f"{told.leaked(name)} of {len(found.heldout)} held-out problems of {name} are in the "
            f"training problems of {options.problems} ({pairs}, ...): train on another source, "
            "remove them with `torl data build`, or say that you know with "
            f"--allow-overlap {name}"
        )
