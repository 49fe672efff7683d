"""The runs without imitation: what a record of another machine adds to those of this one."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[2] / "runs"
RECORDS = RUNS / "records"
STORED = ("easy", "gsm8k", "gsm8k_320", "math")


@pytest.fixture
def no_sft(monkeypatch):
    """The module beside the scripts, which are no package."""
    monkeypatch.syspath_prepend(str(RUNS))
    import no_sft

    yield no_sft
    sys.modules.pop("no_sft", None)


def study(no_sft, out, record, on="easy"):
    return no_sft.Study(Namespace(out=out, on=on, budgets=[1, 0], seeds=[0], record=record))


def tiny_folder(folder):
    from agents.core.testing.tiny import byte_tokenizer, tiny_model

    tokenizer = byte_tokenizer()
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", STORED)
def test_a_record_holds_all_of_its_page(no_sft, name, tmp_path):
    record = RECORDS / f"no_sft_{name}.json"
    on = name.partition("_")[0]
    study(no_sft, tmp_path, record, on).write()
    assert (tmp_path / f"{on}.md").read_text() == record.with_suffix(".md").read_text()
    assert json.loads((tmp_path / f"{on}.json").read_text()) == json.loads(record.read_text())
    assert (tmp_path / f"{on}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_what_a_training_refuses_is_said_before_anything_is_evaluated(tmp_path):
    model = tiny_folder(tmp_path / "model")
    sizes = "--on easiest --steps 1 --prompts 1 --group 1 --max-tokens 8 --count 2 --k 1"
    words = [str(RUNS / "no_sft.py"), str(tmp_path / "out"), "--model", model, *sizes.split()]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a group of one has no baseline" in done.stderr
    assert [file.name for file in (tmp_path / "out" / "easiest").iterdir()] == ["settings.json"]


@pytest.mark.slow
def test_runs_of_this_machine_and_of_a_record_stand_in_one_table(no_sft, tmp_path):
    model = tiny_folder(tmp_path / "model")

    def run(out, *more):
        sizes = "--on easiest --steps 1 --prompts 1 --group 2 --max-tokens 8 --count 2 --k 1"
        words = [str(RUNS / "no_sft.py"), str(tmp_path / out), "--model", model]
        command = [sys.executable, *words, *sizes.split(), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def entries(out):
        made = json.loads((tmp_path / out / "easiest.json").read_text())
        return [(one["budget"], one["seed"]) for one in made]

    first = run("first", "--budgets", "1", "--seeds", "0")
    assert first.returncode == 0, first.stderr
    assert entries("first") == [(1, 0)]
    record = ["--record", str(tmp_path / "first" / "easiest.json")]
    second = run("second", "--budgets", "1", "0", "--seeds", "1", *record)
    assert second.returncode == 0, second.stderr
    assert entries("second") == [(1, 0), (1, 1), (0, 1)]

    other = run("second", "--budgets", "1", "--seeds", "1", "--learning-rate", "1e-3")
    assert other.returncode == 1
    assert "has runs with other settings: learning_rate: 1e-05 against 0.001" in other.stderr
    more = run("fourth", "--budgets", "1", "--seeds", "2", *record, "--learning-rate", "1e-3")
    assert "made with other settings: learning_rate: 1e-05 against 0.001" in more.stderr
    third = run("third", "--budgets", "1", "--seeds", "2", *record, "--max-tokens", "9")
    assert third.returncode == 1
    assert (
        "first/easiest.json was made with other settings: max_tokens: 8 against 9" in third.stderr
    )
