r"""TRL's `environment_factory`: one tool, `python`, and a reward function beside it.

TRL makes a tool of every public method but `reset` and `get_reward`, and gives `get_reward` no
look at what the model wrote. So the reward is a function, `answer_reward`, which sees both:

    from trl import GRPOTrainer
    from torl_env.adapters.trl import answer_reward, environment_factory, rows

    problems = torl_env.problems.load("procedural:easy").head(1000)
    GRPOTrainer(
        model=model,
        train_dataset=Dataset.from_list(rows(problems)),
        environment_factory=environment_factory(problems, tool_budget=2),
        reward_funcs=answer_reward,
        args=GRPOConfig(...),
    )
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torl_env.config import EnvConfig, OverBudget
from torl_env.env import ToRLMathEnv
from torl_env.episode import NOTICE
from torl_env.info import is_scorable
from torl_env.problem_sampling import open_problems
from torl_env.problems.types import Problem, ProblemSource
from torl_env.wrappers.chat import opening

Message = Mapping[str, Any]
FAILED = "[the interpreter is not available: answer without it]"
"""What the model reads when the machine failed; such a row teaches nothing."""

ENDED = "[the episode has ended: nothing that follows counts]"
"""What it reads of a call that ended its episode (`over_budget="end"`, `on_timeout="end"`)."""


class ToRLEnvironment:
    """One rollout of TRL: `reset`, `python`, and nothing else that is public.

    Args:
        env: What runs the episode, with the `hermes` parser.
    """

    def __init__(self, env: ToRLMathEnv) -> None:
        self._env = env
        self._outcome: tuple[float, dict[str, Any]] | None = None

    def reset(self, problem_id: str = "", **row: Any) -> str:
        """Begin an episode.

        Args:
            problem_id: The problem; a column of the data set, so that a group shares it.
            **row: The other columns, unused.

        Returns:
            The question, which TRL appends to the last message of the user.

        Raises:
            ValueError: The data set has no such column.
            ProblemError: No problem has this id.
        """
        if not problem_id:
            raise ValueError(
                "a data set for this environment needs the columns 'prompt' and 'problem_id', "
                f"got {', '.join(sorted(row)) or 'none'}: build it with rows(problems)"
            )
        question, _ = self._env.reset(options={"problem_id": problem_id})
        self._outcome = None
        return question

    def python(self, code: str) -> str:
        """Runs a Python program and returns what it prints.

        Args:
            code: The program to run.
        """
        # A refused call takes no turn of the environment's: the answer that it asks for must count.
        config, state = self._env.config, self._env.episode.state
        spent = state.tool_calls >= config.tool_budget
        if self._outcome is None and spent and config.over_budget is not OverBudget.END:
            return NOTICE
        if self._outcome is None:
            self._call(code)
        outcome: Any = self._outcome
        if outcome is not None:
            return FAILED if outcome[1]["infra_error"] else ENDED
        return self._env.episode.state.segments[-1].body

    def _call(self, code: str) -> None:
        call = json.dumps({"name": "python", "arguments": {"code": code}})
        # A program may hold the closing tag: spelt so, no parser sees it in the JSON.
        self._act(f"<tool_call>{call.replace('<', chr(92) + 'u003c')}</tool_call>")

    def _act(self, text: str, *, cut: bool = False) -> None:
        _, reward, terminated, truncated, info = (
            self._env.cut(text) if cut else self._env.step(text)
        )
        if terminated or truncated:
            self._outcome = float(reward), info


def finished(
    environment: ToRLEnvironment, completion: Sequence[Message]
) -> tuple[float, dict[str, Any]]:
    """Reward and info of a rollout: its calls have come already, now its words are graded.

    No method, since TRL would make a tool of it.
    """
    if environment._outcome is None:
        last = completion[-1] if completion else {}
        unanswered = last.get("role") != "assistant" or bool(last.get("tool_calls"))
        environment._act(words(completion), cut=unanswered)
    if environment._outcome is None:
        # The words ended like a call that the stack could not read.
        environment._act("", cut=True)
    assert environment._outcome is not None
    return environment._outcome


def words(completion: Sequence[Message]) -> str:
    """What the model wrote besides calls, its turns as paragraphs."""
    said = [m.get("content") or "" for m in completion if m.get("role") == "assistant"]
    return "\n\n".join(text for text in said if text)


def answer_reward(
    completions: Sequence[Sequence[Message]],
    environments: Sequence[ToRLEnvironment],
    **_: Any,
) -> list[float | None]:
    """The environment's reward of each completion, for `GRPOTrainer(reward_funcs=...)`.

    `None` where nothing may be learned (the machine failed, the grader could not decide): since
    1.12 TRL leaves such a row out of the mean of its group and gives it no advantage. That holds
    where this is the only reward function: beside another, TRL adds up what is left.
    """
    outcomes = [
        finished(environment, completion)
        for environment, completion in zip(environments, completions, strict=True)
    ]
    return [reward if is_scorable(info) else None for reward, info in outcomes]


@dataclass(frozen=True)
class EnvironmentFactory:
    """Makes environments of one description, which share one sandbox and one set of problems.

    It opens nothing before it is called, and can be sent to other processes where the description
    can: with problems, sandbox and grader by name.
    """

    config: EnvConfig

    def __call__(self) -> ToRLEnvironment:
        """One environment."""
        opened = EnvConfig.of(self.config, problems=self._problems, split=None)
        return ToRLEnvironment(ToRLMathEnv(config=opened))

    @cached_property
    def _problems(self) -> ProblemSource:
        return open_problems(self.config.problems, self.config.split)

    def __getstate__(self) -> dict[str, Any]:
        # Opened problems may be large and hold open files.
        return {"config": self.config}


def environment_factory(
    problems: ProblemSource | str | None = None,
    *,
    config: EnvConfig | None = None,
    **options: Any,
) -> EnvironmentFactory:
    """What `GRPOTrainer(environment_factory=...)` takes.

    Args:
        problems: As for `ToRLMath-v0`.
        config: The description of the environments.
        **options: Fields of `EnvConfig` in place of those of `config`. A call past the budget is
            refused in words unless you say otherwise, and the parser is always `hermes`.
    """
    if problems is not None:
        options["problems"] = problems
    if config is None:
        options = {"over_budget": OverBudget.NOTICE, **options}
    return EnvironmentFactory(EnvConfig.of(config, **{**options, "parser": "hermes"}))


def rows(problems: Iterable[Problem], system: str = "") -> list[dict[str, Any]]:
    """The data set: a conversation that waits for the question, and the id of the problem.

    Example:
        >>> rows([Problem("a", "What is 6*7?", "42")])
        [{'prompt': [{'role': 'user', 'content': ''}], 'problem_id': 'a'}]
    """
    return [{"prompt": opening("", system), "problem_id": problem.id} for problem in problems]
