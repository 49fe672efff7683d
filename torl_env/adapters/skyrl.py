r"""SkyRL (skyrl-gym 0.4): this environment under the name `torl`, and its data set.

    import skyrl_gym
    from torl_env.adapters.skyrl import register
    register()                                  # then environment.env_class=torl

SkyRL samples whole turns, so its generator needs the stop strings of the grammar, and appends what
the environment says itself. With `generator.use_conversation_multi_turn=false` everything is one
message, as in ToRL; then the output comes in its frame. Otherwise it is a message of its own.

    generator.sampling_params.stop='["```output", "\n```\n"]'
    environment.skyrl_gym.torl='{tool_budget: 2, inline: true}'

SkyRL has no way to leave a rollout out. Where the machine failed, or the grader could not decide,
`step` raises: a run that stops can be resumed, one that learned from a false reward cannot.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from torl_env.adapters.lazy import needed, on_request
from torl_env.adapters.token_episode import make_env
from torl_env.adapters.verl import rows as verl_rows
from torl_env.errors import SandboxError
from torl_env.info import is_scorable
from torl_env.problems.types import Problem


def rows(problems: Iterable[Problem], system: str = "") -> Iterator[dict[str, Any]]:
    """The data set in SkyRL's form: one dict a problem.

    Example:
        >>> row = next(rows([Problem("a", "What is 6*7?", "42")]))
        >>> row["env_class"], row["reward_spec"]
        ('torl', {'method': 'rule', 'ground_truth': '42'})
    """
    for row in verl_rows(problems, system):
        yield {
            "data_source": row["data_source"],
            "prompt": row["prompt"],
            "env_class": "torl",
            "reward_spec": {
                "method": "rule",
                "ground_truth": row["reward_model"]["ground_truth"],
            },
            "problem_id": row["problem_id"],
            "extra_info": row["extra_info"],
        }


def register(name: str = "torl") -> None:
    """Make the environment known to skyrl-gym; a second time is no error."""
    gym = importlib.import_module("skyrl_gym.envs")
    if name not in gym.registration.registry:
        gym.register(id=name, entry_point="torl_env.adapters.skyrl:ToRLEnv")


@cache
def _env_class() -> Any:
    base: Any = needed("skyrl_gym.envs.base_text_env", "skyrl-gym 0.4: pip install skyrl-gym")

    class ToRLEnv(base.BaseTextEnv):  # type: ignore[misc]
        """One problem.

        Args:
            env_config: Fields of `EnvConfig`, and `inline`: whether the output comes in its frame.
            extras: The row of the data set.
        """

        __qualname__ = "ToRLEnv"

        def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
            super().__init__()
            options = dict(env_config or {})
            self.inline = bool(options.pop("inline", False))
            row = dict(extras or {})
            self._env = make_env(_problem(row), options)
            self.max_turns = self._env.config.max_turns
            self._info: dict[str, Any] = {}

        def init(self, prompt: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
            """Begin the episode with the prompt of the data set."""
            self._env.reset(options={"problem_id": self._env.problems[0].id})
            return prompt, {}

        def step(self, action: str) -> dict[str, Any]:
            """Take the model's turn.

            Raises:
                SandboxError: There is nothing to be learned from this episode.
            """
            self.turns += 1
            observation, reward, terminated, truncated, info = self._env.step(action)
            done = terminated or truncated
            if done and not is_scorable(info):
                why = info["infra_error"] or "the grader could not decide"
                raise SandboxError(f"no reward for problem {info['problem_id']}: {why}")
            self._info = info
            shown = []
            if observation:
                last = self._env.episode.state.segments[-1]
                shown = [{"role": "user", "content": observation if self.inline else last.body}]
            return {"observations": shown, "reward": reward, "done": done, "metadata": info}

        def close(self) -> None:
            """Give the sandbox back."""
            self._env.close()

        def get_metrics(self) -> dict[str, Any]:
            """Of the episode, for SkyRL's averages."""
            info = self._info
            if not info:
                return {}
            return {
                "correct": float(info["verdict"] == "correct"),
                "tool_calls": info["tool_calls"],
                "tool_errors": info["tool_errors"],
            }

    ToRLEnv.__module__ = __name__
    return ToRLEnv


def _problem(row: Mapping[str, Any]) -> Problem:
    lacking = {"problem_id", "reward_spec"} - set(row)
    if lacking:
        raise ValueError(
            f"a row for this environment needs {', '.join(sorted(lacking))}: write the data set "
            "with torl data export --to skyrl"
        )
    return Problem(str(row["problem_id"]), "", str(row["reward_spec"]["ground_truth"]))


__getattr__ = on_request(__name__, ("ToRLEnv",), lambda name: _env_class())
