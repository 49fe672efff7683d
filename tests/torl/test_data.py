"""`torl data`: its four commands on files, and what they say when they cannot go on."""

import hashlib
import json
from pathlib import Path

import pytest
import tyro

from torl.commands import data
from torl.console import guarded
from torl_env.problems.hub import MIRROR

SAMPLE = Path(__file__).parent / "hub_sample"
"""Rows of MATH, DeepScaleR and NuminaMath-CoT in the hub's layout, and copies among MATH-500."""


def run(*words):
    options = tyro.cli(data.DataOptions, prog="torl data", args=list(map(str, words)))
    return guarded(data.main, options)


LONG = "How many of the whole numbers from one to a hundred are neither even nor a multiple of "
SUITE = [{"id": "t0", "problem": f"{LONG}seven?", "answer": "43"}]
ROWS = [
    {"id": "sum", "problem": "What is 1 + 1?", "answer": "2"},
    {"id": "sum-again", "problem": "what is $1 + 1$", "answer": "2.0"},
    {"id": "half", "problem": "What is a half?", "answer": "1/2"},
    {"id": "one-way", "problem": "What is 3 - 1?", "answer": "2"},
    {"id": "other-way", "problem": "What is 3 - 1?", "answer": "4"},
    {"id": "choice", "problem": "Which one?", "answer": "B"},
    {"id": "leak", "problem": f"{LONG}$seven$", "answer": "43"},
    {"id": "none", "problem": "What now?", "answer": ""},
]


@pytest.fixture
def files(tmp_path):
    for name, rows in {"train": ROWS, "suite": SUITE}.items():
        lines = "\n".join(json.dumps(row) for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def test_list_names_everything_that_load_opens(capsys):
    assert run("list") == 0
    text = capsys.readouterr().out
    for name in ("procedural:easy", "procedural:necklaces", "math500", "limr", "reasoning_gym:gcd"):
        assert f"| {name} |" in text
    assert run("list", "--match", "GSM8K") == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4


def test_show_prints_problems_by_count_seed_and_id(capsys, files):
    assert run("show", "procedural:gcd:L1", "--count", 2) == 0
    text = capsys.readouterr().out
    assert text.startswith("procedural:gcd:L1: 1000000 problems")
    assert text.count("=> ") == 2
    assert run("show", "procedural:gcd", "--id", "gcd-L3-train-5") == 0
    assert "[gcd-L3-train-5] split train, level 3, subject gcd" in capsys.readouterr().out
    assert run("show", files / "suite.jsonl", "--shuffle", 1) == 0
    assert "=> 43" in capsys.readouterr().out


def test_check_reports_every_kind_of_fault(capsys, files):
    assert run("check", files / "train.jsonl", "--suites", files / "suite.jsonl") == 1
    text = capsys.readouterr().out
    for row in (
        "| no question or answer | 1 |",
        "| choice | 1 |",
        "| duplicate | 1 |",
        "| conflict | 2 |",
        "| suite | 1 | 1 | 1 | 1 |",
        "exact: leak is t0 of suite",
        "line 8",
    ):
        assert row in text, text


def test_check_of_a_clean_source_ends_well(capsys, files):
    code = run("check", "procedural:gcd", "--limit", 50, "--suites", files / "suite.jsonl")
    output = capsys.readouterr()
    assert code == 0
    assert "| none | 0 |" in output.out
    assert "the first 50 are read" in output.err


def test_build_keeps_what_is_clean_and_says_why_the_rest_is_not(files):
    out = files / "made" / "clean.jsonl"
    build = ["build", files / "train.jsonl", "--suites", files / "suite.jsonl", "--out"]
    assert run(*build, out) == 0
    kept = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in kept] == ["sum", "half"]
    card = json.loads(out.with_suffix(".card.json").read_text(encoding="utf-8"))
    assert (card["sources"][0]["rows"], card["problems"]) == (8, 2)
    assert sum(one["left_out"]["train"] for one in card["filters"]) == 6
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert run("show", out) == 0
    again = files / "again.jsonl"
    assert run(*build, again) == 0
    assert again.read_bytes() == out.read_bytes()


def test_a_build_leaves_its_source_as_it_is(capsys, files):
    source = files / "train.jsonl"
    before = source.read_bytes()
    assert run("build", source, "--no-decontaminate", "--out", source) == 1
    assert "is a source" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_the_sources_of_torl_are_built_with_a_card(capsys, tmp_path, monkeypatch):
    """On real rows; the second build chooses by LIMR from what the first one wrote."""
    monkeypatch.setenv(MIRROR, str(SAMPLE))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    suite = SAMPLE / "math500.jsonl"
    out, chosen = tmp_path / "pool.jsonl", tmp_path / "chosen.jsonl"
    words = ["--suites", suite, "--published", suite, "--out", out]
    assert run("build", "recipe:torl", *words) == 0
    page = out.with_suffix(".card.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    for row in (
        "| rows read | 22 | 49 | 25 | 96 |",
        "| - conflict | 1 | 17 | 6 | 24 |",
        "| - copy of a held-out problem | 2 | 2 | 0 | 4 |",
        "| kept | 13 | 13 | 10 | 36 |",
        "| verifiable | 75,149 | 40 |",
        "| left out here: copy of a held-out problem | 2 |",
        "| math500 | 4 | 2 | 4 | 4 |",
    ):
        assert row in page, row
        assert row in printed, row
    kept = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {row["id"].partition("/")[0] for row in kept} == {
        "math_train",
        "deepscaler",
        "numina_cot",
    }
    log = tmp_path / "rates.jsonl"
    row = {"epoch": 0, "samples": 8}
    log.write_text(
        "\n".join(
            json.dumps({**row, "problem_id": one["id"], "solved": 8 * (place % 3 == 0)})
            for place, one in enumerate(kept[1:])
        )
    )
    assert run("build", out, "--suites", suite, "--solve-rates", log, "--out", chosen) == 0
    card = json.loads(chosen.with_suffix(".card.json").read_text(encoding="utf-8"))
    left_out = {one["reason"]: one["left_out"]["pool"] for one in card["filters"]}
    assert left_out["not in the solve-rate log"] == 1
    assert left_out["LIMR score below 0.6"] == 12
    assert card["made_from"]["sources"][1]["licence"] == "MIT"


def test_build_selects_by_limr(files):
    log = files / "rates.jsonl"
    rates = {"sum": (1, 7), "half": (0, 0)}
    log.write_text(
        "\n".join(
            json.dumps({"epoch": epoch, "problem_id": key, "solved": solved, "samples": 8})
            for key, curve in rates.items()
            for epoch, solved in enumerate(curve)
        ),
        encoding="utf-8",
    )
    out = files / "limr.jsonl"
    words = ["--no-decontaminate", "--solve-rates", log, "--out", out]
    assert run("build", files / "train.jsonl", *words, "--threshold", 0.8) == 0
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["sum", "half"]
    assert run("build", files / "train.jsonl", *words, "--threshold", 0.95) == 1
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "nope.jsonl"), "does not exist"),
        (("check", "procedural:gcd", "--limit", "0"), "--limit: expected 1 or more"),
        (("show", "procedural:gcd", "--count", "0"), "--count: expected 1 or more"),
        (("build", "procedural:gcd", "--out", "x.txt"), "ends in .jsonl"),
        (
            ("build", "recipe:torl", "procedural:gcd", "--out", "x.jsonl"),
            "expected one of recipe:torl alone",
        ),
        (("build", "--out", "x.jsonl"), "expected a source: torl data build SOURCE"),
        (("build", "recipe:thor", "--out", "x.jsonl"), "expected one of recipe:torl alone"),
        (
            ("build", "procedural:gcd", "--limit", "9", "--out", "x.jsonl", "--suites", "no.jsonl"),
            "there is no no.jsonl (no.jsonl: expected a file",
        ),
    ],
)
def test_what_cannot_be_done_is_one_message_and_no_file(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
