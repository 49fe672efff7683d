"""LIMR's formula on curves worked out by hand, and the log it is computed from."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torl_env.problems import ProblemError, limr_scores, limr_select, read_solve_rates


def test_scores_by_hand():
    """Mean curve (0.5, 0.75); denominator 0.25 + 0.0625 = 0.3125."""
    scores = limr_scores({"a": [0.5, 1.0], "b": [0.5, 0.5], "c": [1.0, 1.0], "d": [0.0, 0.5]})
    assert scores["a"] == pytest.approx(1 - 0.0625 / 0.3125)
    assert scores["b"] == pytest.approx(1 - 0.0625 / 0.3125)
    assert scores["c"] == pytest.approx(0.0)
    assert scores["d"] == pytest.approx(0.0)


def test_the_problems_that_follow_the_run_are_kept_in_order():
    curves = {
        "z": [0.1, 0.5, 0.9],
        "solved": [1.0, 1.0, 1.0],
        "a": [0.2, 0.5, 0.8],
        "no": [0.0] * 3,
    }
    assert limr_select(curves) == ["z", "a"]
    assert limr_select(curves, threshold=-9) == list(curves)


@given(st.lists(st.lists(st.floats(0, 0.9), min_size=3, max_size=3), min_size=1, max_size=8))
def test_no_score_is_above_one_and_order_does_not_matter(rates):
    curves = {str(i): curve for i, curve in enumerate(rates)}
    scores = limr_scores(curves)
    assert max(scores.values()) <= 1
    backwards = limr_scores(dict(reversed(curves.items())))
    assert all(scores[key] == pytest.approx(backwards[key]) for key in curves)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "got 0 problems"),
        ({"a": [0.5], "b": [0.5, 0.5]}, r"\[1, 2\] epochs"),
        ({"a": [1.5]}, "rates from 0 to 1"),
        ({"a": [1.0]}, "always solved"),
    ],
)
def test_curves_that_have_no_score(curves, message):
    with pytest.raises(ProblemError, match=message):
        limr_scores(curves)


def row(epoch, key, solved, samples=8):
    return json.dumps({"epoch": epoch, "problem_id": key, "solved": solved, "samples": samples})


def test_a_log_becomes_curves(tmp_path):
    log = tmp_path / "rates.jsonl"
    log.write_text(
        "\n".join(
            [row(1, "a", 8), row(0, "a", 2), row(0, "a", 0), row(0, "once", 1), row(1, "b", 4)]
        )
        + "\n"
        + row(0, "b", 0),
        encoding="utf-8",
    )
    assert read_solve_rates(log) == {"a": [0.125, 1.0], "b": [0.0, 0.5]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log is empty"),
        ("{", "line 1: expected"),
        (row(0, "a", 9), "line 1: expected 0 <= solved <= samples"),
        (row(0, "a", 1) + "\n[]", "line 2: expected"),
    ],
)
def test_a_bad_log_is_named(tmp_path, text, message):
    (tmp_path / "rates.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ProblemError, match=message):
        read_solve_rates(tmp_path / "rates.jsonl")
    with pytest.raises(ProblemError, match="does not exist"):
        read_solve_rates(tmp_path / "other.jsonl")
