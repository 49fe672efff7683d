"""Episodes an hour where sampling and learning overlap, against where they take turns.

    python -m benchmarks.performance.asynchrony --out runs/records

A small random model learns to look something up and then to answer, until it has learned it. The
tool takes its time, as one does that asks a service over a network: half of a step is then
sampling, and hardly any of that is CPU. How long it takes is measured first, as the time that a
step of learning takes here. Both sides have the same seeds, problems, model and settings, and take
turns; the only difference is `staleness`.

Rewards are compared in three ways. At equal steps over the whole training, where the overlapping
side is K steps behind by construction: what is learned from in step t was sampled with the weights
of step t - K. With it moved by these K steps, so that both had as many updates. And over the last
third, when both have learned what there is. Writes asynchrony.json, .md, .csv and .png. Of a run
the first step is left out on both sides: it starts the sampler's process.
"""

import csv
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.core.rollout.stream import Stream
from agents.core.run.folder import Run
from agents.core.run.provenance import commit, versions
from agents.core.run.storage import replacing, write_json, write_text
from agents.core.trainer.options import Training
from agents.core.types import Sampling
from benchmarks.performance.measuring import say
from benchmarks.report.plots import BLUE, ORANGE, picture, plain
from benchmarks.report.tables import Table
from rewards import Attempt
from torl_env import ToRLMathVectorEnv
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

QUESTION = "What is 6*7?"
CALL = '<tool_call>\n{"name": "look_up", "arguments": {"what": "6*7"}}\n</tool_call>'
TARGET = 1.4
"""Times as many episodes an hour as without overlap."""
T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t for an interval of 95 % of so many values."""


@dataclass(frozen=True, slots=True)
class Options:
    """Measure and write a record."""

    out: Path
    """Folder of the record."""
    seeds: int = 3
    staleness: int = 1
    steps: int = 60
    prompts: int = 2
    group: int = 8
    epochs: int = 2
    """Passes over a batch, so that learning takes longer than sampling without its waits."""
    hidden: int = 64
    """Width of the model."""
    layers: int = 2
    learning_rate: float = 6e-4
    call: float = 0.0
    """Seconds that a call takes; 0 is what a step of learning takes here."""
    calibration: int = 5
    """Steps of which the time of learning is the median."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A training."""

    staleness: int
    seed: int
    episodes_an_hour: float
    """Without the first step."""
    sampling_share: float
    """Of its time, what the learner waits for samples."""
    step: float
    """Seconds, the median."""
    learning: float
    """Of which it learns."""
    at_once: float
    """Seconds of sampling and of learning in a second of its time: what overlap gains over turns
    by the training's own clocks, whatever else the machine did at the time."""
    staleness_mean: float
    reward: tuple[float, ...]
    """Of each step."""


class Clock:
    """Notes when each step ends."""

    interrupted = False

    def __init__(self) -> None:
        self.ends: list[float] = []

    def advance(self, count: int = 1, **numbers: float) -> None:
        """A step has ended."""
        self.ends.append(time.perf_counter())


def looked_up_and_right(attempt: Attempt) -> float:
    """1 for a right answer after a call, else -1."""
    worked = attempt.tool_calls == 1 and not attempt.tool_errors
    return 1.0 if worked and str(attempt.verdict) == "correct" else -1.0


def parts(options: Options, seconds: float) -> tuple[Any, ...]:
    """Policy, prompt, environments and sampling: the same in both processes."""
    from agents.core.policies.transformers import TransformersPolicy
    from agents.core.rollout.prompts import PlainPrompt
    from agents.core.testing.tiny import phrase_tokenizer, tiny_model

    def look_up(what: str) -> str:
        """Ask a service that is far away."""
        time.sleep(seconds)
        return "42"

    # A whole call is one id, so that a random model makes some at once.
    tokenizer = phrase_tokenizer(("Let me see. ", CALL, "\n\\boxed{42}", "\n\\boxed{41}"))
    torch.manual_seed(0)
    model = tiny_model(tokenizer, options.hidden, options.layers)

    def envs(problems: Sequence[Problem], group_size: int) -> ToRLMathVectorEnv:
        return ToRLMathVectorEnv(
            num_envs=len(problems) * group_size,
            problems=Listed("batch", list(problems)),
            autoreset_mode="Disabled",
            tool_budget=1,
            tools=(look_up,),
            parser="hermes",
            reward=looked_up_and_right,
        )

    prompt = PlainPrompt(tokenizer, "{question}")
    return TransformersPolicy(model, tokenizer), prompt, envs, Sampling(max_tokens=10)


def stream(options: Options, seconds: float) -> Stream:
    """What samples in the other process."""
    return Stream(*parts(options, seconds))


def train(
    options: Options, folder: Path, *, seconds: float, seed: int, staleness: int, steps: int
) -> Trained:
    """One training, in which a call takes so many seconds."""
    from agents.core.rollout.engine import Rollout
    from agents.core.testing.tiny import tiny_model
    from agents.core.trainer.async_sampler import AsyncSampler, layout_of
    from agents.core.trainer.trainer import RLTrainer
    from agents.core.trainer.weight_sync import CopySampler
    from agents.grpo import GRPO

    policy, prompt, envs, sampling = parts(options, seconds)
    # Where they take turns a call that is out holds up no other row either: the fair rival.
    sampler: Any = CopySampler(Rollout(policy, prompt, envs, sampling, overlap=True), policy.model)
    if staleness:
        made = partial(stream, options, seconds)
        sampler = AsyncSampler(sampler, made, layout_of(policy.model), threads=1)
    torch.manual_seed(0)
    run, clock = Run(folder), Clock()
    trainer = RLTrainer(
        model=tiny_model(policy.tokenizer, options.hidden, options.layers),
        tokenizer=policy.tokenizer,
        algorithm=GRPO(),
        training=Training(
            steps=steps,
            prompts_per_step=options.prompts,
            group_size=options.group,
            micro_batch=16,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            max_tokens=10,
            save_every=10_000,
            transcripts=0,
            dtype="float32",
            seed=seed,
            staleness=staleness,
        ),
        problems=[Problem(f"p{i}", f"{QUESTION} ({i})", "42") for i in range(64)]
        * (1 + steps * options.prompts // 64),
        sampler=sampler,
        run=run,
        progress=clock,
    )
    trainer.train()
    waits = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()][1:]
    metrics = run.read_metrics("rl")
    steps_seconds = [after - before for before, after in pairwise(clock.ends)]
    learning = [s - w["rollout"] for s, w in zip(steps_seconds, waits, strict=True)]
    total, idle = sum(steps_seconds), sum(m.get("sampler_wait", 0.0) for m in metrics[1:])
    return Trained(
        staleness=staleness,
        seed=seed,
        episodes_an_hour=3600 * len(steps_seconds) * options.prompts * options.group / total,
        sampling_share=1 - sum(learning) / total,
        step=statistics.median(steps_seconds),
        learning=statistics.median(learning),
        at_once=(total + sum(learning) - idle) / total if staleness else 1.0,
        staleness_mean=statistics.mean(m.get("staleness_mean", 0.0) for m in metrics),
        reward=tuple(m["reward"] for m in metrics),
    )


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval over seeds."""
    mean = statistics.mean(values)
    half = T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def measure(options: Options) -> tuple[float, list[Trained]]:
    """Seconds that a call takes, and all trainings."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # All calls of a step are out at once, so that sampling one takes what a call takes.
        seconds = options.call or train(
            *(options, place / "calibration"),
            seconds=0.1, seed=99, staleness=0, steps=options.calibration + 1,
        ).learning  # fmt: skip
        say(f"a call takes {seconds:.2f} s")
        made = []
        for seed in range(options.seeds):
            sides = (0, options.staleness)
            for staleness in sides if seed % 2 == 0 else sides[::-1]:
                one = train(
                    *(options, place / f"{staleness}-{seed}"),
                    seconds=seconds, seed=seed, staleness=staleness, steps=options.steps,
                )  # fmt: skip
                say(
                    f"seed {seed}, staleness {staleness}: {one.episodes_an_hour:,.0f} episodes/h, "
                    f"{one.step:.2f} s a step, reward {one.reward[-1]:.2f}"
                )
                made.append(one)
    return seconds, made


def write(options: Options, seconds: float, made: Sequence[Trained]) -> None:
    """The record's files."""
    sides = {
        name: sorted((t for t in made if bool(t.staleness) is overlaps), key=lambda t: t.seed)
        for name, overlaps in (("in turns", False), ("overlapping", True))
    }
    pairs = list(zip(*sides.values(), strict=True))
    ratios = [b.episodes_an_hour / a.episodes_an_hour for a, b in pairs]
    at_once = [b.at_once for _, b in pairs]
    # The mean over all steps is what a curve says in one number, and the last third its end.
    areas = {name: [statistics.mean(t.reward) for t in some] for name, some in sides.items()}
    last, lag = max(1, options.steps // 3), options.staleness
    ends = {name: [statistics.mean(t.reward[-last:]) for t in s] for name, s in sides.items()}
    gaps = {
        "of all steps": [b - a for a, b in zip(*areas.values(), strict=True)],
        f"of all steps, overlapping against {lag} before": [
            statistics.mean(b.reward[lag:]) - statistics.mean(a.reward[:-lag]) for a, b in pairs
        ],
        f"of the last {last} steps": [b - a for a, b in zip(*ends.values(), strict=True)],
    }
    record = {
        "options": {**asdict(options), "out": ""},
        "a call takes, s": seconds,
        "episodes an hour, overlapping over in turns": dict(
            zip(("mean", "low", "high"), interval(ratios), strict=True)
        )
        | {"by seed": ratios, "target": TARGET},
        "seconds of work in a second, overlapping": dict(
            zip(("mean", "low", "high"), interval(at_once), strict=True)
        ),
        "mean reward, overlapping minus in turns": {
            name: dict(zip(("mean", "low", "high"), interval(some), strict=True))
            for name, some in gaps.items()
        },
        "trainings": [asdict(t) for t in made],
        "commit": commit(),
        "versions": versions(),
    }
    write_json(options.out / "asynchrony.json", record)
    rows = tuple(
        (
            name,
            f"{statistics.mean(t.episodes_an_hour for t in some):,.0f}",
            f"{statistics.median(t.step for t in some):.2f}",
            f"{statistics.median(t.learning for t in some):.2f}",
            f"{100 * statistics.mean(t.sampling_share for t in some):.0f} %",
            f"{statistics.mean(t.staleness_mean for t in some):.2f}",
            _told(areas[name]),
            _told(ends[name]),
        )
        for name, some in sides.items()
    )
    header = (
        *("sampling and learning", "episodes/h", "s a step", "s of learning", "waiting"),
        *("mean staleness", "mean reward of all steps", f"of the last {last}"),
    )
    table = Table("Overlap", header, rows)
    mean, low, high = interval(ratios)
    apart = "; ".join(f"{name} {_told(some, '+.3f')}" for name, some in gaps.items())
    text = (
        f"# Sampling while learning\n\n{table.markdown()}\n\n"
        f"Episodes an hour, overlapping over in turns: {mean:.2f} [{low:.2f}, {high:.2f}] over "
        f"{len(ratios)} seeds ({', '.join(f'{r:.2f}' for r in ratios)}); asked for: {TARGET}. "
        "Other work moved what a step takes from one training to the next, so the overlapping "
        "ones' own clocks say more: of each second the processes sampled and learned for "
        f"{_told(at_once)} seconds together, where in turns it is 1.\n\nMean reward, overlapping "
        f"minus in turns: {apart}. Intervals of 95 % over seeds.\n\n"
        f"A random model of {options.layers} layers of width {options.hidden} learns to call a "
        f"tool once and then to answer; a call takes {seconds:.2f} s, as a service over a network "
        "may, and uses no CPU meanwhile: most of sampling is that. "
        f"{options.prompts} problems of {options.group} "
        f"samples a step, {options.epochs} passes over them, {options.steps} steps, staleness "
        f"{options.staleness}, one thread for each of the two processes on "
        f"{len(os.sched_getaffinity(0))} of the machine's cores; the first step "
        "of each training is left out. Other work shared the cores.\n\n"
        f"`python -m benchmarks.performance.asynchrony --out runs/records --call {seconds:.2g}`\n"
    )
    write_text(options.out / "asynchrony.md", text)
    with replacing(options.out / "asynchrony.csv") as scratch, scratch.open("w") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("staleness", "seed", "step", "reward"))
        lines.writerows(
            (t.staleness, t.seed, i, r) for t in made for i, r in enumerate(t.reward, 1)
        )
    _draw(options, sides)


def _told(values: Sequence[float], form: str = ".2f") -> str:
    mean, low, high = interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def _draw(options: Options, sides: dict[str, list[Trained]]) -> None:
    """Reward over steps and over hours, each with the range of its seeds."""
    with picture(options.out / "asynchrony.png", 10, 3.8) as figure:
        over_steps, over_time = figure.subplots(1, 2)
        for (name, some), colour, dash in zip(
            sides.items(), (BLUE, ORANGE), ("-", "--"), strict=True
        ):
            columns = list(zip(*(t.reward for t in some), strict=True))
            middle = [statistics.mean(column) for column in columns]
            low, high = [min(c) for c in columns], [max(c) for c in columns]
            step = statistics.mean(t.step for t in some)
            axis = [range(1, len(middle) + 1), [step * i for i in range(1, len(middle) + 1)]]
            for axes, x in zip((over_steps, over_time), axis, strict=True):
                axes.plot(x, middle, color=colour, linestyle=dash, linewidth=1.8, label=name)
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        plain(over_steps, "Reward of the batch, by steps")
        plain(over_time, "By seconds of training")
        over_steps.set_xlabel("steps; bands: lowest to highest seed")
        over_time.set_xlabel("seconds, at the median of its steps")
        over_steps.legend(frameon=False, fontsize=8, handlelength=3)


def main(options: Options) -> None:
    """Measure and write."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    write(options, *measure(options))
    print((options.out / "asynchrony.md").read_text())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
