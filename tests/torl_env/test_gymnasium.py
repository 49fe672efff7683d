"""The face towards Gymnasium: what `gym.make` gives, wrappers of others, own registrations."""

import asyncio
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import torl_env
from torl_env import ConfigError, EpisodeEnd, ToRLMathEnv, ToRLMathVectorEnv, info_at, is_scorable
from torl_env.sandbox import Sandbox
from torl_env.testing import problem_list

PROBLEMS = problem_list([("What is 6*7?", "42")])
CALL = "```python\nprint(6*7)\n```"
RIGHT, WRONG = "\\boxed{42}", "\\boxed{41}"


@pytest.fixture
def env(box: Sandbox) -> Iterator[ToRLMathEnv]:
    made = gym.make("ToRLMath-v0", problems=PROBLEMS, sandbox=box, tool_budget=3)
    assert isinstance(made, ToRLMathEnv)
    yield made
    made.close()


def test_all_methods_work_on_what_make_gives(env: ToRLMathEnv) -> None:
    env.reset(seed=0)
    env.step(CALL)
    state = env.get_state()
    assert asyncio.run(env.astep(RIGHT))[1] == 1.0
    env.set_state(state)
    (branch,) = env.branch(1)
    assert branch.step(WRONG)[1] == -1.0
    assert env.cut("It is")[3]
    branch.close()


def test_order_and_actions_are_checked_without_a_wrapper(env: ToRLMathEnv) -> None:
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(RIGHT)
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match="got int"):
        env.step(3)  # type: ignore[arg-type]
    env.step(RIGHT)
    with pytest.raises(gym.error.ResetNeeded, match="the episode is over"):
        env.step(RIGHT)


def test_all_methods_work_on_what_make_vec_gives(box: Sandbox) -> None:
    envs = gym.make_vec("ToRLMath-v0", num_envs=2, problems=PROBLEMS, sandbox=box)
    assert isinstance(envs, ToRLMathVectorEnv)
    envs.reset(seed=0)
    envs.branch(0, into=[1])
    envs.set_state(1, envs.get_state(0))
    envs.send([RIGHT], [1])
    assert envs.recv()[0].reward == 1.0
    envs.close()


def test_a_result_of_recv_carries_the_end(box: Sandbox) -> None:
    envs = ToRLMathVectorEnv(2, PROBLEMS, sandbox=box)
    envs.reset(seed=0)
    envs.send([RIGHT, CALL], [0, 1])
    ended, going = sorted(envs.recv(2), key=lambda result: result.env_id)
    assert isinstance(ended.final, EpisodeEnd)
    assert (ended.final.info["verdict"], ended.final.observation) == ("correct", "")
    assert ended.info["stop_reason"] == ""
    assert "final_info" not in ended.info
    assert going.final is None
    envs.close()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_one_info_out_of_many_is_the_scalar_one(box: Sandbox, mode: str) -> None:
    envs = ToRLMathVectorEnv(3, PROBLEMS, sandbox=box, autoreset_mode=mode, tool_budget=2)
    alone = ToRLMathEnv(PROBLEMS, sandbox=box, tool_budget=2)
    _, infos = envs.reset(seed=0)
    assert info_at(infos, 2) == alone.reset(seed=2)[1]
    turns = [CALL, RIGHT, "```python\n1/0\n```"]
    *_, infos = envs.step(turns)
    for i, turn in enumerate(turns):
        alone.reset(seed=i)
        *_, info = alone.step(turn)
        found = info_at(infos, i)
        assert found.get("final_info", found) == info
        assert is_scorable(infos, i) is is_scorable(info) is (turn == RIGHT)
    envs.close()
    alone.close()


def test_an_info_has_only_what_its_env_has() -> None:
    infos = {"a": np.array([1, 0]), "_a": np.array([True, False]), "b": np.array([0.5, 2.5])}
    assert info_at(infos, 0) == {"a": 1}
    assert info_at(infos, 1) == {}


def test_a_time_limit_from_outside_is_no_wrong_answer(box: Sandbox) -> None:
    """Running out of time would otherwise earn 0, which beats the -1 of a wrong answer."""
    made = gym.make(
        "ToRLMath-v0", problems=PROBLEMS, sandbox=box, tool_budget=9, max_episode_steps=2
    )
    assert isinstance(made, TimeLimit)
    made.reset(seed=0)
    made.step(CALL)
    _, _, _, truncated, info = made.step(CALL)
    assert truncated
    assert not is_scorable(info)
    made.close()
    with pytest.raises(ConfigError, match=r"'max_episode_steps' is no option. Did you mean max_t"):
        gym.make_vec("ToRLMath-v0", max_episode_steps=2)


def test_our_own_limit_is_graded(box: Sandbox) -> None:
    env = ToRLMathEnv(PROBLEMS, sandbox=box, tool_budget=1, max_turns=2)
    env.reset(seed=0)
    env.step(CALL)
    _, reward, _, truncated, info = env.step(CALL)
    assert (truncated, is_scorable(info)) == (False, False)  # ignored, the turn goes on
    _, reward, _, truncated, info = env.cut("")
    assert (reward, truncated, is_scorable(info)) == (-1.0, True, True)
    env.close()


def test_processes_say_what_they_need() -> None:
    with pytest.raises(TypeError, match=r"vector_kwargs={'shared_memory': False}"):
        gym.make_vec("ToRLMath-v0", num_envs=2, vectorization_mode="async")
    envs = gym.make_vec(
        "ToRLMath-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"shared_memory": False},
    )
    envs.reset(seed=0)
    assert envs.step([WRONG, WRONG])[1].tolist() == [-1.0, -1.0]
    envs.close()


def test_a_variant_of_ones_own_is_registered(box: Sandbox) -> None:
    gym.register(
        id="OwnGcd-v0",
        entry_point="torl_env:ToRLMathEnv",
        vector_entry_point="torl_env:ToRLMathVectorEnv",
        order_enforce=False,
        disable_env_checker=True,
        kwargs={"problems": "procedural:gcd", "tool_budget": 2, "reward": "thor"},
    )
    try:
        env = gym.make("OwnGcd-v0", tool_budget=3)
        assert isinstance(env, ToRLMathEnv)
        config = env.config
        assert (config.problems, config.tool_budget, config.reward) == ("procedural:gcd", 3, "thor")
        envs = gym.make_vec("OwnGcd-v0", num_envs=2, sandbox=box)
        assert envs.unwrapped.config.tool_budget == 2
        again = gym.make(env.spec)
        assert again.unwrapped.config == config
        for made in (env, envs, again):
            made.close()
    finally:
        del gym.registry["OwnGcd-v0"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group_size": 1.5}, "group_size must be an integer, got 1.5"),
        ({"problem_ids": "list-0"}, "problem_ids must be a list of ids, got 'list-0'"),
        ({"problem_ids": 3}, "problem_ids must be a list of ids, got 3"),
        ({"problem_ids": [3]}, "the id of a problem is text"),
        ({"problem_id": "list-0"}, "options of reset are problem_ids, group_size, reset_mask"),
        (["problem_ids"], "options of reset are a mapping with problem_ids"),
    ],
)
def test_options_of_a_reset_are_checked(options: dict[str, object], said: str) -> None:
    envs = ToRLMathVectorEnv(2, PROBLEMS)
    with pytest.raises(ValueError, match=said):
        envs.reset(options=options)
    with pytest.raises(ConfigError, match=r"num_envs must be an integer of at least 1, got 1.5"):
        ToRLMathVectorEnv(1.5, PROBLEMS)  # type: ignore[arg-type]
    envs.close()


def test_registering_again_changes_nothing() -> None:
    before = gym.registry[torl_env.ENV_ID]
    torl_env.register()
    assert gym.registry[torl_env.ENV_ID] is before
