"""Same seed, same run; killed and resumed, still the same run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import parity_run
import pytest
import torch

from torl_env.testing import descendants

SCRIPT = Path(__file__).with_name("parity_run.py")
ALONE = (sys.executable,)
TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start(out, *args, launcher=ALONE):
    return subprocess.Popen(
        [*launcher, str(SCRIPT), str(out), *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()[-2000:]


def record(out):
    """Metrics and every transcript, byte by byte."""
    files = sorted((out / "transcripts").iterdir())
    return {
        f.name: f.read_bytes() for f in [out / "metrics.jsonl", out / "solve-rates.jsonl", *files]
    }


def state(out):
    """The training state of the last checkpoint, each part as plain values."""
    folder = out / "checkpoint-6"
    files = sorted(f for f in folder.iterdir() if f.suffix in (".pt", ".pth"))
    parts = {f.name: torch.load(f, weights_only=False) for f in files if "args" not in f.name}
    parts["weights"] = (folder / "model.safetensors").read_bytes()
    return parts


def alike(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if hasattr(a, "shape"):
        return a.shape == b.shape and bool((a == b).all())
    return bool(a == b)


def steps(out):
    file = out / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.is_file() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """In this process; those that are killed and resumed run in others and must equal it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    parity_run.main(out)
    return record(out) | {"state": state(out)}


def test_the_task_moves_the_weights(whole):
    rows = [json.loads(line) for line in whole["metrics.jsonl"].splitlines()]
    assert len(rows) == 6
    assert sum(row["grad_norm"] > 0 for row in rows) >= 5


def test_the_same_seed_gives_the_same_files(whole, tmp_path):
    parity_run.main(tmp_path / "again")
    again = record(tmp_path / "again")
    assert all(again[name] == whole[name] for name in again)
    assert alike(state(tmp_path / "again"), whole["state"])


@pytest.mark.slow
def test_another_seed_gives_others(whole, tmp_path):
    parity_run.main(tmp_path / "other", seed=1)
    other = record(tmp_path / "other")
    assert other["metrics.jsonl"] != whole["metrics.jsonl"]


def killed_and_resumed(out, *args, launcher=ALONE):
    """A run that SIGKILL ends in its middle, and that goes on."""
    process = start(out, *args, launcher=launcher)
    deadline = time.monotonic() + 120
    while steps(out) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    kill(process)
    assert 3 <= steps(out) < 6, "the run was over before it could be killed"
    finish(start(out, *args, launcher=launcher))
    return record(out) | {"state": state(out)}


def kill(process):
    """SIGKILL to the process and all it has started, in sessions of their own or not."""
    for pid in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.long
def test_kill_in_the_middle_of_a_step_and_resume(whole, tmp_path):
    """Weights, optimiser, scheduler, generators, metrics, transcripts, solve rates."""
    again = killed_and_resumed(tmp_path / "killed")
    parts = {
        "algorithm.pt",
        "sampling.pt",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "weights",
    }
    assert again["state"].keys() == parts
    assert [name for name in parts if not alike(whole["state"][name], again["state"][name])] == []
    assert all(again[name] == whole[name] for name in whole if name != "state")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "launcher", "part"),
    [
        (("0", "ppo"), ALONE, "auxiliary_module.pt"),
        (("0", "grpo"), TOGETHER, "rng_state_1.pth"),
    ],
    ids=["a critic and its optimiser", "two processes"],
)
def test_kill_and_resume_of_more(tmp_path, args, launcher, part):
    out = tmp_path / "whole"
    finish(start(out, *args, launcher=launcher))
    uncut = record(out) | {"state": state(out)}
    again = killed_and_resumed(tmp_path / "killed", *args, launcher=launcher)
    assert part in again["state"]
    assert alike(uncut, again)
