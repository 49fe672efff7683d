"""Every switch of the options, in its default and in its other position."""

import pytest

from rewards import GradingOptions, Verdict, grade, grade_answer

RIGHT, WRONG = Verdict.CORRECT, Verdict.WRONG

SWITCHES = [
    ("percent, number", r"28\%", "28", {"percent": "fraction"}, RIGHT, WRONG),
    ("percent, fraction", r"28\%", "0.28", {"percent": "number"}, RIGHT, RIGHT),
    ("degrees, number", r"30^\circ", "30", {"degrees": "radians"}, RIGHT, WRONG),
    ("units", "5 cm", "5", {"units": "required"}, RIGHT, WRONG),
    ("rounding", "0.33", "1/3", {"round_to_reference": False}, RIGHT, WRONG),
    ("tolerance", "1/3", "0.3333", {"decimal_tolerance": 1e-3}, WRONG, RIGHT),
    ("decimal comma", "0.5", "0,5", {"decimal_comma": True}, WRONG, RIGHT),
    ("assignment", "5", "x = 5", {"assignment": False}, RIGHT, WRONG),
    ("chains", "42", "x = 41 = 42", {"consistent_chains": False}, WRONG, RIGHT),
    ("choice", "A", "A) seven", {"choice_letters": False}, RIGHT, WRONG),
    ("base", "52_8", "52", {"bases": "optional"}, WRONG, RIGHT),
    ("two bases", "52_8", "52_7", {"bases": "optional"}, WRONG, WRONG),
    ("ratio", "3/4", "3:4", {"ratios": False}, RIGHT, WRONG),
    ("list order", "1, 2", "2, 1", {"ordered_lists": True}, RIGHT, WRONG),
    ("odd roots", r"\sqrt[3]{-8}", "-2", {"real_odd_roots": False}, RIGHT, WRONG),
    ("control characters", "42", "42\x00", {"control_characters": True}, WRONG, RIGHT),
    ("words", r"\text{Even}", "even.", {"words": False}, RIGHT, WRONG),
    ("closed form", "55", r"\sum_{k=1}^{10} k", {"closed_form": True}, RIGHT, WRONG),
    ("sympy_fallback", r"\int_0^1 x\,dx", r"\frac12", {"sympy_fallback": False}, RIGHT, WRONG),
]


@pytest.mark.parametrize(
    ("reference", "answer", "other", "by_default", "otherwise"),
    [row[1:] for row in SWITCHES],
    ids=[row[0] for row in SWITCHES],
)
def test_switch(
    reference: str, answer: str, other: dict[str, object], by_default: Verdict, otherwise: Verdict
) -> None:
    assert grade_answer(answer, reference).verdict is by_default
    assert grade_answer(answer, reference, GradingOptions(**other)).verdict is otherwise  # type: ignore[arg-type]


HEDGE = r"either $\boxed{41}$ or $\boxed{42}$"


def test_boxes_of_one_paragraph_must_agree() -> None:
    assert grade(HEDGE, "42").rule == "multiple_candidates"
    assert grade(HEDGE, "42", GradingOptions(boxes="last")).verdict is RIGHT  # type: ignore[arg-type]


def test_boxes_of_one_paragraph_may_be_a_list() -> None:
    assert grade(HEDGE, "41, 42").verdict is RIGHT
    assert grade(r"$x = \boxed{1}$, $y = \boxed{2}$", "(1, 2)").verdict is RIGHT


def test_boxes_that_agree_are_one_answer() -> None:
    assert grade(r"$\boxed{1/2} = \boxed{0.5}$", r"\frac12").verdict is RIGHT


def test_a_later_paragraph_revises_an_earlier_one() -> None:
    assert grade("\\boxed{41}\n\nNo: \\boxed{42}", "42").verdict is RIGHT
    assert grade("\\boxed{42}\n\nNo: \\boxed{41}", "42").verdict is WRONG


def test_a_policy_refuses_what_is_no_choice() -> None:
    with pytest.raises(ValueError, match="hundredths"):
        GradingOptions(percent="hundredths")  # type: ignore[arg-type]
