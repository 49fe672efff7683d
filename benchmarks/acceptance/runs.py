"""Blocks 3 to 9, in processes of their own: whole trainings as a user starts them."""

import hashlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.core.run.folder import Run, latest_checkpoint
from agents.core.run.storage import read_json
from benchmarks.acceptance.numbers import Where
from benchmarks.acceptance.record import Figure, SkipBlockError

ROOT = Path(__file__).parents[2]
SHORT = (
    *("--steps", "2", "--prompts", "2", "--group", "4", "--micro-batch", "8"),
    *("--warm-start", "16", "--eval-problems", "0", "--max-tokens", "64", "--save-every", "1"),
    *("--problems", "procedural:easy:L1"),
)
"""A training that shows whether a path works, not whether it learns."""


def _start(where: Where, words: Sequence[str], *launcher: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if where.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return subprocess.Popen(
        [sys.executable, *(launcher or ("-m", "torl")), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=ROOT,
    )


def _run(where: Where, words: Sequence[str], *launcher: str) -> str:
    """What a command printed.

    Raises:
        RuntimeError: It ended with an error; the message holds the end of what it printed.
    """
    process = _start(where, words, *launcher)
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{printed[-2000:]}")
    return printed


def _train(where: Where, name: str, *words: str) -> Path:
    out = where.folder / name
    _run(where, ["train", "--out", str(out), "--model", where.model, *words])
    return out


def laptop(where: Where) -> list[Figure]:
    """Block 3: the laptop run, with what the README promises of it."""
    if where.device == "cpu" and where.minutes < 30:
        raise SkipBlockError("on a CPU this is `make demo`; give it --minutes 30")
    start = time.perf_counter()
    out = _train(where, "laptop")
    before, after = (read_json(out / "eval" / f"{n}.summary.json") for n in ("before", "after"))
    last = Run(out).read_metrics("rl")[-1]
    return [
        Figure("accuracy before", before["accuracy"]["value"]),
        Figure("accuracy after", after["accuracy"]["value"], ">=", 0.6),
        Figure("code ratio of the last step", last["code_ratio"], ">=", 0.9),
        Figure("minutes", (time.perf_counter() - start) / 60),
    ]


def repeatable(where: Where) -> list[Figure]:
    """Block 4: the same seed gives the same run, killed and resumed too."""
    first, second = (_train(where, f"same-{i}", *SHORT) for i in (1, 2))
    killed = where.folder / "killed"
    words = ["train", "--out", str(killed), "--model", where.model, *SHORT]
    process = _start(where, words)
    # After the first checkpoint there is something to resume and something left to do.
    while process.poll() is None and latest_checkpoint(killed) is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(Run(killed).read_metrics("rl")) if (killed / "metrics.jsonl").exists() else 0
    _run(where, ["train", "--out", str(killed), "--resume"])
    return [
        Figure("runs of one seed with other numbers", _differ(first, second), "==", 0),
        Figure("steps done before the kill", left),
        Figure("killed and resumed with other numbers", _differ(first, killed), "==", 0),
    ]


def _differ(one: Path, other: Path) -> int:
    """0 where the metrics and the last weights of two runs are equal to the last bit."""
    return int(_numbers(one) != _numbers(other) or _digest(one) != _digest(other))


def _numbers(out: Path) -> list[dict[str, Any]]:
    return Run(out).read_metrics("rl")


def _digest(out: Path) -> str:
    checkpoint = latest_checkpoint(out)
    if checkpoint is None:
        raise RuntimeError(f"{out} holds no checkpoint")
    made = hashlib.sha256()
    for file in sorted(checkpoint.glob("*.safetensors")):
        made.update(file.read_bytes())
    return made.hexdigest()


def vllm(where: Where) -> list[Figure]:
    """Block 5: vLLM in the training process and beside it, by the repository's own tests."""
    if importlib.util.find_spec("vllm") is None:
        raise SkipBlockError("vllm is not installed: pip install 'torl-gym[vllm]'")
    words = ["-q", "-m", "slow or gpu", "tests/agents/test_vllm_real.py"]
    process = _start(where, words, "-m", "pytest")
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(printed[-2000:])
    return [Figure("tests that fail", 0, "==", 0)]


VARIANTS: dict[str, tuple[str, ...]] = {
    "grpo": (),
    "ppo": ("--algorithm", "ppo"),
    "thor": ("--algorithm", "thor"),
    "gspo": ("--set", "ratio=sequence"),
    "kl": ("--set", "kl=0.01"),
    "lora": ("--lora-rank", "4"),
}


def algorithms(where: Where) -> list[Figure]:
    """Block 6: two steps of every algorithm; losses are numbers and weights move."""
    figures = []
    # A start that is right now and then: groups of equal rewards would move nothing.
    imitate = ("--algorithm", "sft", "--warm-start", "48")
    start = _train(where, "start", *SHORT, *imitate) / "warm-start"
    for name, words in VARIANTS.items():
        if name == "lora" and importlib.util.find_spec("peft") is None:
            continue
        # Nothing is resumed here, and a checkpoint is 1.6 GB.
        one = ("--warm-start-from", str(start), "--save-every", "2")
        out = _train(where, name, *SHORT, *one, *words)
        steps = Run(out).read_metrics("rl")
        sane = all(math.isfinite(step["loss"]) for step in steps) and len(steps) == 2
        figures.append(Figure(f"{name}: two steps with finite losses", sane, "==", True))
        moved = any(step["grad_norm"] for step in steps)
        figures.append(Figure(f"{name}: the weights move", moved, "==", True))
    return figures


def sharded(where: Where) -> list[Figure]:
    """Block 7: the FSDP and ZeRO-3 configurations with one process: train, resume, evaluate."""
    if where.device == "cpu":
        raise SkipBlockError("FSDP and ZeRO-3 need an accelerator")
    figures = []
    for name in ("fsdp", "deepspeed"):
        if name == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
            figures.append(Figure("deepspeed is installed", 0))
            continue
        out = where.folder / name
        launcher = ["-m", "accelerate.commands.launch", "--config_file"]
        launcher += [f"runs/configs/{name}.yaml", "--num_processes", "1", "-m", "torl"]
        train = ["train", "--out", str(out), "--model", where.model, *SHORT]
        _run(where, train, *launcher)
        _run(where, ["train", "--out", str(out), "--resume"], *launcher)
        _run(where, ["eval", "--model", str(out), "--count", "8", "--out", str(out / "e.jsonl")])
        figures.append(Figure(f"{name}: trained, resumed, evaluated", 1, "==", 1))
    return figures


def scale(where: Where) -> list[Figure]:
    """Block 8: 256 rows of up to 2,048 tokens through a model of 1.5B's shape, 5 % loops."""
    from benchmarks.acceptance.scale import one_step

    return one_step(where)


def throughput(where: Where) -> list[Figure]:
    """Block 9: step time beside TRL's own loop, and tokens a second."""
    words = ["--out", str(where.folder), "--parts", "training", "--model", where.model]
    _run(where, words, "-m", "benchmarks.performance.record")
    found = json.loads((where.folder / "training.json").read_text())["training"]
    figures = [Figure(name, value) for name, value in found.items()]
    for side, seconds in (("ours", "step of ours: s"), ("TRL", "step of TRL's tool loop: s")):
        rate = found[f"sampled tokens, {side}"] / found[seconds]
        figures.append(Figure(f"sampled tokens a second of a whole step, {side}", rate))
    return figures
