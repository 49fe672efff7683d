"""Two processes (gloo) give the losses and the weights of one over the same batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from one_step import BATCH
from safetensors.torch import load_file
from shared_run import CASES, main

from agents.core.run import transcripts
from agents.core.trainer import distributed
from agents.core.trainer.distributed import ProcessesError
from agents.core.trainer.options import Training

HERE = Path(__file__).parent


def launch(*words):
    """Run in two processes, as `accelerate launch` does on a machine with two GPUs."""
    done = subprocess.run(
        [*(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "0"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    out = tmp_path_factory.mktemp("shared")
    main(out / "one")
    launch("--standalone", str(HERE / "shared_run.py"), str(out / "two"))
    return out


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(both, case):
    one, two = (metrics(both / kind / case) for kind in ("one", "two"))
    assert len(one) == len(two) == 1
    assert one[0].keys() == two[0].keys()
    for name, value in one[0].items():
        if isinstance(value, str) or value is None:
            assert two[0][name] == value
            continue
        assert two[0][name] == pytest.approx(value, rel=2e-4, abs=1e-6), name
    step = f"checkpoint-{2 if 'epochs' in CASES[case][2] else 1}"
    before, after = (
        load_file(both / kind / case / step / "model.safetensors") for kind in ("one", "two")
    )
    assert all(before[name].allclose(after[name], atol=2e-5) for name in before)
    assert (both / "two" / case / step / "complete").is_file()


def test_each_process_keeps_its_rows_and_readers_see_all(both):
    folders = [both / kind / "token" / "transcripts" for kind in ("one", "two")]
    one, two = (list(transcripts.read(folder)) for folder in folders)
    assert [(step, list(t.ids)) for step, t in one] == [(1, list(t.ids)) for t in BATCH]
    assert one == two
    names = [sorted(file.name for file in folder.iterdir()) for folder in folders]
    assert names[0] == ["step-000001.ids.npz", "step-000001.jsonl.gz"]
    other = [f"step-000001-rank-001.{end}" for end in ("ids.npz", "jsonl.gz")]
    assert names[1] == sorted([*names[0], *other])


def test_an_evaluation_is_shared_and_its_answers_are_those_of_one(both):
    one, two = (json.loads((both / kind / "answers.json").read_text()) for kind in ("one", "two"))
    assert one == two
    assert one == [[f"p{i}", s, "5"] for i in range(7) for s in (0, 1)] + [
        ["p0", 0, "6"],
        ["p0", 1, "6"],
    ]
    asked = [json.loads((both / "two" / f"asked-{rank}.json").read_text()) for rank in (0, 1)]
    assert asked == [[4, 4, 2], [4, 2]], "four problems of one, three of the other, in chunks"


def test_groups_are_never_split():
    sizes = Training(prompts_per_step=6, group_size=4, micro_batch=4)
    assert [sizes.passes(n) for n in (1, 2, 3)] == [6, 3, 2]
    with pytest.raises(ProcessesError, match="6 groups of 4 cannot be shared evenly by 4"):
        sizes.passes(4)
    with pytest.raises(ProcessesError, match="the 12 rows of each of 2 processes cannot be"):
        Training(prompts_per_step=6, group_size=4, micro_batch=4, updates=8).passes(2)


def test_one_process_is_the_first_and_only(monkeypatch):
    assert (distributed.world_size(), distributed.rank(), distributed.is_main()) == (1, 0, True)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert distributed.world_size() == 1, "a stray variable of a batch system starts no processes"
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "3")
    assert (distributed.world_size(), distributed.rank(), distributed.is_main()) == (4, 3, False)
