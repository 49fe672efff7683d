"""`torl train` end to end on a tiny model, and each kind of bad input.

What is about processes (a run from nothing, Ctrl-C, variables) starts them; the rest runs in this
one, which has imported torch and TRL already.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.core.run.transcripts import read_rows
from torl.training.plan import plan_of
from torl.training.run import stored_options

SMALL = ["--problems", "procedural:easy:L1", "--warm-start", "16", "--steps", "2", "--prompts", "2"]
SMALL += ["--group", "4", "--max-tokens", "60", "--eval-problems", "4", "--save-every", "1"]
SMALL += ["--threads", "1"]


def started(*args, **kw):
    return subprocess.run(  # noqa: PLW1510 - the tests look at the code
        [sys.executable, "-m", "torl", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=240,
        **kw,
    )


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    done = started("train", "--model", tiny, "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done


def test_it_leaves_everything_it_promises(run):
    out, done = run
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["stage"] == "rl"] == [1, 2]
    assert {row["stage"] for row in rows} == {"sft", "rl"}
    assert (out / "figure5.png").stat().st_size > 10_000
    assert len(list(read_rows(out / "transcripts" / "step-000002.jsonl.gz"))) == 8
    for name in ("before", "after"):
        summary = json.loads((out / "eval" / f"{name}.summary.json").read_text())
        assert summary["answers"] == 4
        assert name in done.stdout
    assert (out / "checkpoint-2" / "config.json").is_file()


def test_the_plan_of_disk_holds_what_a_run_writes(run):
    out, _ = run
    plan = plan_of(stored_options(out))
    # Tokenizer and settings are large beside a model as small as this.
    files = [out / "checkpoint-2" / name for name in ("model.safetensors", "optimizer.pt")]
    weights = sum(file.stat().st_size for file in files)
    assert plan.checkpoints_gb == pytest.approx((3 + 1 / 3) * weights / 1e9, rel=0.1)
    transcripts = sum(file.stat().st_size for file in (out / "transcripts").iterdir())
    assert transcripts / 1e9 < plan.transcripts_gb < 4 * transcripts / 1e9


def test_eval_takes_the_checkpoint_and_the_run(run, tmp_path, torl):
    out, _ = run
    for i, model in enumerate((out / "checkpoint-2", out)):
        records = tmp_path / f"{i}.jsonl"
        done = torl(
            *("eval", "--model", model, "--problems", "procedural:easy:L1", "--count", "2"),
            *("--max-tokens", "20", "--out", records),
        )
        assert done.code == 0, done.err
        assert records.is_file()


def test_resume_of_a_finished_run_changes_nothing(run, torl):
    out, _ = run
    before = (out / "metrics.jsonl").read_bytes()
    done = torl("train", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert (out / "metrics.jsonl").read_bytes() == before


def samplers(pid):
    """The processes that sample for this one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [c for c in children if "sampler_process" in Path(f"/proc/{c}/cmdline").read_text()]


@pytest.mark.long
@pytest.mark.parametrize(
    ("more", "processes"), [((), 0), pytest.param(("--staleness", "1"), 1, marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_cleanly_and_resume_goes_on(tiny, tmp_path, torl, more, processes):
    """Also while a process of its own samples, which ends with the other one."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "torl", "train", "--model", str(tiny), "--out", str(out)),
            *(*SMALL, "--steps", "40", "--eval-problems", "0", *more),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoint-1").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    sampling = samplers(process.pid)
    assert len(sampling) == processes
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the sandbox gets it too
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume` goes on from here" in errors
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in sampling)
    config = json.loads((out / "config.json").read_text())
    last = max(int(c.name.split("-")[1]) for c in out.glob("checkpoint-*"))
    config["options"]["steps"] = last + 1
    (out / "config.json").write_text(json.dumps(config))
    done = torl("train", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert (out / f"checkpoint-{last + 1}").is_dir()


def test_a_folder_in_use_is_not_overwritten(tiny, tmp_path, refused):
    (tmp_path / "precious").write_text("data")
    assert "is not empty" in refused("train", "--model", tiny, "--out", tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["precious"]


def test_resume_needs_a_run(tmp_path, refused):
    assert "no run folder" in refused("train", "--out", tmp_path / "none", "--resume")
    assert not (tmp_path / "none").exists()


def test_help_and_unknown_commands(torl):
    assert "train" in torl("--help").out
    assert torl().code == 2
    unknown = torl("trian")
    assert unknown.code == 2
    assert "unknown command 'trian'" in unknown.err


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_no_free_disk_is_said_before_anything_is_done(tiny, small_disk, refused):
    said = refused("train", "--model", tiny, "--out", small_disk / "run")
    assert "GB free" in said
    assert "choose another --out" in said
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("place", ["notes.txt", "notes.txt/run"])
def test_a_file_in_place_of_the_folder_is_said_before_anything_is_done(
    tiny, place, tmp_path, refused
):
    (tmp_path / "notes.txt").write_text("mine")
    said = refused("train", "--model", tiny, "--out", tmp_path / place, "--dry-run")
    assert f"expected a folder, but {tmp_path / 'notes.txt'} is a file" in " ".join(said.split())


@pytest.mark.long
def test_no_network_is_one_message(tmp_path):
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = started("train", "--model", "org/name", "--out", tmp_path / "run", env=offline)
    assert done.returncode != 0
    assert "network" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
