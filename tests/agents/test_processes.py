"""Two processes (gloo) give the losses and the weights of one over the same batch."""

import ast
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


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(both, case):
    one, two = (metrics(both / kind / case) for kind in ("one", "two"))
    options = CASES[case][2]
    steps = options.get("steps", 1)
    assert len(one) == len(two) == steps
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            if isinstance(value, str) or value is None:
                assert theirs[name] == value
                continue
            assert theirs[name] == pytest.approx(value, rel=2e-4, abs=1e-6), name
    step = f"checkpoint-{steps * options.get('epochs', 1)}"
    before, after = (
        load_file(both / kind / case / step / "model.safetensors") for kind in ("one", "two")
    )
    assert all(before[name].allclose(after[name], atol=2e-5) for name in before)
    assert (both / "two" / case / step / "complete").is_file()


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_each_process_makes_as_many_passes(both, case):
    """Where weights are sharded each pass gathers them: one more in one process waits for ever."""
    counts = json.loads((both / "two" / case / "passes.json").read_text())
    assert len(counts) == 2
    assert len(set(counts)) == 1


@pytest.mark.long
def test_each_process_keeps_its_rows_and_readers_see_all(both):
    folders = [both / kind / "token" / "transcripts" for kind in ("one", "two")]
    one, two = (list(transcripts.read(folder)) for folder in folders)
    assert [(step, list(t.ids)) for step, t in one] == [(1, list(t.ids)) for t in BATCH]
    assert one == two
    names = [sorted(file.name for file in folder.iterdir()) for folder in folders]
    assert names[0] == ["step-000001.ids.npz", "step-000001.jsonl.gz"]
    other = [f"step-000001-rank-001.{end}" for end in ("ids.npz", "jsonl.gz")]
    assert names[1] == sorted([*names[0], *other])


@pytest.mark.long
def test_an_evaluation_is_shared_and_its_answers_are_those_of_one(both):
    one, two = (json.loads((both / kind / "answers.json").read_text()) for kind in ("one", "two"))
    assert one == two
    assert one == [[f"p{i}", s, "5"] for i in range(7) for s in (0, 1)] + [
        ["p0", 0, "6"],
        ["p0", 1, "6"],
    ]
    asked = [json.loads((both / "two" / f"asked-{rank}.json").read_text()) for rank in (0, 1)]
    assert asked == [[4, 4, 2], [4, 2]], "four problems of one, three of the other, in chunks"


EXCHANGES = {
    *("barrier", "broadcast", "gather", "maximum", "maxima", "mean_of_each", "run_on_main"),
    *("reduce", "full_tensor"),
}
AGREED = {
    "accelerator.num_processes > 1",
    "anywhere",  # an exchange says so
    "batch",  # the trainer's `log`, which all call alike
    "batch_size and self._training.micro_batch_tokens",
    "error is None",  # else `watched` ends all
    "hasattr(weight, 'full_tensor')",
    "kind in (0, 1)",
    "over",  # the checkpoint that all found
    "part in gather([dict(numbers)])",
    "self._algorithm.oversample > 1",
    "self._pools is None",
    "self._training.replay.keep",
    "weight, anywhere in zip(self._weights, reached, strict=True)",
}
"""Conditions and loops that are the same in all processes."""


def conditions_of_exchanges(code):
    """Each condition or loop that a call of `EXCHANGES` stands in, up to its function."""
    tree = ast.parse(code)
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for call in ast.walk(tree):
        # Tensors have a `gather` of their own.
        whose, _, name = ast.unparse(getattr(call, "func", ast.Name(""))).rpartition(".")
        if name not in EXCHANGES or whose not in ("", "distributed", "accelerator", "weight"):
            continue
        inner, outer = call, above[call]
        while not isinstance(outer, ast.FunctionDef | ast.Module):
            if isinstance(outer, ast.If | ast.While | ast.IfExp) and inner is not outer.test:
                yield ast.unparse(outer.test)
            elif isinstance(outer, ast.For):
                yield f"{ast.unparse(outer.target).strip('()')} in {ast.unparse(outer.iter)}"
            elif isinstance(outer, ast.BoolOp) and inner is not outer.values[0]:
                yield ast.unparse(outer)
            inner, outer = outer, above[outer]


def test_no_exchange_stands_in_a_condition_that_one_process_decides_alone():
    root = HERE.parents[1]
    files = [f for part in ("agents", "torl") for f in (root / part).rglob("*.py")]
    found = {c: file for file in files for c in conditions_of_exchanges(file.read_text())}
    assert found.keys() == AGREED, {c: str(file) for c, file in found.items() if c not in AGREED}
    alone = "def f(w):\n    if w.grad is not None:\n        return [maxima([g]) for g in w]"
    assert list(conditions_of_exchanges(alone)) == ["w.grad is not None"]


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
