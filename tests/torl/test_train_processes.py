"""`torl train` as `accelerate launch` starts it with runs/configs/cpu.yaml, against one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from agents.core.run import transcripts
from agents.core.run.folder import Run

CONFIG = Path(__file__).parents[2] / "runs" / "configs" / "cpu.yaml"
SMALL = ["--problems", "procedural:easy:L1", "--warm-start", "16", "--steps", "2", "--prompts", "2"]
SMALL += ["--group", "4", "--max-tokens", "60", "--eval-problems", "4", "--save-every", "1"]
# In bfloat16 sums in another order would show.
SMALL += ["--dtype", "float32"]
ALONE = [sys.executable]
TOGETHER = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]


def train(launcher, *words):
    return subprocess.run(
        [*launcher, "-m", "torl", "train", *map(str, words), "--threads", "1"],
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.slow
def test_two_processes_leave_what_one_does(tiny, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for out, launcher in ((one, ALONE), (two, TOGETHER)):
        done = train(launcher, "--model", tiny, "--out", out, *SMALL)
        assert done.returncode == 0, done.stderr[-3000:]
    names = [sorted(str(f.relative_to(out)) for f in out.rglob("*")) for out in (one, two)]
    generators = {"checkpoint-1", "checkpoint-2"}
    of_one = {n for n in names[0] if "rng_state" not in n}
    assert of_one == {n for n in names[1] if "rng_state" not in n and "-rank-" not in n}
    assert generators <= set(names[1])
    # SFT shares out its batches: the same traces in every step, summed in another order.
    before, after = (load_file(out / "warm-start/model.safetensors") for out in (one, two))
    assert all(before[name].allclose(after[name], atol=1e-5) for name in before)
    sft = [[row["loss"] for row in Run(out).read_metrics("sft")] for out in (one, two)]
    assert len(sft[0]) == 2
    assert sft[0] == pytest.approx(sft[1], rel=1e-3)
    for name in ("before", "after"):
        answers = [
            [(t["problem_id"], t["ids"]) for t in map(json.loads, lines) if "ids" in t]
            for lines in (
                (out / f"eval/{name}.jsonl").read_text().splitlines() for out in (one, two)
            )
        ]
        assert len(answers[0]) == 4
        assert answers[0] == answers[1]
    for step in (1, 2):
        rows = [
            [(t.problem_id, t.ids) for n, t in transcripts.read(out / "transcripts") if n == step]
            for out in (one, two)
        ]
        assert len(rows[0]) == 8
        assert rows[0] == rows[1]


@pytest.mark.slow
def test_what_is_refused_ends_all_processes(tiny, tmp_path):
    done = train(TOGETHER, "--model", tiny, "--out", tmp_path / "run", *SMALL, "--prompts", "3")
    assert done.returncode != 0
    assert "3 groups of 4 cannot be shared evenly by 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()
