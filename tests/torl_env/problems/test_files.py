"""Problem files: the real sets as they are, all formats alike, and one clear message each."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torl_env import EnvConfig, ToRLMathEnv
from torl_env.problems import ProblemError, load
from torl_env.problems.columns import Reading, answer_text, last_boxed
from torl_env.problems.files import open_file

SHARED = Path(__file__).parents[4] / "shared" / "data"
ROWS = [
    {"id": "a", "problem": "What is 1 + 1?", "answer": "2", "level": 3, "subject": "Sums"},
    {"id": "b", "problem": "What, then, is\n2 + 2?", "answer": "4", "level": 4, "subject": "Sums"},
]


def write(path, rows):
    match path.suffix:
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("aime24", 30, "204"),
        ("aime25", 30, "70"),
        ("amc23", 40, "27"),
        ("math500", 500, "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("olympiadbench", 675, "2"),
        ("minerva_math", 272, "1.6"),
        ("gsm8k_test", 1319, "18"),
        ("humanevalplus_mini", 164, None),
        ("mbppplus", 378, None),
    ],
)
def test_the_real_suites_open_as_they_are(name, rows, first):
    file = SHARED / "heldout" / f"{name}.jsonl"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    source = load(str(file))
    assert len(source) == rows
    assert first is None or source[0].answer == first
    assert len({problem.id for problem in source}) == rows
    assert all(problem.question and problem.answer for problem in source)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".csv"])
def test_all_formats_hold_the_same_problems(tmp_path, ending):
    source = load(str(write(tmp_path / f"set{ending}", ROWS)))
    assert [(p.id, p.question, p.answer, p.level, p.subject) for p in source] == [
        ("a", "What is 1 + 1?", "2", "3", "Sums"),
        ("b", "What, then, is\n2 + 2?", "4", "4", "Sums"),
    ]
    assert source[0].source == "set"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q?", "answer": "5"},
        {"Problem": "Q?", "Answer": 5},
        {"problem": "Q?", "answer": 5.0},
        {"problem": "Q?", "solution": "We get $\\boxed{5}$."},
        {"question": "Q?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"},
        {"question": "Q?", "final_answer": ["5"]},
        {
            "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q?"}],
            "reward_model": {"ground_truth": "5", "style": "rule"},
        },
        {"prompt": [{"from": "human", "value": "Q?"}], "ground_truth": "5"},
        {"prompt": "Q?", "reward_model": {"ground_truth": '["5"]'}},
    ],
)
def test_the_columns_of_public_sets_are_found(tmp_path, row):
    problem = load(str(write(tmp_path / "set.jsonl", [row])))[0]
    assert (problem.question, problem.answer) == ("Q?", "5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected at least one problem, but the file is empty"),
        ("\n\n", "file is empty"),
        (
            '{"problem": "Q?", "answer": "1"}\n{"problem": "Q',
            "line 2: expected JSON.*column",
        ),
        ('{"problem": "Q?", "answer": "1"}\n\n[1]', "line 3: expected a JSON object, got a list"),
        ('{"problem": "Q?"}', "line 1: expected a column with an answer, one of answer"),
        ('{"text": "Q?", "answer": "1"}', "a question, one of question, .*found text, answer"),
        ('{"problem": "Q?", "answer": "1"}\n{"problem": "Q?"}', "line 2: .*'answer', got no such"),
        ('{"problem": "Q?", "answer": "1"}\n{"problem": " ", "answer": "1"}', "line 2: .*got ' '"),
        (
            '{"problem": "Q?", "answer": ""}',
            "line 1: expected an answer in .*, got ''",
        ),
        ("[" * 100_000, "line 1: expected"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    file = tmp_path / "bad.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProblemError, match=message) as caught:
        load(str(file))
    assert len(str(caught.value)) < 700


def test_other_broken_files_are_named(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"problem": "caf\xe9", "answer": "1"}')
    (tmp_path / "half.jsonl").write_bytes(b'{"problem": "is \\ud800 one?", "answer": "1"}')
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "wide.csv").write_text("problem,answer\nWhat, now?,3\n", encoding="utf-8")
    (tmp_path / "tree.json").write_text('"text"', encoding="utf-8")
    (tmp_path / "set.txt").write_text("x", encoding="utf-8")
    for name, message in {
        "latin.jsonl": "expected UTF-8",
        "half.jsonl": "line 1: expected text in column 'problem', got half of a surrogate pair",
        "cut.parquet": "expected a Parquet file",
        "wide.csv": "line 2: expected 2 fields",
        "tree.json": "expected a JSON list of objects, got a string",
        "set.txt": "ends in .jsonl, .json, .parquet, .csv, got '.txt'",
        "absent.jsonl": "does not exist; .* holds",
    }.items():
        with pytest.raises(ProblemError, match=message):
            load(str(tmp_path / name))
    with pytest.raises(ProblemError, match="got a folder"):
        load(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({"answer": [2, 3]}, "2, 3"),
        ({"answer": "2", "hints": ["factor", "divide"]}, "2"),
        ({"answer": "2", "steps": [{"problem": "x-2=0", "answer": "2"}]}, "2"),
    ],
)
def test_an_object_with_a_question_and_an_answer_is_one_problem(more, answer, tmp_path):
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"question": "x^2-5x+6=0?", **more}), encoding="utf-8")
    (only,) = load(str(file))
    assert (only.question, only.answer) == ("x^2-5x+6=0?", answer)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_objects_on_lines_are_read_under_the_name_of_json_too(end, tmp_path):
    (tmp_path / "a.json").write_text(end.join(map(json.dumps, ROWS)) + end, newline="")
    written = write(tmp_path / "a.jsonl", ROWS)
    assert [*open_file(tmp_path / "a.json")] == [*open_file(written)]


def test_a_path_names_a_file_wherever_a_name_does(tmp_path):
    file = write(tmp_path / "a.csv", ROWS)
    env = ToRLMathEnv(problems=file)
    assert [*load(file)] == [*load(str(file))] == [*env.problems]
    assert EnvConfig.from_json(env.config.to_json()).problems == str(file)


def test_a_split_column_is_obeyed(tmp_path):
    rows = [ROWS[0] | {"split": "train"}, ROWS[1] | {"split": "test"}]
    file = write(tmp_path / "set.jsonl", rows)
    assert len(load(str(file))) == 2
    assert [p.id for p in load(str(file), split="test")] == ["b"]
    with pytest.raises(ProblemError, match="its splits are test, train"):
        load(str(file), split="dev")


@pytest.mark.parametrize("blank", [None, "", " "])
def test_a_row_that_leaves_its_split_blank_is_in_none(tmp_path, blank):
    rows = [{"problem": f"What is {i}?", "answer": str(i)} for i in range(4)]
    rows[0]["split"], rows[1]["split"], rows[2]["split"] = "train", "test", blank
    file = str(write(tmp_path / "set.jsonl", rows))
    assert [(p.answer, p.split) for p in load(file, split="train")] == [("0", "train")]
    assert [(p.answer, p.split) for p in load(file, split="test")] == [("1", "test")]
    assert [p.split for p in load(file)] == ["train", "test", "", ""]
    with pytest.raises(ProblemError, match="its splits are test, train"):
        load(file, split="dev")


def test_a_file_without_splits_is_one_of_any_name(tmp_path):
    rows = [{"problem": f"What is {i}?", "answer": str(i), "split": None} for i in range(2)]
    file = str(write(tmp_path / "set.jsonl", rows))
    assert [p.split for p in load(file, split="dev")] == ["dev", "dev"]


def test_ids_that_collide_become_content_hashes(tmp_path):
    rows = [{"id": "x", "problem": f"What is {i}?", "answer": "1"} for i in (1, 2, 2)]
    ids = [p.id for p in load(str(write(tmp_path / "set.jsonl", rows)))]
    assert len(set(ids)) == 3
    assert ids[2] == f"{ids[1]}-2"


def test_bad_rows_can_be_collected_instead(tmp_path):
    rows = [ROWS[0], {"problem": "Q?", "answer": None}]
    skipped = []
    source = open_file(write(tmp_path / "set.jsonl", rows), skipped=skipped)
    assert len(source) == 1
    assert len(skipped) == 1
    assert "line 2" in skipped[0]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\fbox{7}", "7"),
        ("\\boxed 5", "5"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{1} and \\boxed{2", "1"),
        ("\\boxed{1}, \\boxed{2 and \\fbox{3", "1"),
        ("\\boxed 57", "57"),
        ("\\boxed\\frac12", "\\frac12"),
        ("\\boxed{a\\\\}", "a\\\\"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed{\\boxed{1}+\\boxed{2}}", "\\boxed{1}+\\boxed{2}"),
        ("none", None),
    ],
)
def test_boxes(text, inside):
    assert last_boxed(text) == inside


@pytest.mark.parametrize(
    ("value", "reading", "answer"),
    [
        ("025", Reading.INTEGER, "25"),
        ("27.0", Reading.INTEGER, "27"),
        ("$\\boxed{073}$", Reading.INTEGER, "73"),
        (-3.0, Reading.INTEGER, "-3"),
        ("336^\\circ", Reading.INTEGER, "336^\\circ"),
        (["$2$"], Reading.FIRST, "2"),
        ("1,300\n#### 1,300", Reading.HASHES, "1300"),
        ("$1,234,567\n#### $1,234,567", Reading.HASHES, "$1234567"),
        ("a pair\n#### (1, 2)", Reading.HASHES, "(1, 2)"),
        ("1,2,3\n#### 1,2,3", Reading.PLAIN, "1,2,3"),
        (0, Reading.PLAIN, "0"),
        (float("nan"), Reading.PLAIN, ""),
        (None, Reading.PLAIN, ""),
    ],
)
def test_answers_are_read(value, reading, answer):
    assert answer_text(value, reading) == answer
