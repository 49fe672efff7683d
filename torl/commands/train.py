"""`torl train`: warm start, RL, held-out evaluation before and after, plot and report."""

from torl.console import ExitCode
from torl.processors import choose_waiting
from torl.training.options import TrainOptions
from torl.training.run import run, stored_options

__all__ = ["TrainOptions", "main"]


def main(options: TrainOptions) -> int:
    """Run all stages; with --resume, those that are left."""
    # Of a run that goes on only the folder is told.
    told = stored_options(options.out) if options.resume else options
    choose_waiting(shared=told.staleness > 0)
    done = run(options)
    return 0 if done.finished or options.dry_run else ExitCode.INTERRUPTED
