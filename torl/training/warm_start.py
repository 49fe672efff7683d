"""The SFT stage of a run by itself: `python -m torl.training.warm_start RUN`.

Where several processes train together, the first one has this done by a process apart, so that the
stage is the same however many there are.
"""

import sys
from pathlib import Path

from torl.console import guarded
from torl.training.datasets import open_datasets
from torl.training.run import stored_options, use_threads
from torl.training.stages import Job


def main(out: Path) -> int:
    """Train on traces as the run's options say, into its folder."""
    from agents.core.run.folder import Run

    options = stored_options(out)
    use_threads(options.threads)
    Job(options, Run(out)).warm_start(open_datasets(options).warm_start)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, Path(sys.argv[1])))
