"""What anything that grades must keep: ours, ours in a batch, and a user's own by its name."""

from collections.abc import Callable

import pytest

from benchmarks.performance.grading_rows import Row, RowError, judge, load_grader, ours
from rewards import Grade, Verdict, grade_batch

Grader = Callable[[str, str], Grade]


def batched(reference: str, answer: str) -> Grade:
    return grade_batch([(f"\\boxed{{{answer}}}", reference)])[0]


GRADERS: dict[str, Grader] = {"single": ours, "batch": batched}


@pytest.fixture(params=GRADERS, ids=str)
def grader(request: pytest.FixtureRequest) -> Grader:
    return GRADERS[request.param]


@pytest.mark.parametrize("text", ["5", r"\frac{1}{2}", "(1, 2)", "x = 3", r"\text{even}"])
def test_an_answer_is_right_against_itself(grader: Grader, text: str) -> None:
    assert grader(text, text).verdict is Verdict.CORRECT


@pytest.mark.parametrize(("reference", "answer"), [("5", "6"), ("1/2", "1/3"), ("x", "y")])
def test_another_answer_is_wrong(grader: Grader, reference: str, answer: str) -> None:
    assert grader(reference, answer).verdict is Verdict.WRONG


def test_an_empty_answer_is_no_answer(grader: Grader) -> None:
    assert grader("5", " ").verdict is Verdict.NO_ANSWER


@pytest.mark.parametrize("reference", ["", "  ", "{" * 100, "5\x00"])
def test_an_unreadable_reference_is_nobodys_fault(grader: Grader, reference: str) -> None:
    assert grader(reference, "5").verdict is Verdict.UNGRADABLE


@pytest.mark.parametrize("answer", ["\\", "}", "{", "\ud800", "\x00", "%", "((", "^", "x" * 9999])
def test_no_text_raises(grader: Grader, answer: str) -> None:
    assert grader("5", answer).verdict is not Verdict.CORRECT


def test_every_verdict_has_a_reason(grader: Grader) -> None:
    for answer in ("5", "5.0", "6", "x", "", "(" * 99):
        assert grader("5", answer).rule


def test_verdicts_repeat(grader: Grader) -> None:
    first = [grader(r"\sin x", answer) for answer in ("x", r"\sin{x}", "1")]
    assert [grader(r"\sin x", answer) for answer in ("x", r"\sin{x}", "1")] == first


def test_a_users_grader_plugs_in_by_name() -> None:
    by_text = load_grader("operator:eq")
    rows = [Row("5", "5", True), Row("5", "5.0", True), Row("5", "6", False)]
    _, summary = judge(rows, by_text)
    assert (summary.n, summary.false_negatives, summary.false_positives) == (3, 1, 0)


@pytest.mark.parametrize(
    "name", ["nowhere:grade", "rewards:nothing", "rewards", ":", "rewards:__all__"]
)
def test_a_grader_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(RowError, match=r"grader|function"):
        load_grader(name)
