"""`torl grade`: explain a verdict, measure a grader."""

import json
from pathlib import Path

import pytest

import rewards
from benchmarks.performance.grading_rows import RowError
from torl.commands.grade import GradeOptions, main, rule_files
from torl.console import CommandError

ROWS = [
    {"reference": "1/2", "prediction": "0.5", "equal": True},
    {"reference": "1/2", "prediction": "0.6", "equal": False},
    {"reference": "A cat", "prediction": "a dog", "equal": True},
    {"reference": "5", "prediction": "5.0", "equal": False, "doubtful": "options"},
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_a_verdict_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GradeOptions(pair=(r"\frac12", "41 = 42"))) == 0
    said = capsys.readouterr().out
    assert "wrong" in said
    assert "inconsistent_chain" in said
    assert "it calls numbers equal that differ" in said


def test_a_response_is_read_by_its_box(capsys: pytest.CaptureFixture[str]) -> None:
    main(GradeOptions(pair=("5", r"so \boxed{5}"), json=True))
    said = json.loads(capsys.readouterr().out)
    assert (said["verdict"], said["answer"]) == ("correct", "5")


def test_a_file_is_measured(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = pairs.with_name("verdicts") / "out.jsonl"
    assert main(GradeOptions(file=pairs, out=out, json=True)) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {
        "n",
        "accuracy",
        "false_positives",
        "false_negatives",
        "ungradable",
        "seconds",
        "checks_per_second",
    }
    assert (said["n"], said["accuracy"]) == (4, 0.5)
    assert (said["false_positives"], said["false_negatives"], said["ungradable"]) == (1, 1, 0)
    verdicts = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["verdict"] for row in verdicts] == ["correct", "wrong", "wrong", "correct"]


def test_doubtful_rows_can_be_left_out(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(GradeOptions(file=pairs, clean=True, json=True))
    assert json.loads(capsys.readouterr().out)["n"] == 3


def test_misses_are_listed(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(GradeOptions(file=pairs))
    said = capsys.readouterr().out
    assert "2 of 2 misses" in said
    assert "a dog" in said


def test_a_users_grader_is_measured(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(GradeOptions(file=pairs, grader="operator:eq", json=True))
    assert json.loads(capsys.readouterr().out)["false_negatives"] == 2


def test_a_line_that_is_no_pair_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"reference": "1"}\n', encoding="utf-8")
    with pytest.raises(RowError, match=r"pairs\.jsonl:1: expected"):
        main(GradeOptions(file=path))


@pytest.mark.parametrize("pair", [(), ("5",), ("5", "6", "7")])
def test_two_answers_or_a_file_are_asked_for(pair: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="--file"):
        main(GradeOptions(pair=pair))


RULES = [
    ("1/2", "0.5", "numbers/identity.py"),
    (r"2 \pmod 7", r"2 \pmod 5", "answers/residues.py"),
    (r"3:45\text{ p.m.}", "15:45", "answers/times.py"),
    (r"\{1,2\}", r"\{1,3\}", "answers/collections.py"),
    ("x>3", "2x>6", "numbers/sampling.py"),
    ("y=2x", "2x-y=0", "answers/relations.py"),
    (r"5\text{ km}", r"5\text{ kg}", "comparer.py"),
    ("B", "(A)", "answers/choices.py"),
    (r"\text{Yes}", "no", "answers/words.py"),
    ("x^2+C", "x^2+K", "answers/families.py"),
    ("|x|", r"\begin{cases}x&x\ge0\\-x&x<0\end{cases}", "answers/piecewise.py"),
    (r"A\cap B", r"B\cap A", "answers/intervals.py"),
    ("1011_2", "1010_2", "numbers/scalars.py"),
    ("2", r"\frac{1}{0}", "numbers/exact.py"),
    ("5", r"\frac12 +", "comparer.py"),
]


@pytest.mark.parametrize(("reference", "answer", "file"), RULES)
def test_the_file_of_a_rule_is_named(reference: str, answer: str, file: str) -> None:
    assert file in rule_files(rewards.grade_answer(answer, reference).rule)
