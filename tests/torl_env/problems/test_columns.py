"""Whatever a column holds: read rightly, or refused with file and line; never a Python object."""

import json
from pathlib import Path
from typing import Any

import pytest

from torl_env.errors import ProblemError
from torl_env.problems import load


def opened(folder: Path, *rows: dict[str, Any] | str) -> list[tuple[str, str]]:
    file = folder / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines), encoding="utf-8")
    return [(problem.question, problem.answer) for problem in load(str(file))]


def parquet(folder: Path, **columns: list[Any]) -> list[tuple[str, str]]:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "rows.parquet"
    pq.write_table(pa.table(columns), file)
    return [(problem.question, problem.answer) for problem in load(str(file))]


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ('["a" or "b"]', '["a" or "b"]'),
        ('["70"]', "70"),
        (["1", 2, 2.0], "1, 2, 2"),
        ("#### 9", "9"),
        ("so\n#### 1,300", "1300"),
        (27.0, "27"),
        ("short \\boxed{3}", "short \\boxed{3}"),
    ],
)
def test_answers_that_can_be_read(tmp_path: Path, answer: object, read: str) -> None:
    assert opened(tmp_path, {"question": "q", "answer": answer}) == [("q", read)]


def test_an_integer_of_5000_digits_keeps_them(tmp_path: Path) -> None:
    digits = "9" * 5000
    assert opened(tmp_path, f'{{"question": "q", "answer": {digits}}}') == [("q", digits)]


def test_bytes_are_text_or_refused(tmp_path: Path) -> None:
    assert parquet(tmp_path, question=[b"q"], answer=[b"5"]) == [("q", "5")]
    with pytest.raises(ProblemError, match=r"row 2: expected text in column 'answer', got bytes"):
        parquet(tmp_path, question=["q", "r"], answer=[b"5", b"\xff\xfe"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "answer": {"value": 5}}, "column 'answer', got an object"),
        ({"question": "q", "answer": [{"value": 5}]}, "column 'answer', got an object"),
        ({"question": {"text": "q"}, "answer": "5"}, "column 'question', got an object"),
        ({"question": ["q"], "answer": "5"}, "got a list that holds more than messages"),
        ({"question": "q", "answer": None}, "expected an answer in column 'answer', got null"),
        ({"question": "q", "solution": "prose " * 700}, "4199 characters of solution without a"),
        (
            {
                "prompt": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}],
                "answer": "5",
            },
            "parts that are no text",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        opened(tmp_path, row)
    assert said in str(refused.value)
    assert "line 1" in str(refused.value)


def test_content_parts_are_text(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "1+1?"}]
    row = {"prompt": [{"role": "user", "content": parts}], "answer": "2"}
    assert opened(tmp_path, row) == [("What is\n1+1?", "2")]


def test_a_missing_first_answer_does_not_choose_the_column(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "answer": None, "solution": "so \\boxed{4}"},
        {"question": "r", "answer": "7", "solution": "no box"},
    ]
    assert opened(tmp_path, *rows) == [("q", "4"), ("r", "7")]


def test_labels_never_show_an_object(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = {"question": "q", "answer": "5", "id": {"a": 1}, "level": {"b": 2}, "subject": ["c"]}
    file.write_text(json.dumps(row), encoding="utf-8")
    problem = load(str(file))[0]
    assert (problem.level, problem.subject) == ("", "")
    assert "{" not in problem.id


def test_home_and_marks_of_byte_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in (
        ("a.jsonl", '{"question": "q", "answer": "5"}'),
        ("a.json", '[{"question": "q", "answer": "5"}]'),
        ("a.csv", "question,answer\nq,5\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert [p.answer for p in load(f"~/{name}")] == ["5"]
    (tmp_path / "b.jsonl").write_text('{"question": "q", "answer": "5"}', encoding="utf-16")
    with pytest.raises(ProblemError, match=r"expected UTF-8 text"):
        load("~/b.jsonl")


def test_a_set_of_the_hub_is_told_its_prefix() -> None:
    with pytest.raises(ProblemError, match="write hub:openai/gsm8k"):
        load("openai/gsm8k")
    with pytest.raises(ProblemError, match=r"it does not exist"):
        load("data/none.jsonl")


def test_an_empty_column_does_not_hide_the_other_of_its_kind(tmp_path):
    """Tables that were put together from several have all columns in every row."""
    row = {"id": None, "unique_id": "u7", "level": None, "difficulty": 4.0}
    row |= {"subject": "", "type": None, "topic": "Sums", "question": "q", "answer": "1"}
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    (problem,) = load(str(file))
    assert (problem.id, problem.level, problem.subject) == ("u7", "4", "Sums")
