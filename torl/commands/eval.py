"""`torl eval`: held-out accuracy of any model on any problems, with intervals and records."""

from collections.abc import Sequence

from torl.environment import value_of
from torl.evaluation.options import EvalOptions, defaults_for
from torl.evaluation.run import run
from torl.processors import choose_waiting

__all__ = ["EvalOptions", "defaults", "main"]


def defaults(words: Sequence[str]) -> EvalOptions:
    """What counts where the command line says nothing: the environment of the run, if it is one."""
    return defaults_for(value_of("--model", words))


def main(options: EvalOptions) -> int:
    """Evaluate, print the tables and say where the records are."""
    choose_waiting()
    run(options).show()
    return 0
