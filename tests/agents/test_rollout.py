"""Masks, budgets and lost text: the rollout engine over the real environment and sandbox."""

import random

import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.rollout.engine import Rollout, row_seed
from agents.core.rollout.prompts import PlainPrompt, make_prompt
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.types import Sampling
from torl.wiring import envs_over
from torl_env import ToRLMathVectorEnv, closes_tool_call
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox import UnsafeSandbox

PROBLEMS = [Problem(f"p{i}", f"What is {i} + 1?", str(i + 1)) for i in range(4)]


def call(code):
    return f"Let me see.\n```python\n{code}\n```"


def rollout(sandbox, tokenizer, script, *, budget=1, max_tokens=4000, **kw):
    policy = ScriptedPolicy(tokenizer, script, closes_tool_call)
    make_envs = envs_over(sandbox=sandbox, tool_budget=budget)
    prompt = PlainPrompt(tokenizer, "Q: {question}\nA: ")
    return Rollout(policy, prompt, make_envs, Sampling(max_tokens=max_tokens), **kw)


def check_tokens(tokenizer, trajectory):
    """Ids are the concatenation of what was sampled and what came back, masked accordingly."""
    ids, mask = [], []
    for i, turn in enumerate(trajectory.turns):
        sampled = tokenizer.encode(turn.text, add_special_tokens=False)
        if i == len(trajectory.turns) - 1:
            sampled.append(tokenizer.eos_token_id)
        assert list(trajectory.ids[turn.start : turn.end]) == sampled
        forced = tokenizer.encode(turn.observation, add_special_tokens=False)
        ids += sampled + forced
        mask += [1] * len(sampled) + [0] * len(forced)
    assert list(trajectory.ids) == ids
    assert list(trajectory.loss_mask) == mask
    assert len(trajectory.logprobs) == len(ids)


@settings(max_examples=25, deadline=None)
@given(
    budget=st.integers(0, 3),
    calls=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    overlap=st.booleans(),
)
def test_mask_and_ids_for_random_numbers_of_calls(sandbox, tokenizer, budget, calls, overlap):
    """Also: the budget is each episode's own, and no response is lost."""

    def script(row, turn):
        if turn < calls[row]:
            return "\n" + call(f"print({row} * 10 + {turn})")
        return f"\nIt is \\boxed{{{row}}}."

    problems = [Problem(f"p{i}", f"Question {i}?", str(i)) for i in range(len(calls))]
    engine = rollout(sandbox, tokenizer, script, budget=budget, overlap=overlap)
    done = engine.collect(problems, 1, seed=0)
    for row, trajectory in enumerate(done):
        check_tokens(tokenizer, trajectory)
        assert trajectory.tool_calls == min(budget, calls[row])
        assert trajectory.correct
        assert trajectory.answer == str(row)
        shown = [turn.observation for turn in trajectory.turns if turn.observation]
        printed = [row * 10 + turn for turn in range(trajectory.tool_calls)]
        expected = [f"\n```output\n{number}\n```\n" for number in printed]
        assert shown == expected


@pytest.mark.parametrize("budget", [0, 1, 2, 5])
@pytest.mark.parametrize("rows", [1, 4])
def test_no_text_is_lost_when_all_end_in_the_same_round(sandbox, tokenizer, budget, rows):
    """ToRL's engine dropped every response of such a round."""
    engine = rollout(sandbox, tokenizer, lambda r, t: f"\\boxed{{{r + 1}}}", budget=budget)
    done = engine.collect(PROBLEMS[:rows], 1, seed=0)
    assert [t.response for t in done] == [f"\\boxed{{{i + 1}}}" for i in range(rows)]
    assert all(t.correct and t.reward == 1.0 for t in done)


def test_groups_are_contiguous_and_numbered(sandbox, tokenizer):
    engine = rollout(sandbox, tokenizer, lambda r, t: "\\boxed{1}")
    done = engine.collect(PROBLEMS[:2], 3, seed=0)
    assert [(t.problem_id, t.sample) for t in done] == [
        (p, g) for p in ("p0", "p1") for g in range(3)
    ]
    assert [t.reward for t in done] == [1, 1, 1, -1, -1, -1]


def test_output_that_does_not_fit_ends_the_episode(sandbox, tokenizer):
    text = call("print('x' * 200)")
    engine = rollout(sandbox, tokenizer, lambda r, t: text, max_tokens=len(text) + 100)
    (trajectory,) = engine.collect(PROBLEMS[:1], 1, seed=0)
    assert trajectory.truncated
    assert trajectory.stop_reason == "length"
    assert trajectory.tool_calls == 1
    assert len(trajectory.ids) == len(text)
    assert trajectory.reward == -1.0


def test_a_cut_answer_is_graded_as_it_stands(sandbox, tokenizer):
    engine = rollout(sandbox, tokenizer, lambda r, t: "\\boxed{1} and so on", max_tokens=9)
    (trajectory,) = engine.collect(PROBLEMS[:1], 1, seed=0)
    assert (trajectory.truncated, trajectory.verdict) == (True, "correct")
    assert sum(trajectory.loss_mask) == 9


def test_a_dead_sandbox_voids_its_episode_and_no_other(sandbox, tokenizer):
    class Flaky(UnsafeSandbox):
        def submit(self, code, limits=None):
            from torl_env import SandboxError

            if "bad" in code:
                raise SandboxError("the machine is on fire")
            return sandbox.submit(code, limits)

    def script(row, turn):
        return call("print('bad')" if row == 1 else "print(1)") if turn == 0 else "\\boxed{1}"

    engine = rollout(Flaky(), tokenizer, script)
    done = engine.collect(PROBLEMS[:1], 3, seed=0)
    assert [t.scorable for t in done] == [True, False, True]
    assert "on fire" in done[1].infra_error
    assert [t.verdict for t in (done[0], done[2])] == ["correct", "correct"]


def test_slow_tools_hold_up_nobody_with_overlap(sandbox, tokenizer):
    ended = []

    def script(row, turn):
        code = "import time\ntime.sleep(1)" if row == 0 else "print(1)"
        return call(code) if turn == 0 else "\\boxed{1}"

    engine = rollout(sandbox, tokenizer, script, overlap=True)
    engine.collect(PROBLEMS, 1, seed=0, on_end=lambda t: ended.append(t.problem_id))
    assert ended[-1] == "p0"


def test_row_seeds_depend_on_the_row_alone():
    seeds = {row_seed(s, p, g) for s in range(3) for p in ("a", "b") for g in range(4)}
    assert len(seeds) == 24
    assert row_seed(1, "a", 2) == row_seed(1, "a", 2)


def test_prompts(tokenizer):
    plain = make_prompt("torl", tokenizer).question_ids("1+1?")
    assert tokenizer.decode(plain).endswith("\\boxed{}.\n1+1?\nAssistant:\n")
    chat = tokenizer.decode(make_prompt("chat", tokenizer).question_ids("1+1?"))
    assert chat.endswith("<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(ValueError, match="unknown prompt style 'x': choose one of chat"):
        make_prompt("x", tokenizer)


def test_order_of_problems_changes_no_trajectory(sandbox, tokenizer, model):
    from agents.core.policies.transformers import TransformersPolicy

    policy = TransformersPolicy(model, tokenizer, closes_tool_call)
    prompt = PlainPrompt(tokenizer, "{question}")
    engine = Rollout(
        policy, prompt, envs_over(sandbox=sandbox, tool_budget=1), Sampling(max_tokens=20)
    )
    forward = engine.collect(PROBLEMS, 2, seed=3)
    shuffled = PROBLEMS[:]
    random.Random(1).shuffle(shuffled)
    again = engine.collect(shuffled, 2, seed=3)
    key = {(t.problem_id, t.sample): t.ids for t in forward}
    assert key == {(t.problem_id, t.sample): t.ids for t in again}


def test_listed_problems_are_found():
    assert Listed("batch", PROBLEMS).find("p2").answer == "3"


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_no_mode_of_autoreset_puts_the_next_question_into_a_record(sandbox, tokenizer, mode):
    """With `SameStep` a result shows the beginning of the next episode."""

    def make_envs(problems, group_size):
        options = {"sandbox": sandbox, "tool_budget": 1, "autoreset_mode": mode}
        return ToRLMathVectorEnv(len(problems) * group_size, Listed("some", PROBLEMS), **options)

    policy = ScriptedPolicy(
        tokenizer, lambda row, turn: "\\boxed{1}" if turn or row else call("1"), closes_tool_call
    )
    prompt = PlainPrompt(tokenizer, "{question}")
    found = Rollout(policy, prompt, make_envs, Sampling(max_tokens=400)).collect(PROBLEMS, 1, 0)
    assert [t.turns[-1].observation for t in found] == [""] * len(PROBLEMS)
    assert [t.problem_id for t in found] == [p.id for p in PROBLEMS]
    assert [t.verdict for t in found] == ["correct", "wrong", "wrong", "wrong"]


def test_an_output_that_takes_all_the_room_ends_the_episode(sandbox, tokenizer):
    """One id less of it, and the model could still write one."""
    text, shown = call("print(1)"), "\n```output\n1\n```\n"
    limit = len(tokenizer.encode(text)) + len(tokenizer.encode(shown))

    def play(room):
        made = rollout(sandbox, tokenizer, lambda row, turn: "7" if turn else text, max_tokens=room)
        (done,) = made.collect(PROBLEMS[:1], 1, seed=0)
        return len(done.turns), done.turns[0].observation, done.stop_reason

    assert play(limit) == (2, "", "length")
    assert play(limit + 2) == (2, shown, "final")
