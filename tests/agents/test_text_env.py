"""A text environment that is none of ours, run by the rollout engine."""

import gymnasium as gym
import pytest
from gymnasium.spaces import Box, Text

from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.types import Sampling
from torl_env import INFO_KEYS, ConfigError, ProblemError, TextEnv, Unicode, is_scorable
from torl_env.errors import SandboxError
from torl_env.testing import FaultySandbox
from torl_env.wrappers import MarkVoidTurns, ShapeReward


class Guess(gym.Env):
    """Twenty questions about a number: `low` or `high` until it is guessed or time is up."""

    observation_space = Text(200, charset="abcdefghijklmnopqrstuvwxyz0123456789 ?")
    action_space = Unicode()

    def __init__(self, tries=3, breaks=False):
        self.tries, self.breaks = tries, breaks

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number, self.left = int(self.np_random.integers(10)), self.tries
        return f"guess my number {seed}?", {}

    def step(self, action):
        if self.breaks:
            raise SandboxError("the server is gone")
        guess = int(action.strip() or -1)
        self.left -= 1
        if guess == self.number:
            return "yes", 1.0, True, False, {"is_success": True, "answer": guess}
        return "high" if guess > self.number else "low", -0.1, False, self.left == 0, {}


def number(seed):
    env = Guess()
    env.reset(seed=seed)
    return env.number


def run(own, tokenizer, script, group_size=2, max_tokens=300, problems=3):
    policy = ScriptedPolicy(tokenizer, script, lambda text: False)
    engine = Rollout(
        policy,
        PlainPrompt(tokenizer, "Q: {question}\nA: "),
        own.make_envs,
        Sampling(max_tokens=max_tokens),
    )
    return engine.collect(own.problems.head(problems), group_size, seed=0)


def test_episodes_of_a_strange_env(tokenizer):
    def script(row, turn):
        seed = row // 2
        return str(number(seed)) if turn == 1 else "-1"

    done = run(TextEnv(Guess()), tokenizer, script)
    for row, trajectory in enumerate(done):
        assert trajectory.problem_id == f"seed-{row // 2}"
        assert trajectory.question == f"guess my number {row // 2}?"
        prompt = tokenizer.decode(list(trajectory.prompt_ids))
        assert f"Q: guess my number {row // 2}?" in prompt
        assert [turn.observation for turn in trajectory.turns] == ["\nlow\n", ""]
        assert trajectory.reward == pytest.approx(0.9)
        assert (trajectory.verdict, trajectory.answer) == ("correct", str(number(row // 2)))
        assert trajectory.scorable
        assert trajectory.reward_terms["environment"] == pytest.approx(0.9)
        assert sum(trajectory.loss_mask) < len(trajectory.ids)


def test_what_an_episode_earned_is_not_carried_into_the_next():
    own = TextEnv(Guess())
    envs = own.make_envs(own.problems.head(1), 1)
    for _ in range(2):
        envs.reset(options={"problem_ids": ["seed-0"], "group_size": 1})
        envs.send([str(number(0))], [0])
        (result,) = envs.recv()
        assert result.info["reward_terms"] == {"environment": 1.0}
    envs.close()


def test_its_own_time_limit_is_its_own_reward(tokenizer):
    (trajectory,) = run(TextEnv(Guess()), tokenizer, lambda r, t: "-1", 1, problems=1)
    assert len(trajectory.turns) == 3
    assert (trajectory.truncated, trajectory.stop_reason) == (True, "max_turns")
    assert trajectory.scorable
    assert trajectory.reward == pytest.approx(-0.3)
    assert trajectory.verdict == ""


def test_a_sampler_that_runs_out_is_truncated(tokenizer):
    (trajectory,) = run(TextEnv(Guess()), tokenizer, lambda r, t: "-1", 1, 6, problems=1)
    assert (trajectory.truncated, trajectory.stop_reason) == (True, "length")


def test_a_failure_of_the_machine_is_no_reward(tokenizer):
    own = TextEnv(lambda: Guess(breaks=True))
    (trajectory,) = run(own, tokenizer, lambda r, t: "1", 1, problems=1)
    assert not trajectory.scorable
    assert "the server is gone" in trajectory.infra_error


CALL = "```python\nprint(6*7)\n```"


def play(own, *actions, cut=False):
    """What the actions gave in the first episode of `own`, the last of them cut or not."""
    envs = own.make_envs(own.problems.head(1), 1)
    envs.reset(options={"problem_ids": ["seed-0"]})
    results = []
    for number, action in enumerate(actions, start=1):
        envs.send([action], [0], cut=[cut and number == len(actions)])
        results += envs.recv()
    envs.close()
    return results


def test_a_failure_that_an_environment_reports_is_no_reward():
    class Lost(Guess):
        def step(self, action):
            return "", 0.0, True, False, {"infra_error": "the server is gone"}

    broken = FaultySandbox(lambda code, number: True)
    with broken:
        for own in (TextEnv(Lost()), TextEnv("ToRLMath-v0", sandbox=broken)):
            (result,) = play(own, CALL)
            assert (result.terminated, result.truncated) == (False, True)
            assert result.info["infra_error"]
            assert result.info["stop_reason"] == "infra_error"
            assert not is_scorable(result.info)


def test_a_turn_that_goes_on_has_no_frame():
    class Slow(Guess):
        def step(self, action):
            going_on = action == "wait"
            return ("" if going_on else "low"), 0.0, False, False, {"continue_generation": going_on}

    first, second, third = play(TextEnv(Slow()), "wait", "3", "4")
    assert (first.observation, first.info["continue_generation"]) == ("", True)
    assert (second.observation, second.info["continue_generation"]) == ("\nlow\n", False)
    assert [one.info["turn"] for one in (first, second, third)] == [1, 1, 2]


@pytest.mark.parametrize("parser", ["plain", "fenced"])
def test_an_environment_of_ours_says_all_itself(sandbox, parser):
    own = TextEnv("ToRLMath-v0", parser=parser, sandbox=sandbox, tool_budget=1)
    called, spent, ended = play(own, CALL, CALL, "\\boxed{no}")
    assert called.observation == "\n```output\n42\n```\n"
    assert (called.info["tool_calls"], called.info["tool_status"]) == (1, "ok")
    assert (spent.observation, spent.info["action_kind"]) == ("", "over_budget")
    assert spent.info["continue_generation"]
    assert set(ended.info) == set(INFO_KEYS)
    assert (ended.reward, ended.info["problem_id"]) == (-1.0, "seed-0")
    (cut,) = play(own, "It is \\boxed{no}", cut=True)
    assert (cut.reward, cut.info["stop_reason"], cut.info["tool_calls"]) == (-1.0, "length", 0)


def test_wrappers_that_cannot_be_made_anew_are_copied(sandbox):
    """Those of users seldom record their arguments, and neither do some of ours."""
    made = gym.make("ToRLMath-v0", sandbox=sandbox, problems="procedural:easy", tool_budget=1)
    called, ended = play(TextEnv(MarkVoidTurns(made)), CALL, "so be it")
    assert (called.info["tool_status"], ended.info["void_turns"]) == ("ok", 1)


def test_wrappers_see_a_turn_that_is_cut(sandbox):
    def make():
        env = gym.make("ToRLMath-v0", sandbox=sandbox, problems="procedural:easy", tool_budget=1)
        return ShapeReward(env, lambda info: 0.5)

    envs = TextEnv(make).make_envs([TextEnv(make).problems[0]], 1)
    envs.reset(options={"problem_ids": ["seed-0"]})
    envs.send([CALL], [0])
    envs.send(["It is \\boxed{no}"], [0], cut=[True])
    called, ended = envs.recv()
    assert (called.reward, ended.reward, ended.info["stop_reason"]) == (0.5, -1.5, "length")
    envs.close()


def test_an_id_of_gymnasium_and_the_style_of_calls(sandbox, tokenizer):
    def script(row, turn):
        return "\\boxed{1}" if turn else "```python\nprint(6*7)\n```"

    options = {"sandbox": sandbox, "problems": "procedural:easy"}
    made = gym.make("ToRLMath-v0", **options)
    for own in (
        TextEnv("ToRLMath-v0", parser="fenced", **options),
        TextEnv(made, parser="fenced"),
    ):
        (trajectory,) = run(own, tokenizer, script, 1, problems=1)
        assert len(trajectory.turns) == 2
        assert trajectory.reward in (1.0, -1.0)


def test_what_needs_states_says_so(tokenizer):
    envs = TextEnv(Guess()).make_envs(list(TextEnv(Guess()).problems.head(1)), 1)
    with pytest.raises(ConfigError, match=r"Guess keeps no states .* need ToRLMath-v0"):
        envs.get_state(0)
    with pytest.raises(ConfigError, match="need ToRLMath-v0"):
        envs.set_state(0, None)


def test_spaces_that_are_no_text_are_refused():
    class Numbers(Guess):
        action_space = Box(0.0, 1.0)

    with pytest.raises(ConfigError, match=r"expected action_space to be text .* got Box"):
        TextEnv(Numbers())
    with pytest.raises(ConfigError, match="expected a Gymnasium environment"):
        TextEnv(3)
    with pytest.raises(ConfigError, match="options go with an id"):
        TextEnv(Guess(), level=3)
    with pytest.raises(ProblemError, match="ids like seed-7, got 'list-1'"):
        TextEnv(Guess()).problems.find("list-1")
