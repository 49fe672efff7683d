"""Which problems are left out of a training set, and when two questions are one."""

import pytest

from torl_env.problems import Problem
from torl_env.problems.curation import Fault, counts, faults, unverifiable
from torl_env.problems.normalise import question_key


def problem(answer, question="Find x.", key="p"):
    return Problem(key, question, answer)


@pytest.mark.parametrize(
    ("answer", "question", "fault"),
    [
        ("B", "Which?", Fault.CHOICE),
        ("(C)", "Which?", Fault.CHOICE),
        ("\\text{(D)}", "Which?", Fault.CHOICE),
        ("\\textbf{(E)}", "Which?", Fault.CHOICE),
        ("Yes", "Is it?", Fault.YES_NO),
        ("\\text{No}", "Is it?", Fault.YES_NO),
        ("$\\text { No }$", "Is it?", Fault.YES_NO),
        ("False.", "Is it?", Fault.YES_NO),
        ("proof", "Prove it.", Fault.PROOF),
        ("1", "Prove that $1 + 1 = 2$.", Fault.PROOF),
        ("\\text{Softball, Kickball, Picnic}", "In which order?", Fault.PROSE),
        ("1" + "+1" * 70, "Expand.", Fault.LONG),
        ("", "Find x.", Fault.UNGRADABLE),
        ("\\heartsuit 5", "Which card?", Fault.UNGRADABLE),
        ("x \\perp y", "How do they meet?", Fault.UNGRADABLE),
    ],
)
def test_what_no_answer_verifies(answer, question, fault):
    assert unverifiable(problem(answer, question)).fault is fault


@pytest.mark.parametrize(
    "answer",
    [
        "5",
        "-3/4",
        "\\frac{1}{2}",
        "x^2 + 1",
        "(1, 2)",
        "12 \\text{ cm}",
        "\\sin x",
        "2\\pi",
        "A + 1",
    ],
)
def test_what_is_verifiable(answer):
    assert unverifiable(problem(answer)) is None


def test_what_only_its_own_spelling_matches_is_said_to_be_so():
    finding = unverifiable(problem("x \\perp y"))
    assert finding.detail == "only the same spelling matches: x \\perp y"


def test_a_question_with_a_proof_and_a_value_is_kept():
    assert unverifiable(problem("5", "Show that f is even. What is f(1)?")) is None


def test_copies_that_agree_leave_one_and_copies_that_disagree_none():
    rows = [
        problem("1/2", "Find $x$.", "a"),
        problem("0.5", "find  x.", "b"),
        problem("3", "Find y.", "c"),
        problem("3", "Find $y$.", "d"),
        problem("4", "Find y", "e"),
        problem("7", "Find z.", "f"),
    ]
    found = {finding.problem.id: finding.fault for finding in faults(rows)}
    assert found == {
        "b": Fault.DUPLICATE,
        "c": Fault.CONFLICT,
        "d": Fault.CONFLICT,
        "e": Fault.CONFLICT,
    }
    assert counts(faults(rows)) == {Fault.DUPLICATE: 1, Fault.CONFLICT: 3}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find $x^{2} + 1$.", "find \\(x^2+1\\)"),
        ("\\dfrac{1}{2}", "\\frac12"),
        ("x² + 1", "x^2+1"),
        ("What is $1{,}000$?", "What is 1,000?"),
        ("a \\left( b \\right)", "a (b)"),
        ("x − 1", "x - 1"),
        ("“2⋅x” …", "'2 x'"),
        ("x_{12}", "x_12"),
    ],
)
def test_spelling_does_not_make_a_question(one, other):
    assert question_key(one) == question_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("z^4+z^2+1", "z^4-z^2+1"),
        ("(1, 23)", "(12, 3)"),
        ("(1 + 2) * 3", "1 + (2 * 3)"),
        ("2^3 + 4", "23 + 4"),
        ("a < b", "a > b"),
        ("日本", "中国"),
        ("小明有3个苹果,又买了5个。", "小红跑了3圈,每圈5米。"),
        ("Найдите x, если y = 3", "Найдите z, если y = 3"),
        ("Solve x ≤ 3", "Solve x ≥ 3"),
        ("Compute √2 + 3", "Compute 2 + 3"),
        ("α = 30, find β", "β = 30, find α"),
        ("a_1_2", "a_12"),
        ("avoid AA, BAB", "avoid AAB, AB"),
    ],
)
def test_different_questions_stay_apart(one, other):
    assert question_key(one) != question_key(other)
