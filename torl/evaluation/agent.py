"""A trained model as something that answers: `agent(question)`."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

from agents.core.types import Trajectory
from benchmarks.heldout.evaluate import Collect
from torl.evaluation.models import answering
from torl.evaluation.options import EvalOptions, sampling_of
from torl.evaluation.run import options_for
from torl_env.problem_sampling import open_problems
from torl_env.problems.types import Problem, ProblemSource, content_id


class Agent:
    """A model in the environment of its run.

    Args:
        options: Model, environment and sampling.
        collect: What answers.
    """

    def __init__(self, options: EvalOptions, collect: Collect) -> None:
        self.options, self._collect = options, collect

    def __call__(self, question: str, reference: str = "", seed: int = 0) -> Trajectory:
        """One answer, with its tool calls.

        Args:
            question: Of whatever the environment is about.
            reference: The right answer; without it there is no verdict.
            seed: Of sampling.
        """
        problem = Problem(content_id(question, reference), question, reference)
        return self.rollout([problem], seed=seed)[0]

    def rollout(
        self,
        problems: str | PathLike[str] | ProblemSource | Iterable[Problem],
        k: int = 1,
        seed: int = 0,
    ) -> list[Trajectory]:
        """`k` answers to each problem, grouped by problem."""
        chosen = (
            problems
            if isinstance(problems, Iterable) and not isinstance(problems, str)
            else (open_problems(problems, None))
        )
        return list(self._collect(list(chosen), k, seed))


def load(run: Any, **options: Any) -> Agent:
    """The model of a run, or any other, ready to answer in the environment of the run.

    Args:
        run: What `torl.train` returned, a run folder, weights, a hub id or a server's address.
        **options: Fields of `torl eval` and of `torl_env.EnvConfig` in place of those of the run;
            `temperature` is 0 by default.

    Raises:
        ModelError: Nothing can be loaded under this name.

    Example:
        ```python
        agent = torl.load("out/run")
        print(agent("What is 6 * 7?").response)
        ```
    """
    wanted = options_for(run, {"temperature": 0.0, **options})
    return Agent(wanted, answering(wanted, sampling_of(wanted)))
