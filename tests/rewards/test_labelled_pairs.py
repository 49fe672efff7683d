"""Accuracy on labelled pairs that others wrote, and on the real answers of the suites."""

import json
from pathlib import Path

import pytest

from benchmarks.performance.grading_inputs import truncations
from benchmarks.performance.grading_rows import GAMING, judge, read_rows
from rewards import GradingOptions, Reference, Verdict, grade, grade_answer

SUITES = ("math500", "olympiadbench", "minerva_math", "aime24", "aime25", "amc23", "gsm8k_test")
KINDS = Path(__file__).parent / "data" / "kinds.jsonl"
OURS_ALONE = GradingOptions(sympy_fallback=False)
PAIRS = KINDS.with_name("pairs.jsonl")


def answers(data: Path, suite: str) -> list[str]:
    with (data / "heldout" / f"{suite}.jsonl").open(encoding="utf-8") as lines:
        return [str(json.loads(line)["answer"]) for line in lines]


def test_every_kind_of_answer() -> None:
    """Equal and unequal pairs of every kind, written before the rules they were first tried on."""
    judged, summary = judge(read_rows(KINDS))
    assert summary.n > 2000
    assert [(o.row.reference, o.row.prediction, o.grade.rule) for o in judged if not o.right] == []


def test_accuracy_on_the_kinds_of_others(shared_data: Path) -> None:
    path = shared_data / "grading" / "kinds.jsonl"
    policies = [json.loads(line)["policy"] for line in path.read_text("utf-8").splitlines()]
    rows = [row for row, policy in zip(read_rows(path), policies, strict=True) if not policy]
    _, summary = judge(rows)
    assert summary.accuracy >= 0.97
    assert summary.false_positives <= 3


def test_what_was_reported_in_public_is_mended(shared_data: Path) -> None:
    path = shared_data.parent / "cases" / "reports.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    pairs = [row for row in rows if row["area"] == "grader"]
    missed = []
    for row in pairs:
        reference, answer = str(row["input"]["reference"]), str(row["input"]["answer"])
        whole = "boxed" in answer
        found = grade(answer, reference) if whole else grade_answer(answer, reference)
        if (found.verdict is Verdict.CORRECT) != row["expected"].startswith("correct"):
            missed.append((reference, answer, found.rule))
    assert len(pairs) == 162
    assert missed == []


def test_accuracy_on_the_clean_pairs(shared_data: Path) -> None:
    rows = [row for row in read_rows(shared_data / "grading" / "dev.jsonl") if not row.doubtful]
    judged, summary = judge(rows)
    missed = [(one.row.reference, one.row.prediction) for one in judged if not one.right]
    assert summary.n == 664
    assert summary.accuracy >= 0.984, missed
    assert summary.false_positives <= 1, missed


@pytest.mark.parametrize("suite", SUITES)
def test_every_reference_answers_itself(shared_data: Path, suite: str) -> None:
    for answer in answers(shared_data, suite):
        Reference.compile(answer)
        spellings = (
            answer,
            f"  {answer} ",
            f"${answer}$",
            f"\\({answer}\\)",
            f"\\boxed{{{answer}}}",
            answer.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", ""),
        )
        for spelling in spellings:
            grade = grade_answer(spelling, answer, OURS_ALONE)
            assert grade.verdict is Verdict.CORRECT, (answer, spelling, grade)


EQUAL_NEIGHBOURS = {("5", "x=5")}


@pytest.mark.parametrize("suite", SUITES)
def test_no_reference_takes_its_neighbours_answer(shared_data: Path, suite: str) -> None:
    every = answers(shared_data, suite)
    for reference, other in zip(every, every[1:] + every[:1], strict=True):
        same = reference == other or (reference, other) in EQUAL_NEIGHBOURS
        verdict = grade_answer(other, reference, OURS_ALONE).verdict
        assert (verdict is Verdict.CORRECT) == same, (reference, other)


def test_the_leading_number_is_not_the_answer(shared_data: Path) -> None:
    with (shared_data / "train" / "math_12k_train.jsonl").open(encoding="utf-8") as lines:
        known = [str(json.loads(line)["answer"]) for line in lines]
    for suite in SUITES:
        known += answers(shared_data, suite)
    pairs = truncations(known)
    assert len(pairs) > 490
    paid = [pair for pair in pairs if grade_answer(pair[1], pair[0]).verdict is Verdict.CORRECT]
    assert paid == []


def test_gaming_does_not_pay() -> None:
    judged, summary = judge(GAMING)
    assert summary.n == 62
    assert [(one.row.prediction, one.grade) for one in judged if not one.right] == []


def test_one_pair_a_rule() -> None:
    """What is the same and what is not, most of them both ways round."""
    missed = []
    for line in PAIRS.read_text("utf-8").splitlines():
        pair = json.loads(line)
        wanted = Verdict.CORRECT if pair["equal"] else Verdict.WRONG
        one, other = pair["prediction"], pair["reference"]
        ways = [(one, other), (other, one)] if pair["kind"] == "both ways" else [(one, other)]
        for answer, reference in ways:
            grade = grade_answer(answer, reference, OURS_ALONE)
            if grade.verdict is not wanted:
                missed.append((reference, answer, grade))
    assert missed == []
