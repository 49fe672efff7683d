"""TRL's own tool loop and ours on the same work: the same curve, and the time of each.

    python runs/peer_trl.py OUT [--seeds 0 1 2] [--steps 12]

Both begin with the same weights, SmolLM2-135M after it has imitated some calls in the form that
TRL's loop reads (Hermes, in the model's chat template). Both have the same prompts, set of
problems, reward, sizes and settings (`agents.core.trainer.trl_config`), C = 1, and both ends are
evaluated greedily by our rollout engine on the same held-out problems. What differs is who runs
the episodes: `GRPOTrainer` with `torl_env.adapters.trl`, or `RLTrainer` with our engine.

Each training has a process of its own; what is complete is not made again. Writes OUT/peer.json,
OUT/peer.md and OUT/peer.png.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from agents.core.run.provenance import commit, versions
from agents.core.run.storage import read_json, write_text
from agents.core.trainer.options import Training
from agents.core.types import Sampling
from agents.sft.traces import Trace
from benchmarks.heldout.records import different
from benchmarks.heldout.statistics import Estimate, mean, wilson
from benchmarks.performance.forced import TemplatePrompt
from benchmarks.performance.training import python_schema
from benchmarks.report.plots import BLUE, DASHES, ORANGE, errors, percent, picture, plain
from benchmarks.report.tables import Table, number
from benchmarks.report.tables import percent as shown
from torl.wiring import Collecting, envs_over
from torl_env import ToRLMathEnv
from torl_env.problems import load
from torl_env.problems.procedural import worked
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox import LocalSandbox, Sandbox

PROBLEMS = "procedural:easy:L2-3"
TRACES, EPOCHS, HELDOUT, TOKENS = 80, 2, 128, 160
ROWS, MICRO_BATCH = 32, 4
"""Answers at a time in evaluation, and of a pass in training."""
SIDES = ("ours", "trl")


def main() -> int:
    """Make what is missing, then write table and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="smollm2", help="its tokens are those of ChatML")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        Work(asked).make(asked.one)
        return 0
    names = ["start", *(f"{side}-{seed}" for seed in asked.seeds for side in SIDES)]
    for name in names:
        if not complete(asked, name):
            subprocess.run([sys.executable, *sys.argv, "--one", name], check=True)
        if name != "start":
            write(asked.out, asked.seeds)
    print((asked.out / "peer.md").read_text())
    return 0


def complete(asked: argparse.Namespace, name: str) -> bool:
    """Whether a training is there.

    Raises:
        SystemExit: It is, with other settings.
    """
    file = asked.out / f"{name}.json"
    if not file.is_file():
        return False
    if other := different(read_json(file)["settings"], settings(asked, name)):
        sys.exit(f"{file} was made with other settings: {'; '.join(other)}; choose a new OUT")
    return True


def settings(asked: argparse.Namespace, name: str) -> dict[str, Any]:
    """What a run was made with; both sides have all of it in common."""
    imitated = {"problems": PROBLEMS, "traces": TRACES, "epochs": EPOCHS, "heldout": HELDOUT}
    found = {"model": asked.model, **imitated, "max_tokens": TOKENS}
    if name == "start":
        return found
    names = ("steps", "prompts", "group", "learning_rate")
    return found | {key: getattr(asked, key) for key in names}


class Work:
    """What both sides are given."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.out = asked, asked.out
        self.start = asked.out / "start"
        needed = asked.steps * asked.prompts
        drawn = load(PROBLEMS).head(TRACES + needed)
        self.traced = [drawn[i] for i in range(TRACES)]
        self.problems = [drawn[TRACES + i] for i in range(needed)]
        heldout = load(PROBLEMS, split="heldout")
        self.heldout = [heldout[i] for i in range(HELDOUT)]

    def make(self, name: str) -> None:
        """One training with the evaluation of its end."""
        from transformers.utils import logging

        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        self.out.mkdir(parents=True, exist_ok=True)
        side, _, seed = name.partition("-")
        made: dict[str, Any] = {}
        with LocalSandbox() as sandbox:
            if side == "start":
                model, tokenizer = self._imitate(sandbox)
            else:
                begun, cpu = time.perf_counter(), time.process_time()
                # What a training that was cut off has left would be counted with this one's.
                shutil.rmtree(self.out / name, ignore_errors=True)
                train = self._ours if side == "ours" else self._trl
                model, tokenizer, made = train(int(seed), sandbox)
                made |= {
                    "seconds": time.perf_counter() - begun,
                    "cpu_seconds": time.process_time() - cpu,
                }
            made["accuracy"] = asdict(self._evaluate(model, tokenizer, sandbox))
        made |= {"settings": settings(self.asked, name), "commit": commit(), "versions": versions()}
        write_text(self.out / f"{name}.json", json.dumps(made, indent=1))

    def _load(self, name: str, dtype: str = "float32") -> tuple[Any, Any]:
        from trl.chat_template_utils import qwen2_5_chat_template

        from agents.core.models import loading

        model, tokenizer = loading.load(name, dtype=dtype)
        tokenizer.chat_template = qwen2_5_chat_template
        return model, tokenizer

    def _imitate(self, sandbox: Sandbox) -> tuple[Any, Any]:
        """Traces with one call each, which TRL's loop would have made in the same ids."""
        from agents.core.run.folder import Run
        from agents.sft import SFT, TraceWriter, save, train_sft

        if self.start.is_dir():
            return self._load(str(self.start))
        model, tokenizer = self._load(self.asked.model)
        env = ToRLMathEnv(
            problems=Listed("warm start", self.traced), sandbox=sandbox, parser="hermes"
        )
        writer = TraceWriter(env, TemplatePrompt(tokenizer, [python_schema()]), tokenizer)
        traces = [
            ending(trace)
            for problem in self.traced
            if (trace := writer.play(problem, turns(problem))) is not None
        ]
        model.train()
        trainer = train_sft(
            model,
            tokenizer,
            traces,
            SFT(epochs=EPOCHS, micro_batch=MICRO_BATCH),
            Run(self.out / "imitation"),
        )
        save(trainer, self.start)
        return self._load(str(self.start))

    def _training(self, seed: int) -> Training:
        return Training(
            steps=self.asked.steps,
            prompts_per_step=self.asked.prompts,
            group_size=self.asked.group,
            learning_rate=self.asked.learning_rate,
            max_tokens=TOKENS,
            micro_batch=MICRO_BATCH,
            save_every=10_000,
            seed=seed,
        )

    def _rollout(self, model: Any, tokenizer: Any, sandbox: Sandbox, temperature: float) -> Any:
        from agents.core.policies.transformers import TransformersPolicy
        from agents.core.rollout.engine import Rollout

        prompt = TemplatePrompt(tokenizer, [python_schema()])
        sampling = Sampling(temperature=temperature, max_tokens=TOKENS)
        envs = envs_over(parser="hermes", sandbox=sandbox)
        return Rollout(TransformersPolicy(model, tokenizer), prompt, envs, sampling)

    def _ours(self, seed: int, sandbox: Sandbox) -> tuple[Any, Any, dict[str, Any]]:
        from agents.core.run.folder import Run
        from agents.core.trainer.trainer import RLTrainer
        from agents.core.trainer.weight_sync import CopySampler
        from agents.grpo import GRPO

        model, tokenizer = self._load(str(self.start))
        copy, _ = self._load(str(self.start), "auto")
        run = Run(self.out / f"ours-{seed}")
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=GRPO(),
            training=self._training(seed),
            problems=self.problems,
            sampler=CopySampler(self._rollout(copy, tokenizer, sandbox, 1.0), copy),
            run=run,
        )
        trainer.train()
        return model, tokenizer, {}  # rewards and lengths stand in the run's metrics

    def _trl(self, seed: int, sandbox: Sandbox) -> tuple[Any, Any, dict[str, Any]]:
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import GRPOTrainer

        from agents.core.trainer.trl_config import trl_config
        from agents.grpo import GRPO
        from torl_env.adapters.trl import answer_reward, environment_factory, rows

        model, tokenizer = self._load(str(self.start))
        args = trl_config(GRPO(), self._training(seed), self.out / f"trl-{seed}")
        args.max_tool_calling_iterations = 1
        args.save_strategy = "no"
        problems = Listed("trl", self.problems)
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows(problems)),
            environment_factory=environment_factory(problems, sandbox=sandbox, tool_budget=1),
            reward_funcs=answer_reward,
            args=args,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        logged = [row for row in trainer.state.log_history if "reward" in row]
        names = {"rewards": "reward", "lengths": "completions/mean_length"}
        made = {name: [row[theirs] for row in logged] for name, theirs in names.items()}
        return model, tokenizer, made

    def _evaluate(self, model: Any, tokenizer: Any, sandbox: Sandbox) -> Estimate:
        model.eval()
        collect = Collecting(self._rollout(model, tokenizer, sandbox, 0.0), ROWS)
        found = list(collect(self.heldout, 1, seed=0))
        scored = [one for one in found if one.scorable]
        return wilson(sum(one.correct for one in scored), len(scored))


def turns(problem: Problem) -> list[str]:
    """A plan, a call in Hermes form, and the answer that it printed."""
    solution = worked(problem)
    call = json.dumps({"name": "python", "arguments": {"code": solution.code}})
    return [
        f"I will use Python to {solution.plan}.\n<tool_call>\n{call}\n</tool_call>",
        f"The answer is \\boxed{{{problem.answer}}}.",
    ]


def ending(trace: Trace) -> Trace:
    """The same trace, its end-of-turn id behind a call learned too: TRL's loop waits for it."""
    mask = list(trace.loss_mask)
    for at in range(1, len(mask)):
        if trace.loss_mask[at - 1] and not trace.loss_mask[at]:
            mask[at] = 1
    return replace(trace, loss_mask=mask)


def write(out: Path, seeds: Sequence[int]) -> None:
    """Table, plot and record of the runs that are complete."""
    begun = read_json(out / "start.json")
    start = Estimate(**begun["accuracy"])
    made = {
        side: {
            seed: _read(out, side, seed)
            for seed in seeds
            if (out / f"{side}-{seed}.json").is_file()
        }
        for side in SIDES
    }
    common = next(one["settings"] for side in SIDES for one in made[side].values())
    answers = common["prompts"] * common["group"]
    rows = [
        (
            {"ours": "this project", "trl": "TRL's own loop"}[side],
            str(seed),
            shown(start),
            shown(Estimate(**one["accuracy"])),
            " ".join(f"{reward:.2f}" for reward in one["rewards"]),
            f"{answers * sum(one['lengths']) / 1000:.0f}k",
            f"{one['seconds'] / len(one['rewards']):.1f}",
            f"{one['cpu_seconds'] / len(one['rewards']):.1f}",
        )
        for side in SIDES
        for seed, one in made[side].items()
    ]
    head = (
        "loop", "seed", "accuracy before", "after", "mean reward of each step", "tokens",
        "seconds a step", "CPU seconds a step",
    )  # fmt: skip
    said = ", ".join(f"{name} {value}" for name, value in common.items())
    text = [Table("", head, tuple(rows)).markdown(), f"`python runs/peer_trl.py OUT`: {said}.\n"]
    both = [seed for seed in seeds if all(seed in made[side] for side in SIDES)]
    if both:
        costs = [made["trl"][s]["cpu_seconds"] / made["ours"][s]["cpu_seconds"] for s in both]
        text.append(
            f"CPU seconds of TRL's loop over ours, median of {len(both)}: {median(costs):.2f}\n"
        )
        pairs = [
            theirs - mine
            for s in both
            for mine, theirs in zip(
                made["ours"][s]["rewards"], made["trl"][s]["rewards"], strict=True
            )
        ]
        text.append(
            "Reward of TRL's loop minus ours, mean over the steps, which have the same problems: "
            f"{number(mean(pairs, share=False))}\n"
        )
    write_text(out / "peer.md", "\n".join(text))
    write_text(out / "peer.json", json.dumps({"start": begun, **made}, indent=1))
    draw(start, made, out / "peer.png")


def _read(out: Path, side: str, seed: int) -> dict[str, Any]:
    """One training with its rewards and its sampled ids an answer, both means of each step."""
    from agents.core.run.folder import Run

    one: dict[str, Any] = read_json(out / f"{side}-{seed}.json")
    if side == "ours":
        rows = list(Run(out / f"ours-{seed}").read_metrics("rl"))
        one |= {"rewards": [row["reward"] for row in rows]}
        one |= {"lengths": [row["tokens"] for row in rows]}
    return one


def draw(start: Estimate, made: Mapping[str, Mapping[int, Mapping[str, Any]]], png: Path) -> None:
    """Mean reward over steps, and accuracy where it ends, by side and seed."""
    with picture(png, 8, 3.4) as figure:
        curve, ends = figure.subplots(1, 2)
        for place, (side, colour) in enumerate(zip(SIDES, (BLUE, ORANGE), strict=True)):
            for seed, one in made[side].items():
                steps = range(1, len(one["rewards"]) + 1)
                dash = DASHES[seed % len(DASHES)]
                curve.plot(
                    steps, one["rewards"], color=colour, linestyle=dash, label=f"{side} {seed}"
                )
                value = Estimate(**one["accuracy"])
                ends.errorbar(
                    [place + 0.1 * seed], [value.value], yerr=errors([value]), marker="D",
                    capsize=3, color=colour,
                )  # fmt: skip
        ends.axhline(start.value, color="#888888", linestyle=":")
        ends.set_xticks(range(len(SIDES)), SIDES)
        ends.set_ylim(-0.03, 1.03)
        percent(ends.yaxis)
        plain(curve, "Mean reward of a step")
        plain(ends, "Accuracy, held out (dotted: before)")
        curve.set_xlabel("step")
        curve.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    sys.exit(main())
