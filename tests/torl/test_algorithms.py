"""Algorithms by name and their settings as words."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from agents.core.trainer import distributed
from agents.grpo import GRPO
from agents.ppo import PPO
from agents.sft import SFT
from torl.__main__ import main
from torl.algorithms import make_algorithm
from torl.console import CommandError
from torl.environment import environment
from torl.training.options import TrainOptions, from_json, resolved, to_json, training_of

SIZES = {"group_size": 4, "prompts_per_step": 2}


def test_names_and_settings():
    assert make_algorithm("grpo", (), SIZES) == GRPO()
    assert make_algorithm("ppo", (), SIZES) == PPO()
    assert make_algorithm("rloo", (), SIZES).baseline == "leave_one_out"
    assert make_algorithm("rloo", ("baseline=group",), SIZES).baseline == "group"
    made = make_algorithm("grpo", ("scale_by_std=false", "clip_high=0.28", "nll=0.01"), SIZES)
    assert (made.scale_by_std, made.loss.clip_high, made.loss.nll) == (False, 0.28, 0.01)
    assert make_algorithm("ppo", ("critic=model", "value_clip=None"), {}).value_clip is None


def test_one_of_your_own(tmp_path, monkeypatch):
    text = "from agents.core.algorithm import Algorithm\nclass Mine(Algorithm):\n    pass\n"
    (tmp_path / "my_own_algorithm.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert type(make_algorithm("my_own_algorithm:Mine", (), SIZES)).__name__ == "Mine"


IMPLIED = {
    "grpo": {},
    "thor": {},
    "my:Own": {},
    "sft": {"steps": 0},
    "cot": {"tool_budget": 0, "warm_start_code": 0.0, "prompt": "chat-text"},
    "cot-sft": {"steps": 0, "tool_budget": 0, "warm_start_code": 0.0, "prompt": "chat-text"},
}


@pytest.mark.parametrize("name", IMPLIED)
def test_a_name_implies_options(name):
    implied = dict(IMPLIED[name])
    if "tool_budget" in implied:
        implied["env"] = environment(TrainOptions().env, tool_budget=implied.pop("tool_budget"))
    given = TrainOptions(algorithm=name)
    assert resolved(given) == replace(given, **implied)


def test_a_prompt_of_ones_own_stays_without_a_tool():
    assert resolved(TrainOptions(algorithm="cot", prompt="torl")).prompt == "torl"


BAD = {
    "name": ("gprop", (), "expected grpo, rloo, ppo, .* or module:Class, got 'gprop'"),
    "module": ("nowhere:Mine", (), "expected module:object that can be imported"),
    "no class": ("agents.core.algorithm:Loss", (), "expected a subclass of"),
    "setting": ("grpo", ("clip=1",), "grpo has name=value for baseline, clip_high"),
    "form": ("grpo", ("clip_high",), "got 'clip_high'"),
    "value": ("grpo", ("clip_high=-1",), "clip_high positive"),
    "of the run": ("grpo", ("learning_rate=1",), "Options of the run, such as --learning-rate"),
    "size": ("grpo", ("group_size=4",), "an option of the run: --group 4"),
    "number": ("grpo", ("clip_high=wide",), "--set clip_high=wide: expected a number"),
    "switch": ("grpo", ("scale_by_std=no",), "expected true or false"),
    "whole number": ("grpo", ("resample=1.5",), "--set resample=1.5: expected a whole number"),
    "number or none": ("ppo", ("length_alpha=wide",), "expected a number or none"),
    "no number": ("grpo", ("clip_high=none",), "--set clip_high=none: expected a number, such"),
    "kind": ("grpo", ("baseline=mean",), "--algorithm grpo"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_is_expected(case):
    name, settings, message = BAD[case]
    with pytest.raises(CommandError, match=message):
        make_algorithm(name, settings, SIZES)


def tiny_run(tiny, out, *options):
    words = [sys.executable, "-m", "torl", "train", "--model", tiny, "--out", out]
    words += ["--problems", "procedural:easy:L1", "--prompts", 2, "--group", 4, "--threads", 1]
    words += ["--max-tokens", 60, "--eval-problems", 0, "--save-every", 1, *options]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for line in done.stdout.splitlines():
        if line.startswith(("metrics ", "transcripts ", "checkpoint ")):
            assert Path(line.split()[1]).exists(), line
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "metrics"),
    [
        (("--algorithm", "ppo", "--updates", 2, "--micro-batch", 4), {"loss_value"}),
        (("--algorithm", "thor", "--reward", "thor", "--tool-budget", 2), {"dropped", "branches"}),
        (("--algorithm", "cot"), {"reward"}),
        (("--algorithm", "arpo", "--stateful", "--tool-budget", 2), {"tree_sampled_ids"}),
        (("--set", "resample=1", "nll=0.01"), {"groups_zero_variance", "loss_nll"}),
    ],
)
def test_each_algorithm_trains_from_the_command_line(tiny, tmp_path, options, metrics):
    rows = tiny_run(tiny, tmp_path / "run", "--steps", 2, "--warm-start", 0, *options)
    assert [row["step"] for row in rows] == [1, 2]
    assert metrics <= rows[-1].keys()


@pytest.mark.slow
def test_traces_from_a_file_are_all_there_is_to_train(tiny, tmp_path):
    file = tmp_path / "traces.jsonl"
    row = {"question": "What is 1 + 1?", "response": "It is \\boxed{2}."}
    file.write_text((json.dumps(row) + "\n") * 16)
    rows = tiny_run(tiny, tmp_path / "run", "--steps", 0, "--traces", file)
    assert {row["stage"] for row in rows} == {"sft"}
    assert (tmp_path / "run" / "warm-start" / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "calls"), [("sft", True), ("cot-sft", False)])
def test_imitation_alone_by_name(tiny, tmp_path, name, calls):
    out = tmp_path / "run"
    rows = tiny_run(tiny, out, "--algorithm", name, "--warm-start", 32)
    assert {row["stage"] for row in rows} == {"sft"}
    options = json.loads((out / "config.json").read_text())["options"]
    assert (options["steps"], options["env"]["tool_budget"] > 0) == (0, calls)


def dry(capsys, *words):
    code = main(["train", "--dry-run", *map(str, words)])
    return code, capsys.readouterr()


def test_a_dry_run_tells_the_plan_and_does_nothing(tiny, tmp_path, capsys):
    out = tmp_path / "run"
    options = ("--model", tiny, "--out", out, "--updates", 2, "--micro-batch", 8, "--steps", 3)
    code, printed = dry(capsys, *options)
    assert code == 0
    assert "3, of 8 problems x 8 samples = 64 episodes; 192 episodes in all" in printed.out
    assert "2 a step, 6 in all; 8 passes of 8 rows over a step" in printed.out
    assert "in training a plain number must be worked out" in printed.out
    assert not out.exists()
    code, printed = dry(capsys, "--model", "org/nameless", "--out", out)
    assert code == 1
    assert "the size of 'org/nameless' is unknown" in printed.err


def recipe(name, tmp_path, *words):
    file = Path(__file__).parents[2] / "runs" / f"{name}.py"
    command = [sys.executable, str(file), str(tmp_path / "run"), "--dry-run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


RECIPES = {
    "torl_7b": ("7.62", "sampling by  vllm"),
    "thor": ("1.54", "1 epochs in batches of 256, rate 2e-06"),
    "simpletir": ("7.62", "drop=('void',)"),
    "zerotir": ("7.62", "tool_budget"),
    "retool": ("7.62", "2 epochs"),
    "arpo": ("7.62", "tree=ARPO()"),
    "rstar2_roc": ("14.77", "clip_high=0.28"),
}
"""Billions of parameters, and words that the plan has."""


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["torl_1_5b", *(pytest.param(n, marks=pytest.mark.slow) for n in RECIPES)]
)
def test_the_recipes_fit_the_machines_they_name(name, tmp_path):
    """The plan is made of the model's shape; no network is needed for that."""
    traces = tmp_path / "traces.jsonl"
    traces.touch()
    imitates = name in ("thor", "retool")
    done = recipe(name, tmp_path, *(("--traces", traces) if imitates else ()))
    assert done.returncode == 0, done.stderr
    problems = 32 if name == "retool" else 128
    assert f"{problems} problems x 16 samples = {problems * 16} episodes" in done.stdout
    (peak,) = re.findall(r"memory +([\d.]+) GB a process at its peak", done.stdout)
    assert 20 < float(peak) < 80
    size, words = RECIPES.get(name, ("1.54", ""))
    assert f"{size} billion parameters" in done.stdout
    assert words in done.stdout


@pytest.mark.parametrize("name", ["thor", pytest.param("retool", marks=pytest.mark.slow)])
def test_no_recipe_starts_without_its_traces(tmp_path, name):
    done = recipe(name, tmp_path)
    assert done.returncode == 1
    assert "expected --traces FILE" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        # The window is 4,096 ids, of which the prompt needs some.
        (("--max-tokens", 4096), "exceeds the model's window of 4096"),
        (("--device-gb", 4), "a process needs"),
        (("--traces", "nowhere.jsonl"), "--traces: no such file"),
    ],
)
def test_a_dry_run_refuses_what_does_not_fit(words, message, tmp_path, capsys):
    model = ("--model", "Qwen/Qwen2.5-Math-1.5B")
    code, printed = dry(capsys, *model, "--out", tmp_path / "run", *words)
    assert code != 0
    assert message in " ".join(printed.err.replace("│", " ").split())


def test_a_dry_run_looks_for_room_on_the_disk(tiny, tmp_path, capsys, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage(10**9, 10**9, 10**5))
    code, printed = dry(capsys, "--model", tiny, "--out", tmp_path / "run")
    assert code == 1
    assert "0.0 GB free" in printed.err


def test_several_gpus_and_one_process_are_said_in_the_plan(tiny, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as two:
        two.setattr("torch.cuda.is_available", lambda: True)
        two.setattr("torch.cuda.device_count", lambda: 2)
        said = distributed.devices()
    assert said == "one GPU; for all 2 start accelerate launch, docs/scale.md"
    monkeypatch.setattr(distributed, "devices", lambda: said)
    code, printed = dry(capsys, "--model", tiny, "--out", tmp_path / "run", "--device-gb", 24)
    assert code == 0, printed.err
    assert f"{said} here; planned for 24 GB a process" in printed.out


def test_options_of_imitation_and_of_ratios_reach_the_trainer_and_the_record(tmp_path):
    from agents.core.trainer.trl_config import trl_config

    given = {"importance": "sequence_mask", "importance_cap": 3.0, "sft": {"learning_rate": 2e-6}}
    options = TrainOptions(out=tmp_path, **given)
    made = trl_config(GRPO(), training_of(options), tmp_path)
    assert made.vllm_importance_sampling_mode == "sequence_mask"
    assert made.vllm_importance_sampling_clip_max == 3.0
    kept = json.loads(json.dumps(to_json(options)))
    assert kept["sft"] == {**asdict(SFT()), "learning_rate": 2e-6}
    again = from_json(kept, {})
    assert again.sft == options.sft == SFT(learning_rate=2e-6)
    assert (again.importance, again.importance_cap) == ("sequence_mask", 3.0)


def test_an_object_keeps_its_settings_and_takes_more():
    made = make_algorithm(GRPO(clip_high=0.28, scale_by_std=False), ("nll=0.01",), SIZES)
    assert made.scale_by_std is False
    assert (made.loss.clip_high, made.loss.clip_low, made.loss.nll) == (0.28, 0.2, 0.01)
    assert GRPO().loss.clip_high == 0.2
