"""Self-correction over the real environment, and selection among candidates."""

import json
import random
from dataclasses import replace

import pytest
import torch
from one_step import trajectory

from agents.core.policies.stopping import StoppingCriterion
from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy, phrase_tokenizer, tiny_model
from agents.core.types import Sampling, Turn
from agents.thor import Correction, Repair, SelfCorrecting, best, executed, judged, votes
from agents.thor.selection import answer_clusters, grouped, read_candidates
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.parsing import named_parser
from torl_env.problems.types import Problem

PROBLEM = Problem("p", "What is 6*7?", "42")
GOOD, BAD = "\n```python\nprint(6*7)\n```", "\n```python\nprint(1/0)\n```"


def correcting(sandbox, tokenizer, written, how, budget=2, temperature=1.0):
    """A policy that writes these pieces one after the other, whatever it is asked."""
    pieces = iter(written)
    policy = ScriptedPolicy(tokenizer, lambda row, turn: next(pieces), closes_tool_call)
    rollout = Rollout(
        policy,
        PlainPrompt(tokenizer, "{question}"),
        envs_over(sandbox=sandbox, tool_budget=budget),
        Sampling(temperature, max_tokens=2000),
        keep_states=True,
    )
    return SelfCorrecting(rollout, how)


class Recording(TransformersPolicy):
    """Keeps what the rows of all its batches were seeded with."""

    seeds = ()

    def open(self, starts, how):
        self.seeds = [*self.seeds, *(start.seed for start in starts)]
        super().open(starts, how)


@pytest.mark.parametrize(
    ("repair", "again", "kept"),
    [
        (Repair.ACTION, GOOD.lstrip("\n"), "First I think.\n"),
        (Repair.SUFFIX, "ink." + GOOD, "First I th"),
        (Repair.PLAN, "Better." + GOOD, ""),
    ],
)
def test_a_failed_step_is_written_again(sandbox, tokenizer, repair, again, kept):
    how = Correction(repair, suffix_tokens=5)
    script = ["First I think." + BAD, again, "\\boxed{42}"]
    agent = correcting(sandbox, tokenizer, script, how)
    (done,) = agent.collect([PROBLEM], 1, seed=0)
    assert done.response == kept + again + "\n```output\n42\n```\n\\boxed{42}"
    assert (done.correct, done.tool_calls, done.tool_errors) == (True, 1, 0)
    ids = tokenizer.encode(done.response, add_special_tokens=False)
    assert list(done.ids) == [*ids, tokenizer.eos_token_id]
    for turn in done.turns:
        assert tokenizer.decode(done.ids[turn.start : turn.end]).startswith(turn.text)
        assert all(done.loss_mask[turn.start : turn.end])
    (account,) = agent.accounts
    gone = len(("First I think." + BAD).encode()) - len(kept)
    assert (account.tries, account.discarded_calls, account.discarded_tokens) == (1, 1, gone)


def test_the_error_is_shown_and_not_charged(sandbox, tokenizer):
    script = ["A." + BAD, "B." + BAD, "C." + GOOD, "\\boxed{42}"]
    how = Correction(Repair.SHOWN, tries=2)
    agent = correcting(sandbox, tokenizer, script, how, budget=1)
    (done,) = agent.collect([PROBLEM], 1, seed=0)
    assert done.response.count("ZeroDivisionError") == 2
    assert [turn.tool_status for turn in done.turns] == ["error", "error", "ok", ""]
    assert done.correct
    assert (agent.accounts[0].tries, agent.accounts[0].discarded_tokens) == (2, 0)


def test_after_the_last_try_the_episode_goes_on_with_the_error(sandbox, tokenizer):
    script = ["A." + BAD, "B." + BAD, "C." + BAD, "D." + GOOD, "\\boxed{42}"]
    agent = correcting(sandbox, tokenizer, script, Correction(Repair.PLAN, tries=2))
    (done,) = agent.collect([PROBLEM], 1, seed=0)
    assert [turn.text[0] for turn in done.turns] == ["C", "D", "\\"]
    assert "ZeroDivisionError" in done.turns[0].observation
    assert (done.tool_calls, done.tool_errors, agent.accounts[0].tries) == (2, 1, 2)


def test_no_retry_writes_what_was_taken_back(sandbox):
    """Every continuation has random numbers of its own, also behind a turn whose tries are gone."""
    words = tuple(f"w{i}. " for i in range(20))
    calls = tuple(f"\n```python\nprint({i}/0)\n```" for i in range(12))
    tokenizer = phrase_tokenizer((*words, *calls))
    torch.manual_seed(0)
    policy = Recording(tiny_model(tokenizer), tokenizer)
    rollout = Rollout(
        policy,
        PlainPrompt(tokenizer, "{question}"),
        envs_over(sandbox=sandbox, tool_budget=9),
        Sampling(1.0, max_tokens=40),
        keep_states=True,
    )
    SelfCorrecting(rollout, Correction(Repair.SUFFIX, 100, tries=2)).collect([PROBLEM] * 2, 3, 0)
    assert len(policy.seeds) > 30
    assert len(set(policy.seeds)) == len(policy.seeds)


def test_each_failed_call_has_its_own_tries(sandbox, tokenizer):
    script = [BAD, GOOD, BAD, GOOD, "\\boxed{42}"]
    agent = correcting(sandbox, tokenizer, script, Correction(Repair.PLAN, tries=1))
    (done,) = agent.collect([PROBLEM], 1, seed=0)
    assert [turn.tool_status for turn in done.turns] == ["ok", "ok", ""]
    assert agent.accounts[0].tries == 2


def test_without_tries_it_is_the_plain_rollout(sandbox, tokenizer):
    script = [BAD, GOOD, "\\boxed{42}"]
    agent = correcting(sandbox, tokenizer, script, Correction(tries=0))
    (corrected,) = agent.collect([PROBLEM], 1, seed=0)
    plain = correcting(sandbox, tokenizer, script, Correction()).rollout
    (done,) = plain.collect([PROBLEM], 1, seed=0)
    assert corrected == done


def test_bad_settings_say_what_is_expected(sandbox, tokenizer):
    with pytest.raises(ValueError, match="tries and suffix_tokens must be >= 0, got -1"):
        Correction(tries=-1)
    with pytest.raises(ValueError, match="a greedy policy writes the same failure again"):
        correcting(sandbox, tokenizer, [], Correction(), temperature=0.0)
    rollout = correcting(sandbox, tokenizer, [], Correction()).rollout
    rollout.keep_states = False
    with pytest.raises(ValueError, match="keep_states=True"):
        SelfCorrecting(rollout)


def candidate(answer, *statuses, scorable=True):
    turns = tuple(Turn("x", "", 0, 0, "tool", status, "", 0.0) for status in statuses)
    made = trajectory((1,), (2,), (1,), 0.0, turns=turns or (Turn("x", "", 0, 1, "", "", "", 0.0),))
    return replace(made, answer=answer, scorable=scorable, verdict="wrong")


CANDIDATES = [
    candidate("7", "ok", "ok", "ok", "error"),
    candidate("8", "ok", "error"),
    candidate("0.5", "ok", "ok"),
    candidate("1/2", "ok"),
    candidate("9"),
    candidate("8", "ok", "error"),
    candidate("8", "error"),
    candidate(""),
]


def test_the_execution_share_is_a_fraction():
    assert executed(CANDIDATES) == [0.75, 0.5, 1.0, 1.0, 0.0, 0.5, 0.0, 0.0]


def test_votes_count_equal_answers_however_they_are_written():
    assert votes(CANDIDATES) == [1.0, 3.0, 2.0, 2.0, 1.0, 3.0, 3.0, 0.0]


SAME_ONE_WAY = ["0.333", "1/3", "1/3", "1/2", "0.5", "\\sqrt{2}", "1.414"]


@pytest.mark.parametrize("seed", range(6))
def test_clusters_and_votes_know_no_order(seed):
    """The grader takes 0.333 for a reference that 1/3 answers, and not the other way round."""
    answers = random.Random(seed).sample(SAME_ONE_WAY, len(SAME_ONE_WAY))
    count = dict(zip(answers, votes([candidate(a) for a in answers]), strict=True))
    ones = dict.fromkeys(("0.333", "\\sqrt{2}", "1.414"), 1.0)
    assert count == ones | {"1/3": 2.0, "1/2": 2.0, "0.5": 2.0}
    clusters = answer_clusters(answers)
    assert list(dict.fromkeys(clusters)) == list(range(5))


def test_strategies_combine():
    assert best(CANDIDATES, votes).answer == "8"
    assert best(CANDIDATES, executed).answer == "0.5"
    tie = [candidate("1", "ok"), candidate("2", "ok"), candidate("2"), candidate("3", "error")]
    assert best(tie, executed, votes).answer == "2"
    assert best(tie, executed).answer == "1"
    assert best(tie, judged(lambda t: float(t.answer))).answer == "3"
    assert best(tie, executed, judged(lambda t: -float(t.answer))).answer == "1"
    with pytest.raises(ValueError, match="none of the 1 candidates was scorable"):
        best([candidate("1", scorable=False)], votes)


def test_one_dump_serves_all(tmp_path):
    file = tmp_path / "dump.jsonl"
    rows = [replace(c, problem_id=f"p{i % 2}") for i, c in enumerate(CANDIDATES)]
    lines = [json.dumps({"header": 1}), *(json.dumps(row.to_json()) for row in rows)]
    file.write_text("\n".join(lines))
    read = read_candidates(file)
    assert [len(group) for group in read] == [4, 4]
    assert [[t.answer for t in g] for g in read] == [[t.answer for t in g] for g in grouped(rows)]
    file.write_text('{"header": 1}\n')
    with pytest.raises(ValueError, match="holds no trajectories"):
        read_candidates(file)


@pytest.mark.parametrize("style", ["xml", "hermes"])
def test_calls_of_another_style_are_cut_where_they_begin(sandbox, tokenizer, style):
    def call(code):
        hermes = json.dumps({"name": "python", "arguments": {"code": code}})
        return f"<python>{code}</python>" if style == "xml" else f"<tool_call>{hermes}</tool_call>"

    parser = named_parser(style)
    pieces = iter(["I think. " + call("1/0"), call("print(6*7)"), "\\boxed{42}"])
    policy = ScriptedPolicy(tokenizer, lambda row, turn: next(pieces), StoppingCriterion(parser))
    envs = envs_over(sandbox=sandbox, tool_budget=1, parser=style)
    prompt = PlainPrompt(tokenizer, "{question}")
    rollout = Rollout(policy, prompt, envs, Sampling(max_tokens=900), keep_states=True)
    (done,) = SelfCorrecting(rollout, Correction(Repair.ACTION)).collect([PROBLEM], 1, seed=0)
    assert done.turns[0].text == "I think. " + call("print(6*7)")
    assert (done.correct, done.tool_errors) == (True, 0)


def test_a_repair_by_its_name_is_that_repair():
    """What is compared by identity must not be the bare word that the documentation gives."""
    assert Correction(repair="plan").repair is Repair.PLAN
    with pytest.raises(ValueError, match="elsewhere"):
        Correction(repair="elsewhere")
