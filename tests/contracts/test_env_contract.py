"""Gymnasium's own checker, warnings as errors, on the environments of this project."""

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

import torl_env
from torl_env.sandbox import SubprocessSandbox

OPTIONS = {
    "defaults": {},
    "no tool": {"tool_budget": 0},
    "one turn": {"tool_budget": 0, "max_turns": 1},
    "a session, notices, hermes": {
        "stateful": True,
        "over_budget": "notice",
        "parser": "hermes",
        "tool_budget": 4,
    },
    "thor, xml": {"reward": "thor", "parser": "xml", "over_budget": "end"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_check_env_has_nothing_to_say(options: dict[str, object]) -> None:
    env = gym.make("ToRLMath-v0", **options)
    check_env(env.unwrapped)
    env.close()


class Calling(torl_env.ToRLMathEnv):
    """Its action space samples tool calls only."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.action_space = _Calls()


class _Calls(torl_env.Unicode):
    def sample(self, mask: object = None, probability: object = None) -> str:
        return f"Look.\n```python\nprint({self.np_random.integers(9)}, undefined)\n```"


def test_check_env_has_nothing_to_say_of_tool_calls() -> None:
    gym.register("Calling-v0", entry_point=Calling)
    try:
        with SubprocessSandbox() as sandbox:
            env = gym.make("Calling-v0", sandbox=sandbox, tool_budget=8)
            check_env(env.unwrapped, skip_close_check=True, skip_render_check=True)
            env.close()
    finally:
        del gym.registry["Calling-v0"]


def test_make_finds_it_by_module_and_by_name() -> None:
    for name in ("ToRLMath-v0", "torl_env:ToRLMath-v0"):
        with gym.make(name) as env:
            assert isinstance(env.unwrapped, torl_env.ToRLMathEnv)
    with_vector = gym.make_vec("ToRLMath-v0", num_envs=2)
    assert isinstance(with_vector, torl_env.ToRLMathVectorEnv)
    with_vector.close()


def test_gymnasiums_vector_envs_take_it() -> None:
    for mode, vector in (("sync", {}), ("async", {"shared_memory": False})):
        envs = gym.make_vec(
            "torl_env:ToRLMath-v0", num_envs=2, vectorization_mode=mode, vector_kwargs=vector
        )
        observations, _ = envs.reset(seed=3)
        alone = gym.make("ToRLMath-v0")
        assert observations[1] == alone.reset(seed=4)[0]
        _, rewards, terminated, _, _ = envs.step(("\\boxed{-0.5}", "none"))
        assert rewards.tolist() == [-1.0, -1.0]
        assert terminated.all()
        alone.close()
        envs.close()
