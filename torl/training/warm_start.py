"""The SFT stage of a run by itself: `python -m torl.training.warm_start RUN`.

Where several processes train together, the first one has this done by a process apart, so that the
stage is the same however many there are.
"""

import sys
from pathlib import Path

from torl.commands.train import stored_options, use_threads
from torl.console import guarded
from torl.training.datasets import gather
from torl.training.stages import Job


def main(out: Path) -> int:
    """Train on traces as the run's options say, into its folder."""
    from agents.core.run.folder import Run
    from torl_env.sandbox import open_sandbox

    options = stored_options(out)
    use_threads(options.threads)
    with open_sandbox("local") as sandbox:
        Job(options, Run(out), sandbox).warm_start(gather(options).warm_start)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, Path(sys.argv[1])))
