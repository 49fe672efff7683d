"""`torl eval`: what it refuses, what it writes, and that Ctrl-C loses nothing."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from agents.core.run.storage import RecordError
from agents.core.types import Trajectory, Turn
from benchmarks.heldout import records
from torl.environment import environment
from torl.evaluation.options import EvalOptions
from torl.evaluation.run import measure, slug
from torl_env.problems import load

ROWS = [{"problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(6)]

SCRIPT = """
import sys, time
from pathlib import Path
from agents.core.types import Trajectory, Turn
from torl.console import guarded
from torl.environment import environment
from torl.evaluation.options import EvalOptions
from torl.evaluation.run import measure
from torl_env.problems import load


def collect(problems, k, seed):
    for number, problem in enumerate(problems):
        for sample in range(k):
            # The sixth answer waits for the signal, however slow the machine is.
            time.sleep(PAUSE if k * number + sample == 5 else 0)
            print("answer", flush=True)
            turn = Turn("\\\\boxed{0}", "", 0, 2, "final", "", "", 0.0)
            yield Trajectory(problem.id, (1,), (2, 3), (1, 1), (0.0, 0.0), (turn,), 1.0,
                             "correct", "0", 0, 0, "final", False, True, sample=sample)


def main(options):
    measure(options, list(load(sys.argv[1])), options.out, "mine", collect)
    return 0


options = EvalOptions(out=Path(sys.argv[2]), k=2)
sys.exit(guarded(main, options))
"""


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_another_checkpoint_of_a_run_is_another_model(problems, tmp_path):
    """Weights of a run lie in its checkpoints; what an older one answered is not the newer's."""

    def checkpoint(number, weights):
        folder = tmp_path / "run" / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "complete").touch()

    def collect(problems, k, seed):
        for problem in problems:
            turn = Turn("x", "", 0, 1, "final", "", "", 0.0)
            yield Trajectory(
                *(problem.id, (1,), (2,), (1,), (0.0,), (turn,), -1.0, "wrong", "", 0, 0),
                *("final", False, True),
            )

    options = EvalOptions(model=str(tmp_path / "run"))
    rows = list(load(str(problems)))
    checkpoint(4, b"a" * 100)
    first = measure(options, rows, tmp_path / "a.jsonl", "mine", collect)
    assert len(first.header.settings["weights"]) == 8
    assert measure(options, rows, tmp_path / "a.jsonl", "mine", collect).accuracy == first.accuracy
    checkpoint(8, b"b" * 100)
    with pytest.raises(RecordError, match="weights"):
        measure(options, rows, tmp_path / "a.jsonl", "mine", collect)


def start(problems, out, pause):
    code = textwrap.dedent(SCRIPT).replace("PAUSE", str(pause))
    return subprocess.Popen(
        [sys.executable, "-c", code, problems, out],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_answered_survives_a_stop(problems, tmp_path, signal_number):
    out, whole = tmp_path / "a.jsonl", tmp_path / "whole.jsonl"
    with start(problems, out, 60) as process:
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal_number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if signal_number == signal.SIGINT else -9)
    assert "Traceback" not in err
    assert 4 <= len(records.read(out).trajectories) <= 5
    for path in (out, whole):
        with start(problems, path, 0) as process:
            process.communicate(timeout=30)
        assert process.returncode == 0
    assert records.read(out).complete
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--k", "4", "--temperature", "0"), "same answer 4 times"),
        (("--k", "0"), "--k: expected at least 1, got 0"),
        (("--rows", "0"), "--rows: expected at least 1"),
        (("--tool-budget", "-1"), "tool_budget must be at least 0"),
        (("--count", "7"), "expected 1 to 6"),
        (("--top-p", "0"), "top_p must be in (0, 1]"),
        (("--out", "a.json"), "ends in .jsonl"),
        (("--model", "./nowhere"), "no model at './nowhere'"),
        (("--problems", "nosuch"), "expected `procedural"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    refused, problems, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused("eval", "--problems", problems, *words)
    assert list(tmp_path.iterdir()) == [problems]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "problems.jsonl"),
        ('{"problem": "1 + 1?"}\n', "answer"),
        ('{"problem": "1 + 1?", "answer": "2"}\n{"problem"\n', "line 2"),
    ],
)
def test_wrong_problem_files(refused, problems, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    problems.write_text(text)
    assert message in refused("eval", "--problems", problems)
    assert list(tmp_path.iterdir()) == [problems]


def test_procedural_problems_are_the_held_out_ones():
    from torl.evaluation.run import single

    part = single(EvalOptions(env=environment(problems="procedural:gcd:L1"), count=3))
    assert len(part.problems) == 3
    assert all("-heldout-" in problem.id for problem in part.problems)


def test_slugs_are_file_names():
    assert slug("../a b/c:d") == "a-b-c-d"
    assert slug("///") == "unnamed"
