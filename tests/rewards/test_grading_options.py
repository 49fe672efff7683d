"""Every switch of the options, in its default and in its other position."""

import pytest

from rewards import TRAINING, GradingOptions, Verdict, grade, grade_answer

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


@pytest.mark.parametrize(
    ("reference", "answer", "in_training"),
    [
        ("4", r"\log_2 (4^2)", WRONG),
        ("4", r"\log_2 (4^2) = 4", RIGHT),
        ("4", r"x = \sqrt{16}", WRONG),
        ("4368", r"\dbinom{16}{5}", WRONG),
        ("4368", "C(16, 5)", WRONG),
        (r"\frac12", r"\sin 150^\circ", WRONG),
        ("12", r"\frac{10!+11!+12!}{10!+11!}", WRONG),
        ("124", r"3\cdot9+4\cdot10+11\cdot3+3\cdot8", WRONG),
        ("0.75", r"\frac12+\frac14", WRONG),
        ("120", r"\{5!\}", WRONG),
        ("1", r"(x+1-x)! \div (x-x+1)!", WRONG),
        ("16", "(2^2)^2", WRONG),
        ("4", r"\log_2 16 = ?", WRONG),
        ("12", r"3 \cdot 4 = \text{total}", WRONG),
        (r"\frac59", r"0.\overline{7}-0.\overline{4}+0.\overline{2}", WRONG),
        ("4", r"1\frac12 + 2\frac12", WRONG),
        (r"\frac13", r"0.\overline{3}", RIGHT),
        (r"30.25^\circ", r"30^\circ 15'", RIGHT),
        ("5", "5 m/s", RIGHT),
        ("1024", "2^{10}", RIGHT),
        ("1200", r"1.2\cdot 10^3", RIGHT),
        ("0.75", r"-\frac{-3}{4}", RIGHT),
        ("3.5", r"3\frac12", RIGHT),
        ("50", r"50\%", RIGHT),
        ("5", "5 m", RIGHT),
        (r"80 \text{ minutes}", r"1 \text{ hour } 20 \text{ minutes}", RIGHT),
        (r"30^\circ", r"\frac{\pi}{6}", RIGHT),
        ("2.236", r"\sqrt5", RIGHT),
        (r"3\sqrt2", r"\sqrt{18}", RIGHT),
        ("3^{100}", r"27^{33}\cdot 3", RIGHT),
        ("(x-1)(x+1)", "x^2-1", RIGHT),
    ],
)
def test_in_training_a_written_number_is_asked_for(
    reference: str, answer: str, in_training: Verdict
) -> None:
    assert grade_answer(answer, reference).verdict is RIGHT
    assert grade_answer(answer, reference, TRAINING).verdict is in_training


HEDGE = r"either $\boxed{41}$ or $\boxed{42}$"


def test_boxes_of_one_paragraph_must_agree() -> None:
    assert grade(HEDGE, "42").rule == "multiple_candidates"
    assert grade(HEDGE, "42", GradingOptions(boxes="last")).verdict is RIGHT  # type: ignore[arg-type]


def test_boxes_of_one_paragraph_may_be_a_list() -> None:
    assert grade(HEDGE, "41, 42").verdict is RIGHT
    assert grade(r"$x = \boxed{1}$, $y = \boxed{2}$", "(1, 2)").verdict is RIGHT


def test_boxes_that_agree_are_one_answer() -> None:
    assert grade(r"$\boxed{1/2} = \boxed{0.5}$", r"\frac12").verdict is RIGHT
    assert grade(r"$\boxed{\frac13} \approx \boxed{0.33}$", r"\frac13").verdict is RIGHT
    assert grade(r"$\boxed{0.33} \approx \boxed{\frac13}$", r"\frac13").verdict is RIGHT
    assert grade(r"$\boxed{\frac13}$ or $\boxed{0.4}$", r"\frac13").verdict is WRONG
    assert grade(r"$\boxed{\binom52} = \boxed{10}$", "10", TRAINING).verdict is RIGHT


def test_boxes_that_agree_with_a_rounded_one_must_agree_with_each_other() -> None:
    hedge = r"$\boxed{\frac{157}{50}}, \boxed{\frac{22}{7}}, \boxed{\pi}, \boxed{3.1}$"
    for reference in (r"\frac{157}{50}", r"\frac{22}{7}", r"\pi"):
        assert grade(hedge, reference).rule == "multiple_candidates"


PARTS = r"(a) even: $\boxed{2}$, so $\boxed{3}$ ways." "\n\n" r"(b) odd: $\boxed{5}$ ways."


@pytest.mark.parametrize(
    ("end", "reference", "verdict"),
    [
        ("", "3, 5", RIGHT),
        ("", "5", WRONG),
        ("\n\n**Final answer:** so\n\n$$\\boxed{8}$$", "8", RIGHT),
        ("\n\n**Final answer:** so\n\n$$\\boxed{8}$$", "5", WRONG),
        ("\n\nTogether \\boxed{8} or \\boxed{9}", "8", WRONG),
        ("\n\nSo \\boxed{3, 5}", "3, 5", RIGHT),
    ],
)
def test_a_box_after_the_parts_is_the_answer(end: str, reference: str, verdict: Verdict) -> None:
    assert grade(PARTS + end, reference).verdict is verdict


def test_a_step_is_no_second_candidate() -> None:
    assert grade("We get \\boxed{3}.\nNow adding 5, we get \\boxed{8}.", "8").verdict is RIGHT
    assert grade("We get \\boxed{3}.\nNow adding 5, we get \\boxed{8}.", "3").verdict is WRONG


def test_a_later_paragraph_revises_an_earlier_one() -> None:
    assert grade("\\boxed{41}\n\nNo: \\boxed{42}", "42").verdict is RIGHT
    assert grade("\\boxed{42}\n\nNo: \\boxed{41}", "42").verdict is WRONG


def test_a_policy_refuses_what_is_no_choice() -> None:
    with pytest.raises(ValueError, match="hundredths"):
        GradingOptions(percent="hundredths")  # type: ignore[arg-type]
