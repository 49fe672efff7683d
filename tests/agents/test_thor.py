"""THOR: where steps are cut, what is branched, and the two losses by hand."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_step import BATCH, FixedSampler, log_likelihood, norm_of, one_step, trajectory

from agents.core.loss import Loss
from agents.core.rollout.branching import Point, point_at, turn_row
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.run import transcripts
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling, Turn
from agents.thor import THOR, Repair
from agents.thor.cutting import call_start, cut, failed_turns
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.parsing import named_parser
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "What is 6*7?", "42")
GOOD, BAD = "\n```python\nprint(6*7)\n```", "\n```python\nprint(1/0)\n```"


def rollout(sandbox, tokenizer, script, budget=3, **options):
    policy = ScriptedPolicy(tokenizer, script, closes_tool_call)
    make_envs = envs_over(sandbox=sandbox, tool_budget=budget, reward="thor", **options)
    prompt = PlainPrompt(tokenizer, "{question}")
    return Rollout(policy, prompt, make_envs, Sampling(max_tokens=2000), keep_states=True)


thoughts = st.text(st.characters(codec="utf-8", exclude_characters="`\r"), max_size=30)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(thoughts, st.booleans()), min_size=1, max_size=3),
    st.integers(0, 200),
    st.sampled_from([Repair.ACTION, Repair.SUFFIX, Repair.PLAN]),
)
def test_a_cut_lies_in_its_own_thought(sandbox, tokenizer, turns, suffix, repair):
    """Never in an observation or in an earlier turn; a short thought goes as a whole."""
    texts = [thought + (GOOD if passes else BAD) for thought, passes in turns]
    engine = rollout(sandbox, tokenizer, lambda row, turn: [*texts, "\\boxed{42}"][turn])
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    failed = failed_turns(done)
    assert failed == [i for i, (_, passes) in enumerate(turns) if not passes]
    for index in failed:
        turn = done.turns[index]
        keep = cut(done, turn, tokenizer, repair, suffix)
        kept = tokenizer.decode(done.ids[turn.start : keep])
        thought = texts[index][: texts[index].index("```")]
        assert turn.start <= keep <= turn.end
        length = len(tokenizer.encode(thought, add_special_tokens=False))
        gone = {Repair.ACTION: 0, Repair.SUFFIX: suffix, Repair.PLAN: length}[repair]
        assert keep - turn.start == max(0, length - gone)
        if keep - turn.start == length:
            assert kept == thought


@pytest.mark.parametrize(
    ("style", "turn", "call"),
    [
        ("fenced", "A\n```python\n1\n```\nB\n```python\n2\n```\n", "```python\n2\n```\n"),
        ("fenced", "```python\nx = '<a>'\n```", "```python\nx = '<a>'\n```"),
        ("xml", "So <python>print(1)</python>", "<python>print(1)</python>"),
    ],
)
def test_the_start_of_a_call(style, turn, call):
    parser = named_parser(style)
    assert turn[call_start(turn, parser) :] == call


def test_a_turn_without_a_call_has_no_start():
    with pytest.raises(ValueError, match="expected a turn that ends with a tool call"):
        call_start("It is \\boxed{42}.")


def test_a_point_inside_tool_output_is_refused(sandbox, tokenizer):
    engine = rollout(sandbox, tokenizer, lambda r, t: BAD if t == 0 else "\\boxed{1}")
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    states = engine.states(done)
    assert len(states) == len(done.turns) == 2
    with pytest.raises(ValueError, match="never inside tool output: got"):
        point_at(done, 1, done.turns[1].start - 1, states)
    with pytest.raises(ValueError, match="cut lies inside its own turn"):
        Point(done, 0, done.turns[0].end + 1, (), states[0])


@pytest.mark.parametrize("stateful", [False, True])
def test_the_branched_step_runs_where_the_failed_one_stood(sandbox, tokenizer, stateful):
    """Second call fails: its branches see one call spent and, with a session, its variables."""
    texts = ["One.\n```python\nx = 20\nprint(x)\n```", "Two. Then more." + BAD, "\\boxed{1}"]
    engine = rollout(sandbox, tokenizer, lambda r, t: texts[t], stateful=stateful)
    (done,) = engine.collect([PROBLEM], 1, seed=0)
    sampler = CopySampler(engine, None)
    keep = cut(done, done.turns[1], tokenizer, Repair.SUFFIX, 6)
    point = point_at(done, 1, keep, engine.states(done))
    again = "\n```python\nprint(x + 1)\n```"
    policy = ScriptedPolicy(
        tokenizer, lambda r, t: again if r else "more\n```python\n1", closes_tool_call
    )
    engine.policy = policy
    final, ran = sampler.branch([point], 2, seed=1)
    assert policy.prefixes == ["Two. Then "] * 2
    assert ran.turns[-1].text == "Two. Then " + again
    assert ran.turns[-1].tool_status == ("ok" if stateful else "error")
    assert ran.tool_calls == 2
    assert ran.ids[:keep] == final.ids[:keep] == done.ids[:keep]
    assert final.turns[-1].action_kind == "final"
    row = turn_row(ran, 1, keep)
    assert row.prompt_ids == (*done.prompt_ids, *done.ids[:keep])
    assert tokenizer.decode(row.ids) == again
    assert set(row.loss_mask) == {1}
    assert len(row.logprobs) == len(row.ids)


def test_the_failed_step_becomes_a_group_paid_for_running(sandbox, tokenizer):
    texts = {0: "Hm." + BAD, 1: "\\boxed{42}"}
    engine = rollout(sandbox, tokenizer, lambda r, t: texts[t])
    group = engine.collect([PROBLEM], 2, seed=0)
    fixes = [GOOD, BAD, "no program", GOOD]
    engine.policy = ScriptedPolicy(tokenizer, lambda r, t: fixes[r], closes_tool_call)
    algorithm = THOR(step_group_size=4, suffix_tokens=0)
    (steps,) = algorithm.branch([group], CopySampler(engine, None), seed=0)
    assert [t.reward for t in steps] == [1.0, 0.0, 0.0, 1.0]
    credit = algorithm.assign_credit_to_branches([steps])
    assert [row[0] for row in credit] == pytest.approx([0.866, -0.866, -0.866, 0.866], abs=1e-3)
    assert [len(row) for row in credit] == [len(t.ids) for t in steps]


def test_running_is_paid_only_where_a_continuation_ends_right(sandbox, tokenizer):
    """Of two failed steps one can be mended into a right answer, the other only into a wrong one.

    A continuation is paid for running and not for its own answer: the last of the first step runs
    and ends wrong. What follows the step is not part of its row.
    """
    texts = ["Hm." + BAD, "\\boxed{1}"]
    engine = rollout(sandbox, tokenizer, lambda r, t: texts[t])
    group = engine.collect([PROBLEM], 2, seed=0)
    fixes = [GOOD, BAD, GOOD] * 2
    ends = ["\\boxed{42}", "\\boxed{1}", "\\boxed{1}"] + ["\\boxed{1}"] * 3
    engine.policy = ScriptedPolicy(
        tokenizer, lambda r, t: ends[r] if t else fixes[r], closes_tool_call
    )
    sizes = {"step_group_size": 3, "suffix_tokens": 0, "max_steps": 2}
    algorithm = THOR(**sizes, step_reward="runs_where_right")
    sampler = CopySampler(engine, None)
    steps = algorithm.branch([group], sampler, seed=0)
    assert [[t.reward for t in some] for some in steps] == [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert all(t.scorable for some in steps for t in some)
    assert [tokenizer.decode(t.ids) for t in steps[0]] == fixes[:3]
    assert all(set(t.loss_mask) == {1} for some in steps for t in some)
    credit = algorithm.assign_credit_to_branches(steps)
    assert [row[0] > 0 for row in credit[:3]] == [True, False, True]
    assert {value for row in credit[3:] for value in row} == {0.0}

    right = THOR(**sizes, step_reward="right")
    steps = right.branch([group], sampler, seed=0)
    assert [[t.reward for t in some] for some in steps] == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_only_a_step_that_is_paid_for_its_answer_needs_a_grade(sandbox, tokenizer):
    engine = rollout(sandbox, tokenizer, lambda r, t: ["Hm." + BAD, "\\boxed{1}"][t])
    group = engine.collect([PROBLEM], 2, seed=0)
    engine.policy = ScriptedPolicy(
        tokenizer, lambda r, t: "\\boxed{42}" if t else [GOOD, BAD, GOOD][r], closes_tool_call
    )

    class Ungraded:
        """What samples, but for the grade of the first continuation."""

        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def branch(self, *args, **options):
            first, *others = self.inner.branch(*args, **options)
            return [replace(first, scorable=False, verdict="undecided"), *others]

    sampler = Ungraded(CopySampler(engine, None))
    for pays, expected in (
        ("runs", [True, True, True]),
        ("runs_where_right", [True, True, True]),
        ("right", [False, True, True]),
    ):
        algorithm = THOR(step_group_size=3, suffix_tokens=0, max_steps=1, step_reward=pays)
        (steps,) = algorithm.branch([group], sampler, seed=0)
        assert [t.scorable for t in steps] == expected, pays


def failing(t):
    turn = Turn("x", "", 0, len(t.ids), "tool", "error", "ZeroDivisionError", t.reward)
    return replace(t, turns=(turn,))


def test_failed_episodes_are_dropped_and_counted():
    right, wrong = BATCH[0], BATCH[1]
    group = [right, wrong, failing(right), wrong]
    algorithm = THOR()
    credit = algorithm.assign_credit([group])
    tokens = [sum(t.loss_mask) for t in group]
    weight = sum(tokens) / (tokens[0] + tokens[1] + tokens[3])
    std = (4 / 3) ** 0.5
    expected = [weight * 4 / 3 / std, -weight * 2 / 3 / std, 0.0, -weight * 2 / 3 / std]
    assert [row[0] for row in credit] == pytest.approx(expected, rel=1e-5)
    report = algorithm.report([group, [failing(right), wrong, failing(wrong), failing(wrong)]])
    assert report == {"dropped": 4, "dropped_correct": 2, "dropped_groups": 1}
    kept = THOR(drop_failed=False)
    assert all(row[0] for row in kept.assign_credit([group]))
    assert kept.report([group])["dropped"] == 0


def test_a_mean_over_what_is_learned_knows_what_filters_drop():
    """The trainer divides by the ids that learn; a void turn is none of them."""
    right, wrong = BATCH[0], BATCH[1]
    void = Turn(" ", "", 0, len(wrong.ids), "final", "", "", -1.0)
    group = [right, replace(wrong, turns=(void,), verdict="no_answer"), failing(right), wrong]
    credit = THOR(loss=Loss(drop=("void_turns",))).assign_credit([group])
    first, last = (sum(t.loss_mask) for t in (right, wrong))
    weight = (first + 0 + first + last) / (first + 0 + last)
    std = (4 / 3) ** 0.5
    assert credit[0][0] == pytest.approx(weight * 4 / 3 / std, rel=1e-5)


@pytest.mark.parametrize("mean", ["token", "sequence", "constant"])
def test_a_dropped_episode_is_in_no_mean(model, tokenizer, tmp_path, mean):
    """As if the machine had lost it."""
    algorithm = THOR(step_level=False, loss=Loss(mean=mean))
    rows = [BATCH[0], BATCH[1], failing(BATCH[2]), BATCH[3], *BATCH[4:]]
    lost = [replace(t, scorable=not failed_turns(t)) for t in rows]
    norms = [
        one_step(model, tokenizer, tmp_path / name, given, algorithm=algorithm)[1]
        for name, given in {"a": rows, "b": lost}.items()
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


class Stepping(FixedSampler):
    """Gives two steps for whatever is asked."""

    tokenizer = None
    steps = (
        trajectory((5, 6, 7, 30), (31, 32), (1, 1), 1.0),
        trajectory((5, 6, 7, 30), (33, 34, 35, 0), (1, 1, 1, 1), 0.0),
    )


class StepsOnly(THOR):
    """The real losses on given steps."""

    def branch(self, groups, brancher, seed):
        return [list(Stepping.steps)]


@pytest.mark.parametrize(("nll", "weight"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize("micro_batch", [8, 2])
def test_both_losses_are_the_hand_made_ones(model, tokenizer, tmp_path, nll, weight, micro_batch):
    """L = L_episode + L_step, each a mean over its own ids; so is the likelihood term."""
    algorithm = StepsOnly(loss=Loss(nll=nll), step_weight=weight)
    _, norm = one_step(
        *(model, tokenizer, tmp_path),
        algorithm=algorithm,
        sampler=Stepping(BATCH),
        micro_batch=micro_batch,
    )

    def loss_of(rows, advantages, everything):
        tokens = sum(sum(t.loss_mask) for t in everything)
        good = [t for t, a in zip(rows, advantages, strict=True) if a > 0]
        positive = sum(sum(t.loss_mask) for t in good)
        loss = 0.0
        for t, advantage in zip(rows, advantages, strict=True):
            logp = (log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum()
            loss = loss - advantage * logp / tokens
            loss = loss - (nll * logp / positive if advantage > 0 else 0.0)
        return loss

    episodes = loss_of(BATCH[:4], [t.reward / (4 / 3) ** 0.5 for t in BATCH[:4]], BATCH)
    half = 0.5 / 0.5**0.5
    steps = loss_of(Stepping.steps, [half, -half], Stepping.steps)
    assert norm == pytest.approx(norm_of(model, episodes + weight * steps), rel=1e-3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["branches"] == 1
    assert row["branch_reward"] == 0.5
    kept = [t for _, t in transcripts.read(tmp_path / "branches")]
    assert [list(t.ids) for t in kept] == [list(t.ids) for t in Stepping.steps]
    assert row["loss_branches"] == pytest.approx(weight * (-half * 2 + half * 4) / 6, abs=1e-4)
