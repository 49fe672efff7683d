"""Rewards, by a table of attempts worked out by hand."""

import pickle
import sys

import pytest

from rewards import Attempt, Reward, Verdict, presets, register, reward
from rewards.terms import correct, failed_call, finished

RIGHT, WRONG, NONE = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER

ATTEMPTS = {
    "right, no code": Attempt(RIGHT, boxed=True),
    "wrong, no code": Attempt(WRONG, boxed=True),
    "no answer, no code": Attempt(NONE),
    "right, code passed": Attempt(RIGHT, tool_calls=1, turns=2, boxed=True),
    "right, code failed": Attempt(RIGHT, tool_calls=1, tool_errors=1, turns=2, boxed=True),
    "right, failed twice": Attempt(RIGHT, tool_calls=2, tool_errors=2, turns=3, boxed=True),
    "right, failed then fixed": Attempt(RIGHT, tool_calls=2, tool_errors=1, turns=3, boxed=True),
    "wrong, code passed": Attempt(WRONG, tool_calls=1, turns=2, boxed=True),
    "wrong, code failed": Attempt(WRONG, tool_calls=1, tool_errors=1, turns=2, boxed=True),
    "truncated, code failed": Attempt(NONE, tool_calls=1, tool_errors=1, truncated=True),
}

TABLE = {
    # attempt: torl, torl_penalty, thor, limr, step_execution
    "right, no code": (1.0, 1.0, 1.0, 1.0, 0.0),
    "wrong, no code": (-1.0, -1.0, 0.0, -0.5, 0.0),
    "no answer, no code": (-1.0, -1.0, 0.0, -1.0, 0.0),
    "right, code passed": (1.0, 1.0, 1.0, 1.0, 1.0),
    "right, code failed": (1.0, 0.5, 1.0, 1.0, 0.0),
    "right, failed twice": (1.0, 0.5, 1.0, 1.0, 0.0),
    "right, failed then fixed": (1.0, 0.5, 1.0, 1.0, 0.0),
    "wrong, code passed": (-1.0, -1.0, 0.0, -0.5, 1.0),
    "wrong, code failed": (-1.0, -1.5, 0.0, -0.5, 0.0),
    "truncated, code failed": (-1.0, -1.5, 0.0, -1.0, 0.0),
}
COLUMNS = ("torl", "torl_penalty", "thor", "limr", "step_execution")


@pytest.mark.parametrize("name", TABLE)
def test_presets_by_hand(name: str) -> None:
    for preset, expected in zip(COLUMNS, TABLE[name], strict=True):
        scored = reward(preset).score(ATTEMPTS[name])
        assert scored.total == expected, preset
        assert sum(scored.terms.values()) == scored.total


def test_an_infrastructure_failure_is_no_failed_call() -> None:
    """The env counts a broken sandbox in no field that a reward sees, and drops the episode."""
    broken = Attempt(RIGHT, tool_calls=1, tool_errors=0, boxed=True)
    assert reward("torl_penalty").score(broken).total == 1.0


@pytest.mark.parametrize("preset", presets())
def test_no_reward_scores_what_could_not_be_graded(preset: str) -> None:
    with pytest.raises(ValueError, match="UNGRADABLE"):
        reward(preset).score(Attempt(Verdict.UNGRADABLE, tool_calls=1))


@pytest.mark.parametrize("preset", presets())
def test_accuracy_does_not_depend_on_the_reward(preset: str) -> None:
    scheme = reward(preset)
    before = list(ATTEMPTS.values())
    scored = [scheme.score(attempt) for attempt in before]
    accuracy = sum(attempt.verdict is RIGHT for attempt in before) / len(before)
    assert len(scored) == len(before)
    assert accuracy == 0.5
    assert before == list(ATTEMPTS.values())


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'tor'.*limr, .*torl_penalty"):
        reward("tor")


def test_own_schemes_are_built_from_terms() -> None:
    mine = Reward("mine", {"right": correct, "done": finished}, {"done": 0.25})
    scored = mine.score(Attempt(RIGHT, truncated=True))
    assert dict(scored.terms) == {"right": 1.0, "done": 0.0}
    assert reward(mine) is mine
    assert pickle.loads(pickle.dumps(mine)).score(Attempt(RIGHT)).total == 1.25


def test_own_schemes_can_be_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["rewards.presets"], "PRESETS", {})
    mine = register(Reward("registered_by_a_test", {"failed": failed_call}))
    assert reward("registered_by_a_test") is register(mine)
    with pytest.raises(ValueError, match="already registered"):
        register(Reward("registered_by_a_test", {"failed": correct}))


def test_a_scheme_must_make_sense() -> None:
    with pytest.raises(ValueError, match="no terms"):
        Reward("empty", {})
    with pytest.raises(ValueError, match="weighs"):
        Reward("odd", {"right": correct}, {"wrong": 1.0})


def test_every_preset_names_its_source() -> None:
    assert all("arXiv" in reward(name).source for name in COLUMNS)
