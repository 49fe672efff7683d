"""Tree rollouts beside independent samples: what they cost, and how they learn.

    python runs/trees.py OUT [--parts cost loss curve] [--seeds 0 1 2] [--sampled 12000]

A tiny random model writes whole phrases, in one interpreter that keeps its variables: the program
that prints the answer uses what an earlier one has set. It first imitates a few such episodes.

`cost` counts, for the same number of answers, the ids that were sampled and those that the loss
reads, of trees and of independent samples; `loss` times that loss with shared beginnings read once
and without; `curve` trains from there at equal sampled ids, over three seeds, paid only for right
answers that a program has printed. A step of each method has about as many sampled ids, so trees
have more problems in it (`--prompts` gives all as many). Before each step the weights answer 32
times, each alone, which is what the curve shows; those ids are not counted.

The programs are seven fixed phrases, so they run in this process unless --sandbox says otherwise.

Writes OUT/trees.json, OUT/trees.md and OUT/trees.png. Complete runs are not made again. One thread.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from tree_loss import loss_seconds

from agents.core.rollout.tree_rules import Tree, read_tree
from agents.core.rollout.trees import collect_trees
from agents.core.run.folder import Run
from agents.core.run.provenance import versions
from agents.core.run.storage import write_text
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling, Trajectory
from agents.grpo import GRPO
from benchmarks.report.plots import COLOURS, picture, plain
from rewards import Attempt, Reward, Verdict
from torl_env.problems.types import Problem

SEEDS = (0, 1, 2)
PHRASES = (
    "Let me see. ",
    "\n```python\nx = 6\n```",
    "\n```python\ny = x + 1\n```",
    "\n```python\nprint(x * y)\n```",
    "\n```python\nprint(x + y)\n```",
    "\nIt is \\boxed{42}.",
    "\nIt is \\boxed{13}.",
)
THOUGHT, FIRST, SECOND, PRINT, WRONG, ANSWER, OTHER = range(2, 2 + len(PHRASES))
OUTPUT, END = 1, 0
"""Ids of the tokenizer: any other text is one id, and the end."""
TOKENS = 24
GROUP = 15
"""Three trees of TreeRL with two places and two paths each."""
LEARNERS: Mapping[str, tuple[GRPO, int]] = {
    "GRPO": (GRPO(), 3),
    "ARPO": (GRPO(tree="arpo"), 4),
    "TreeRL": (GRPO(tree="treerl(margin=1)", baseline="subtree"), 4),
    "TreePO": (GRPO(tree="treepo(segment=2)", baseline="ancestors"), 5),
}
"""And the groups of a step, so that each samples some 300 ids in its first."""
PARTS = ("cost", "loss", "curve")
COSTS = (
    "arpo",
    "arpo(start=0.25)",
    "arpo(start=0.125)",
    "aepo",
    "treerl(margin=1)",
    "treerl(places=7, margin=1)",
    "treepo(segment=2)",
    "treepo(segment=3)",
)
TIMED = ("alone", "arpo", "arpo(start=0.125)", "treerl(margin=1)", "treepo(segment=2)")
"""Of which the loss is timed."""


ABOUT = """`python runs/trees.py OUT --sampled {sampled} --rate {rate:g}`, sandbox `{sandbox}`,
float32 on a CPU.

Cost: groups of 16 answers (15 for `treerl`, a multiple of its trees), 8 groups of each of 3 seeds,
from a tiny model that has imitated episodes of three calls. `arpo`, `aepo` and `treerl` have their
papers' settings but for the margin; segments of TreePO are short as the episodes are. What the loss
reads are ids of prompt and answer where rows share beginnings of at least 8 ids.

Loss: CPU seconds, forward and backward, of one group of 15 in which each id stands for 8 and the
prompt for 32, in a model of width 256; the better of two turns.

Curve: reward of 32 answers sampled alone before each step, the first time, in the last fifth, and
the mean over sampled ids. A small toy: it says whether trees learn, not whether they pay."""


def worked_out(attempt: Attempt) -> float:
    """1 where the answer is right and a program printed it."""
    printed = "```output\n42\n```" in attempt.response
    return float(printed and attempt.verdict is Verdict.CORRECT)


def imitated() -> list[Any]:
    """Episodes of several calls, of which one in eight ends well."""
    from agents.sft import Trace

    found = []
    for i in range(16):
        last = (PRINT, WRONG, WRONG, WRONG)[i % 4]
        answer = (ANSWER, OTHER)[i // 4 % 2]
        calls = (FIRST, OUTPUT, SECOND, OUTPUT, last, OUTPUT)
        ids = (*(THOUGHT,) * (i % 3), *calls, answer, END)
        found.append(Trace((1,), ids, tuple(int(k != OUTPUT) for k in ids), ""))
    return found


def start(seed: int, folder: Path) -> tuple[Any, Any, Any]:
    """A model that has imitated, a copy of it to sample from, and the tokenizer."""
    import torch

    from agents.core.testing.tiny import phrase_tokenizer, tiny_model
    from agents.sft import SFT, train_sft

    tokenizer = phrase_tokenizer(PHRASES)
    torch.manual_seed(seed)
    model, copy = tiny_model(tokenizer), tiny_model(tokenizer)
    how = SFT(epochs=12, batch=8, micro_batch=8, learning_rate=0.01)
    train_sft(model, tokenizer, imitated(), how, Run(folder), seed=seed, dtype="float32")
    copy.load_state_dict(model.state_dict())
    return model, copy, tokenizer


def engine(copy: Any, tokenizer: Any, sandbox: Any, *, keep_states: bool) -> Any:
    """Episodes in one interpreter with at most five calls."""
    from agents.core.policies.transformers import TransformersPolicy
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import PlainPrompt
    from torl.wiring import envs_over

    pays = Reward("worked out", {"worked_out": worked_out})
    return Rollout(
        TransformersPolicy(copy, tokenizer),
        PlainPrompt(tokenizer, "{question}"),
        envs_over(sandbox=sandbox, tool_budget=5, stateful=True, reward=pays),
        Sampling(max_tokens=TOKENS, entropies=True),
        keep_states=keep_states,
    )


def sampled(rows: Sequence[Trajectory]) -> int:
    """Ids that the policy wrote, shared ones once."""
    return sum(sum(t.loss_mask[t.shared :]) for t in rows)


def read_by_the_loss(rows: Sequence[Trajectory]) -> int:
    """Ids that the trunk reads where rows of a pass share their beginnings."""
    from agents.core.trainer.prefix_sharing import Tree as Packed

    return len(Packed.of([[*t.prompt_ids, *t.ids] for t in rows]).ids)


class Counting(CopySampler):
    """Ends a training after so many sampled ids; tells what the weights do before each batch."""

    def __init__(self, rollout: Any, copy: Any, limit: int) -> None:
        super().__init__(rollout, copy)
        self.limit, self.ids = limit, 0
        self.curve: list[tuple[int, float]] = []

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> Any:
        """See `Sampler`."""
        alone = self.evaluating(Sampling(max_tokens=TOKENS))
        rewards = [t.reward for t in alone.collect(problems[:1], 32, seed + 1)]
        self.curve.append((self.ids, mean(rewards)))
        if self.ids >= self.limit:
            raise EnoughError
        rows = super().collect(problems, group_size, seed)
        self.ids += sampled(rows)
        return rows

    def branch(self, points: Any, samples: int, seed: int, *, to_end: bool = False) -> Any:
        """See `Brancher`."""
        rows = super().branch(points, samples, seed, to_end=to_end)
        kept = [point.keep for point in points for _ in range(samples)]
        self.ids += sum(sum(t.loss_mask[k:]) for t, k in zip(rows, kept, strict=True))
        return rows


class EnoughError(Exception):
    """So many ids have been sampled."""


def train(
    algorithm: GRPO, groups: int, seed: int, sandbox: Any, folder: Path, limit: int, rate: float
) -> dict[str, Any]:
    """The curve of one training, of so many groups a step."""
    from agents.core.trainer.options import Training
    from agents.core.trainer.trainer import RLTrainer

    model, copy, tokenizer = start(seed, folder / "sft")
    rollout = engine(copy, tokenizer, sandbox, keep_states=algorithm.needs_states)
    sampler = Counting(rollout, copy, limit)
    steps = 300
    trainer = RLTrainer(
        model=model,
        tokenizer=tokenizer,
        algorithm=algorithm,
        training=Training(
            steps=steps, prompts_per_step=groups, group_size=GROUP, micro_batch=groups * GROUP,
            learning_rate=rate, max_tokens=TOKENS, save_every=steps, transcripts=0,
            dtype="float32", seed=seed,
        ),
        problems=[Problem(f"p{i}", "What is 6*7?", "42") for i in range(steps * groups)],
        sampler=sampler,
        run=Run(folder / "rl"),
    )  # fmt: skip
    with contextlib.suppress(EnoughError):
        trainer.train()
    return {"curve": sampler.curve, "ids": sampler.ids, "steps": len(sampler.curve) - 1}


def costs(sandbox: Any, folder: Path) -> list[dict[str, Any]]:
    """Ids for eight groups of each seed, in trees and alone."""
    problems = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(8)]
    found = []
    for seed in SEEDS:
        _, copy, tokenizer = start(seed, folder / f"cost-{seed}")
        rollout = engine(copy, tokenizer, sandbox, keep_states=True)
        sampler = CopySampler(rollout, copy)
        for name in ("alone", *COSTS):
            tree: Tree | None = None if name == "alone" else read_tree(name)
            size = GROUP if "treerl" in name else 16
            rollout.forget()
            rows = (
                rollout.collect(problems, size, seed)
                if tree is None
                else collect_trees(sampler, problems, size, seed, tree)
            )
            groups = [rows[i : i + size] for i in range(0, len(rows), size)]
            found.append(
                {
                    "tree": name, "seed": seed, "answers": len(rows),
                    "sampled": sampled(rows), "calls": mean(t.tool_calls for t in rows),
                    "branches": sum(t.parent >= 0 for t in rows),
                    "kinds": mean(len({tuple(t.ids) for t in group}) / size for group in groups),
                    "read": sum(map(read_by_the_loss, groups)),
                    "ids": sum(len(t.ids) + len(t.prompt_ids) for t in rows),
                }
            )  # fmt: skip
    return found


def losses(sandbox: Any, folder: Path) -> list[dict[str, Any]]:
    """The time of the loss over a group of each kind."""
    _, copy, tokenizer = start(0, folder / "loss")
    rollout = engine(copy, tokenizer, sandbox, keep_states=True)
    problems = [Problem("p0", "What is 6*7?", "42")]
    found = []
    for name in TIMED:
        tree = None if name == "alone" else read_tree(name)
        rows = (
            rollout.collect(problems, GROUP, 0)
            if tree is None
            else collect_trees(CopySampler(rollout, copy), problems, GROUP, 0, tree)
        )
        once, padded = loss_seconds(rows, tokenizer)
        found.append({"tree": name, "once": once, "padded": padded})
    return found


def table(record: Mapping[str, Any]) -> str:
    """The record for a person to read."""
    lines = ["# Trees beside independent samples", "", ABOUT.format(**record["settings"]), ""]
    if rows := record["cost"]:
        lines += [
            "| tree | sampled ids an answer | of independent ones | the loss reads an answer "
            "| different answers | calls an answer |",
            "|---|---|---|---|---|---|",
        ]
        base = each([r for r in rows if r["tree"] == "alone"], "sampled")
        for name in dict.fromkeys(r["tree"] for r in rows):
            some = [r for r in rows if r["tree"] == name]
            kinds, calls = mean(r["kinds"] for r in some), mean(r["calls"] for r in some)
            lines.append(
                f"| `{name}` | {each(some, 'sampled'):.2f} | {each(some, 'sampled') / base:.2f} | "
                f"{each(some, 'read'):.2f} | {kinds:.2f} | {calls:.2f} |"
            )
    if rows := record["loss"]:
        lines += [
            "",
            "| tree | loss of a group, shared beginnings read once, s | of the same rows padded, s "
            "| ratio | of independent ones |",
            "|---|---|---|---|---|",
        ]
    for r in rows:
        ratio, others = r["once"] / r["padded"], r["once"] / rows[0]["once"]
        lines.append(
            f"| `{r['tree']}` | {r['once']:.2f} | {r['padded']:.2f} | {ratio:.2f} | {others:.2f} |"
        )
    if record["curve"]:
        lines += ["", "| method | seed | steps | sampled ids | first | last fifth | mean |"]
        lines.append("|---|---|---|---|---|---|---|")
    for name, seeds in record["curve"].items():
        for seed, run in seeds.items():
            values = [v for _, v in run["curve"]]
            last = mean(values[-max(1, len(values) // 5) :])
            lines.append(
                f"| {name} | {seed} | {run['steps']} | {run['ids']} | {values[0]:.2f} | "
                f"{last:.2f} | {area(run['curve']):.2f} |"
            )
    return "\n".join(lines) + "\n"


def each(rows: Sequence[Mapping[str, Any]], what: str) -> float:
    """Of an answer, over all rows."""
    return sum(r[what] for r in rows) / sum(r["answers"] for r in rows)


def area(curve: Sequence[Sequence[float]]) -> float:
    """Mean of a curve over sampled ids."""
    total = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))
    return total / (curve[-1][0] - curve[0][0])


def draw(record: Mapping[str, Any], png: Path) -> None:
    """Each seed as a thin line, their mean as a thick one."""
    import numpy as np

    with picture(png, 7, 4) as figure:
        axes = figure.subplots()
        for (name, seeds), colour in zip(record["curve"].items(), COLOURS, strict=False):
            curves = [np.array(run["curve"]) for run in seeds.values()]
            grid = np.linspace(0, min(c[-1, 0] for c in curves), 60)
            values = [np.interp(grid, c[:, 0], c[:, 1]) for c in curves]
            for one in values:
                axes.plot(grid, one, color=colour, linewidth=0.6, alpha=0.5)
            axes.plot(grid, np.mean(values, axis=0), color=colour, linewidth=2, label=name)
        plain(axes, f"Reward of answers sampled alone, {len(SEEDS)} seeds")
        axes.set_xlabel("sampled ids")
        axes.legend(frameon=False)


def main() -> int:
    """See the first lines of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--sampled", type=int, default=12_000, help="ids of a training")
    parser.add_argument("--rate", type=float, default=0.003, help="learning rate")
    parser.add_argument("--prompts", type=int, help="groups of a step, of every method")
    parser.add_argument("--sandbox", default="unsafe", help="or local")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    import torch

    from torl_env.sandbox import open_sandbox

    torch.set_num_threads(1)
    about = {
        "sandbox": asked.sandbox,
        "sampled": asked.sampled,
        "rate": asked.rate,
        "versions": versions(),
    }
    record: dict[str, Any] = {"settings": about, "cost": [], "loss": [], "curve": {}}
    with open_sandbox(asked.sandbox) as sandbox:
        if "cost" in asked.parts:
            record["cost"] = kept(asked.out / "cost.json", lambda: costs(sandbox, asked.out))
        if "loss" in asked.parts:
            record["loss"] = kept(asked.out / "loss.json", lambda: losses(sandbox, asked.out))
        for seed in asked.seeds if "curve" in asked.parts else ():
            for name, (algorithm, groups) in LEARNERS.items():
                run = asked.out / f"{name}-{seed}"
                made = kept(
                    run.with_suffix(".json"),
                    lambda a=algorithm, g=asked.prompts or groups, s=seed, r=run: train(  # type: ignore[misc]
                        a, g, s, sandbox, r, asked.sampled, asked.rate
                    ),
                )
                record["curve"].setdefault(name, {})[str(seed)] = made
                print(name, seed, made["steps"], made["curve"][-1], flush=True)
    write_text(asked.out / "trees.json", json.dumps(record) + "\n")
    write_text(asked.out / "trees.md", table(record))
    if record["curve"]:
        draw(record, asked.out / "trees.png")
    print((asked.out / "trees.md").read_text())
    return 0


def kept(file: Path, make: Any) -> Any:
    """What is on file, or what is made and then is."""
    if not file.is_file():
        write_text(file, json.dumps(make()))
    return json.loads(file.read_text())


if __name__ == "__main__":
    sys.exit(main())
