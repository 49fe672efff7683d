"""The grader behind the reward functions of verl and TRL."""

import pytest

from rewards.adapters import UngradableError, lm_eval_results, trl_reward, verl_reward

UNREADABLE = "\\frac{"


def test_verl_gets_a_score_and_an_accuracy():
    assert verl_reward("m", "so \\boxed{0.5}", "1/2") == {"score": 1.0, "acc": 1.0}
    assert verl_reward("m", "so \\boxed{0.4}", "1/2", {"index": 3}, preset="limr") == {
        "score": -0.5,
        "acc": 0.0,
    }


def test_trainers_pay_no_copied_question_and_the_harness_counts_it():
    copied = r"so \boxed{\sum_{k=1}^{10} k}"
    assert verl_reward("m", copied, "55")["acc"] == 0.0
    assert trl_reward([copied, "\\boxed{55}"], answer=["55"] * 2) == [-1.0, 1.0]
    assert lm_eval_results({"answer": "55"}, [copied])["acc"] == 1.0


def test_where_the_grader_cannot_decide_there_is_no_reward():
    with pytest.raises(UngradableError, match="no reward for"):
        verl_reward("m", "so \\boxed{0.5}", UNREADABLE)
    assert trl_reward(["\\boxed{1}", "\\boxed{1}"], answer=[UNREADABLE, "1"]) == [None, 1.0]


def test_trl_takes_texts_and_conversations_under_both_names_of_the_column():
    talk = [
        {"role": "assistant", "content": "I compute.", "tool_calls": []},
        {"role": "tool", "content": "\\boxed{41}"},
        {"role": "assistant", "content": "\\boxed{42}"},
    ]
    assert trl_reward([talk], answer=["42"], prompts=["?"]) == [1.0]
    assert trl_reward(["\\boxed{42}", "42"], solution=["42", "42"]) == [1.0, -1.0]
    with pytest.raises(ValueError, match="column 'answer' or 'solution'"):
        trl_reward(["\\boxed{42}"])
    with pytest.raises(ValueError, match=r"longer|shorter"):
        trl_reward(["\\boxed{42}"], answer=["42", "42"])


def test_what_the_harness_counts_leaves_out_what_is_undecided():
    assert lm_eval_results({"answer": "1/2"}, ["\\boxed{0.5}"]) == {"acc": 1.0, "ungradable": 0.0}
    assert lm_eval_results({"answer": "1/2"}, ["\\boxed{0.4}"])["acc"] == 0.0
    assert lm_eval_results({"answer": UNREADABLE}, ["\\boxed{1}"]) == {"ungradable": 1.0}
