"""Train, evaluate and use a language model in an environment, each in one call.

    import torl
    run = torl.train("Qwen/Qwen2.5-1.5B", problems="train.csv", steps=200, out="out/run")
    run.evaluate("test.parquet", k=4).table()
    agent = torl.load(run)
    agent("What is 6 * 7?").response

`torl COMMAND` on the command line is the same calls with the same options.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torl.evaluation.agent import Agent, load
    from torl.evaluation.run import Evaluation, evaluate
    from torl.training.run import TrainedRun, train

__all__ = ["Agent", "Evaluation", "TrainedRun", "evaluate", "load", "train"]

_PLACES = {
    "Agent": "torl.evaluation.agent",
    "Evaluation": "torl.evaluation.run",
    "TrainedRun": "torl.training.run",
    "evaluate": "torl.evaluation.run",
    "load": "torl.evaluation.agent",
    "train": "torl.training.run",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that `import torl` costs nothing.
    if name not in _PLACES:
        raise AttributeError(f"module 'torl' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
