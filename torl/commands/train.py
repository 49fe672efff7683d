"""`torl train`: warm start, RL, held-out evaluation before and after, plot and report."""

from torl.console import ExitCode
from torl.training.options import TrainOptions
from torl.training.run import run

__all__ = ["TrainOptions", "main"]


def main(options: TrainOptions) -> int:
    """Run all stages; with --resume, those that are left."""
    done = run(options)
    return 0 if done.finished or options.dry_run else ExitCode.INTERRUPTED
