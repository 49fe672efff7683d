"""The frame of the acceptance blocks, and the blocks that a CPU can run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.core.run.storage import RecordError
from benchmarks.acceptance.__main__ import BLOCKS, main
from benchmarks.acceptance.pack import UNPACK, parts
from benchmarks.acceptance.record import BlockResult, Figure, Record

ROOT = Path(__file__).parents[2]


def test_a_figure_keeps_its_bound_or_fails():
    assert Figure("a", 1.0).passed
    assert Figure("a", 1.0, ">=", 1.0).passed
    assert not Figure("a", 1.0, "<", 1.0).passed
    assert not Figure("a", float("nan"), ">=", 0.0).passed


def test_a_block_without_figures_has_shown_nothing():
    assert BlockResult.of(1, "x", [], 1.0).state == "failed"
    assert BlockResult.of(1, "x", [Figure("a", 2, "<", 1)], 1.0).state == "failed"
    assert BlockResult.of(1, "x", [Figure("a", 0, "<", 1)], 1.0).state == "passed"


def test_a_record_takes_up_what_has_passed(tmp_path):
    path = tmp_path / "record.json"
    record = Record(path, {"commit": "a"})
    record.add(BlockResult.of(1, "x", [Figure("a", 0.5, "<", 1)], 1.0))
    record.add(BlockResult.of(2, "y", [Figure("a", float("nan"), "<", 1)], 1.0))
    again = Record(path, {"commit": "a"})
    assert again.done(1)
    assert not again.done(2)
    assert not again.done(3)
    assert not again.results[2].figures[0].passed


def test_a_record_of_another_commit_is_refused(tmp_path):
    path = tmp_path / "record.json"
    Record(path, {"commit": "a"}).add(BlockResult.of(1, "x", [], 1.0))
    with pytest.raises(RecordError, match="another machine, device, model or commit"):
        Record(path, {"commit": "b"})


def test_a_block_that_runs_past_its_limit_is_killed_and_recorded(tmp_path, capsys):
    out = tmp_path / "record.json"
    words = ["--device", "cpu", "--block", "1", "--minutes", "0.001", "--out", str(out)]
    assert main(words) == 1
    assert "killed" in capsys.readouterr().out
    (block,) = json.loads(out.read_text())["blocks"]
    assert block["state"] == "error"


def test_parts_put_together_are_the_file(tmp_path):
    file = tmp_path / "weights.whl"
    content = os.urandom(10_000)
    file.write_bytes(content)
    made = list(parts(file, size=4096))
    assert [part.stat().st_size for part in made] == [4096, 4096, 1808]
    assert not file.exists()
    joining = UNPACK.replace("python3 -m pip", ": ")
    (tmp_path / "unpack.sh").write_text(joining)
    subprocess.run(["bash", str(tmp_path / "unpack.sh"), str(tmp_path / "site")], check=True)
    assert file.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 2, 4, 6, 8, 9])
def test_blocks_that_a_cpu_can_run_pass(block, tmp_path):
    out = tmp_path / "record.json"
    words = ["--device", "cpu", "--block", str(block), "--minutes", "20", "--tokens", "40"]
    command = [sys.executable, "-m", "benchmarks.acceptance", *words, "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=False)
    (found,) = json.loads(out.read_text())["blocks"]
    assert found["state"] == "passed", found
    assert found["title"] == BLOCKS[block][0]
