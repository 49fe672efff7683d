"""`torl train`: warm start, RL, held-out evaluation before and after, plot and report."""

from torl.console import ExitCode
from torl.processors import choose_waiting
from torl.training.options import TrainOptions
from torl.training.run import run

__all__ = ["TrainOptions", "main"]


def main(options: TrainOptions) -> int:
    """Run all stages; with --resume, those that are left."""
    choose_waiting(shared=options.staleness > 0)
    done = run(options)
    return 0 if done.finished or options.dry_run else ExitCode.INTERRUPTED
