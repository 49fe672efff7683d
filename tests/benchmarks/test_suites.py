"""Suites: counts, quirks and refusals, on the real files where they are at hand."""

import json
from pathlib import Path

import pytest

from benchmarks.heldout.suites import SUITES, SuiteError, names, open_suite

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "heldout"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no benchmark files at {DATA}")


@needs_data
@pytest.mark.parametrize("name", [name for name in SUITES if name != "procedural"])
def test_real_copies_have_the_published_counts(name):
    opened = open_suite(name, DATA)
    assert len(opened.problems) == SUITES[name].count
    assert opened.warnings == ()
    assert len({problem.id for problem in opened.problems}) == len(opened.problems)


def test_published_counts():
    # research of the public copies: AIME 30 each, AMC23 40, MATH-500, 675, 272, 1,319
    counts = [SUITES[name].count for name in SUITES if name != "procedural"]
    assert counts == [30, 30, 40, 500, 675, 272, 1319]


def test_the_procedural_suite_is_held_out():
    opened = open_suite("procedural")
    assert len(opened.problems) == 1000
    assert all("-heldout-" in problem.id for problem in opened.problems)


def write(path, answers):
    rows = [{"problem": f"Question {i}?", "answer": answer} for i, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_leading_zeros_are_accepted(tmp_path):
    write(tmp_path / "aime24.jsonl", ["025", "73", *["204"] * 28])
    assert len(open_suite("aime24", tmp_path).problems) == 30


@pytest.mark.parametrize(
    ("name", "answers", "message"),
    [
        ("aime24", ["1"] * 29, "29 problems, aime24 has 30"),
        ("aime24", ["1"] * 960, "960 problems"),
        ("aime24", [*["1"] * 29, "x + 1"], "'x \\+ 1' of"),
        ("aime25", [*["1"] * 29, "1234"], "'1234'"),
        ("gsm8k", [*["5"] * 1318, "1,000"], "'1,000'"),
    ],
)
def test_copies_that_are_not_the_benchmark(tmp_path, name, answers, message):
    write(tmp_path / f"{name}.jsonl", answers)
    with pytest.raises(SuiteError, match=message):
        open_suite(name, tmp_path)


def test_the_hub_edition_of_olympiadbench_is_told_apart(tmp_path):
    write(tmp_path / "olympiadbench.jsonl", ["1"] * 674)
    opened = open_suite("olympiadbench", tmp_path)
    assert "674 problems, not 675" in opened.warnings[0]


def test_other_file_names_and_the_environment_variable(tmp_path, monkeypatch):
    write(tmp_path / "minerva_math.jsonl", ["1"] * 272)
    monkeypatch.setenv("TORL_DATA", str(tmp_path))
    assert len(open_suite("minerva").problems) == 272
    monkeypatch.setenv("TORL_DATA", str(tmp_path / "nothing"))
    with pytest.raises(SuiteError, match="expected a folder"):
        open_suite("minerva")


def test_names():
    assert names(" aime24 , gsm8k ") == ("aime24", "gsm8k")
    assert names("all") == tuple(SUITES)
    for wrong, message in [("aime99", "unknown suite"), ("", "got ''"), ("gsm8k,gsm8k", "once")]:
        with pytest.raises(SuiteError, match=message):
            names(wrong)
