"""Same seed, same run; killed and resumed, still the same run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("parity_run.py")


def start(out, *args):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(out), *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-2000:]


def record(out):
    """Metrics and every transcript, byte by byte."""
    files = sorted((out / "transcripts").glob("*.jsonl"))
    return {
        f.name: f.read_text() for f in [out / "metrics.jsonl", out / "solve-rates.jsonl", *files]
    }


def steps(out):
    file = out / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.is_file() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    finish(start(out))
    return record(out)


def test_the_task_moves_the_weights(whole):
    rows = [json.loads(line) for line in whole["metrics.jsonl"].splitlines()]
    assert len(rows) == 6
    assert sum(row["grad_norm"] > 0 for row in rows) >= 5


def test_the_same_seed_gives_the_same_files(whole, tmp_path):
    finish(start(tmp_path / "again"))
    assert record(tmp_path / "again") == whole


def test_another_seed_gives_others(whole, tmp_path):
    finish(start(tmp_path / "other", "1"))
    assert record(tmp_path / "other") != whole


def test_kill_in_the_middle_of_a_step_and_resume(whole, tmp_path):
    out = tmp_path / "killed"
    process = start(out)
    deadline = time.monotonic() + 120
    while steps(out) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 3 <= steps(out) < 6, "the run was over before it could be killed"
    finish(start(out))
    assert record(out) == whole
