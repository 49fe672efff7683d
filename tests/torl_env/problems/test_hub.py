"""Hub sets, from copies in the hub's layout that the tests write, and without a network."""

import json
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from torl_env.problems import ProblemError, load
from torl_env.problems.columns import Reading
from torl_env.problems.hub import MIRROR
from torl_env.problems.hub_table import HUB, Role

SHARED = Path(__file__).parents[4] / "shared" / "data"


def layout(root, path, split, rows, config=None):
    """A set as the hub stores it: Parquet files and a card that names them."""
    folder = root / path
    name = f"{config or 'data'}/{split}-00000-of-00001.parquet"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {config or 'default'}\n  data_files:\n"
        f"  - split: {split}\n    path: {name}\n---\n",
        encoding="utf-8",
    )


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "mirror"


def nested(path, value):
    """An object that has a value at a dotted path."""
    step, _, rest = path.partition(".")
    inner = nested(rest, value) if rest else value
    if not step.isdigit():
        return {step: inner}
    return [{"content": "system", "role": "system"}] * int(step) + [inner | {"role": "user"}]


RAW = {
    Reading.PLAIN: "25",
    Reading.BOXED: "It follows that $n = \\boxed{25}$.",
    Reading.HASHES: "5 * 5 = <<5*5=25>>25\n#### 25",
    Reading.INTEGER: "025",
    Reading.FIRST: ["$25$"],
}


@pytest.mark.parametrize("name", HUB)
def test_every_set_of_the_table_opens_from_its_layout(mirror, name):
    entry = HUB[name]
    row = nested(entry.columns.question, "What is 5 * 5?") | nested(
        entry.columns.answers[0], RAW[entry.columns.reading]
    )
    row |= {"problem_is_valid": "Yes", "solution_is_valid": "Yes", "question_type": "word"}
    layout(mirror, entry.path, entry.split, [row], entry.config)
    problem = load(name)[0]
    assert (problem.question, problem.answer) == ("What is 5 * 5?", "25")
    assert (problem.source, problem.split) == (name, entry.split)
    assert len(problem.id) == 16


@pytest.mark.parametrize(
    ("name", "file", "columns"),
    [
        ("aime24", "aime24", {"problem": "problem", "solution": "\\boxed{{{answer:0>3}}}"}),
        ("aime25", "aime25", {"problem": "problem", "answer": "{answer}"}),
        ("amc23", "amc23", {"question": "problem", "answer": "{answer}.0"}),
        ("math500", "math500", {"problem": "problem", "answer": "{answer}"}),
        ("olympiadbench", "olympiadbench", {"question": "problem", "final_answer": ["{answer}"]}),
        ("minerva", "minerva_math", {"question": "problem", "answer": "{answer}"}),
        ("gsm8k", "gsm8k_test", {"question": "problem", "answer": "so\n#### {answer}"}),
    ],
)
def test_the_real_suites_read_back_from_the_hub_layout(mirror, name, file, columns):
    path = SHARED / "heldout" / f"{file}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    question, (key, form) = next(iter(columns)), list(columns.items())[1]

    def answer(row):
        filled = (form[0] if isinstance(form, list) else form).format(answer=row["answer"])
        return [filled] if isinstance(form, list) else filled

    table = [{question: row["problem"], key: answer(row)} for row in rows]
    entry = HUB[name]
    layout(mirror, entry.path, entry.split, table, entry.config)
    from_hub, from_file = load(name), load(str(path))
    assert len(from_hub) == len(from_file) == (675 if name == "olympiadbench" else entry.rows)
    differing = [
        (a.answer, b.answer)
        for a, b in zip(from_hub, from_file, strict=True)
        if a.answer != b.answer.strip("$ ") or a.question != b.question
    ]
    assert not differing


def test_any_set_opens_by_path_with_config_and_split(mirror):
    rows = [{"question": "What is 1 + 1?", "answer": 2}]
    layout(mirror, "some/set", "validation", rows, "small")
    for name in ("hub:some/set:small:validation",):
        assert load(name)[0].answer == "2"
    assert load("hub:some/set:small", split="validation")[0].split == "validation"
    with pytest.raises(ProblemError, match=r"expected the hub set some/set .*split"):
        load("hub:some/set:small:train")
    with pytest.raises(ProblemError, match="config large"):
        load("hub:some/set:large:validation")


def test_rows_without_an_answer_and_unproved_rows_are_left_out(mirror):
    good = {
        "problem": "What is 1 + 1?",
        "answer": "2",
        "problem_is_valid": "Yes",
        "solution_is_valid": "Yes",
        "question_type": "word",
    }
    rows = [good, good | {"answer": "proof"}, good | {"problem_is_valid": "No"}]
    layout(mirror, HUB["numina15"].path, "train", rows)
    assert len(load("numina15")) == 1
    rows = [{"problem": "What is 1 + 1?", "answer": "2"}, {"problem": "Q?", "answer": ""}]
    layout(mirror, HUB["deepscaler"].path, "train", rows)
    left_out = r"1 of 2 rows of .*deepscaler.* row 2: expected an answer in column 'answer'"
    with pytest.warns(UserWarning, match=left_out):
        assert len(load("deepscaler")) == 1


def test_a_set_without_problems_says_what_it_has(mirror):
    layout(mirror, "some/texts", "train", [{"text": "no problem here"}])
    with pytest.raises(ProblemError, match=r"row 1: expected a column with a question.*found text"):
        load("hub:some/texts")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maths500", "Did you mean math500"),
        ("hub:math500", "Did you mean math500"),
        ("hub:a/b/c", "hub:org/name"),
        ("hub:a@b", "hub:org/name"),
        ("gcd", "Did you mean procedural:gcd"),
    ],
)
def test_unknown_names_suggest_near_ones(name, message):
    with pytest.raises(ProblemError, match=message):
        load(name)


def test_without_a_network_there_is_one_message_and_one_question(monkeypatch, tmp_path):
    """`datasets` would ask again and again, for tens of seconds."""
    asked = []

    class HangsUp(socketserver.BaseRequestHandler):
        def handle(self):
            asked.append(self.client_address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.delenv(MIRROR, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", endpoint)
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
        with pytest.raises(ProblemError, match="no network and no cached copy"):
            load("hub:nobody/nothing-at-all")
        server.shutdown()
    assert len(asked) == 1


def test_opening_the_table_imports_nothing_heavy():
    code = (
        "import sys; from torl_env.problems import load; load('procedural')[0];"
        "heavy = ('datasets', 'pyarrow', 'sympy', 'mpmath', 'torch');"
        "print([module for module in heavy if module in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_table_names_what_is_held_out():
    held_out = {name for name, entry in HUB.items() if entry.role is Role.HELDOUT}
    assert {"aime24", "aime25", "amc23", "math500", "olympiadbench", "minerva", "gsm8k"} <= held_out
    assert {"limr", "torl", "deepscaler", "gsm8k_train"}.isdisjoint(held_out)
    expected = {"aime24": 30, "aime25": 30, "amc23": 40, "math500": 500, "minerva": 272}
    assert {name: HUB[name].rows for name in expected} == expected
