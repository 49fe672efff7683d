"""The SFT stage of a run by itself: `python -m torl.training.warm_start RUN [SANDBOX]`.

Where several processes train together, each starts this beside itself, so that the stage has all of
them, and what it held in memory is gone when RL begins.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from agents.core.run.folder import Run
from agents.core.trainer import distributed
from torl.console import guarded
from torl.training.datasets import open_datasets
from torl.training.run import quiet_libraries, stored_options, use_threads
from torl.training.stages import Job


def main(words: Sequence[str]) -> int:
    """Train on traces as the run's options say, into its folder."""
    out, *place = words
    distributed.join()
    elsewhere = {"sandbox": place[0]} if place else {}
    options = stored_options(Path(out), {"env": elsewhere})
    quiet_libraries()
    use_threads(options.threads)
    problems = distributed.run_on_main(lambda: open_datasets(options).warm_start)
    with distributed.watched(options.hang_minutes):
        Job(options, Run(options.out)).imitate(problems)
    distributed.leave()
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
