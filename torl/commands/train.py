"""`torl train`: warm start, RL, held-out evaluation before and after, plot and report."""

from collections.abc import Sequence
from pathlib import Path

from torl.console import ExitCode
from torl.environment import value_of
from torl.processors import choose_waiting
from torl.training.options import TrainOptions
from torl.training.resuming import check_same
from torl.training.run import run, stored_options

__all__ = ["TrainOptions", "defaults", "main"]


def defaults(words: Sequence[str]) -> TrainOptions | None:
    """What counts where the command line says nothing: of a run that goes on its own options."""
    if "--resume" not in words:
        return None
    return stored_options(Path(value_of("--out", words) or TrainOptions.out))


def main(options: TrainOptions) -> int:
    """Run all stages; with --resume, those that are left."""
    if options.resume:
        check_same(options, options.out)
    choose_waiting(shared=options.staleness > 0)
    done = run(options, {"env": {"sandbox": options.env.sandbox}})
    return 0 if done.finished or options.dry_run else ExitCode.INTERRUPTED
