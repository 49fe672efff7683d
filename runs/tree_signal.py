"""The gradient that trees of `runs/trees.py` give at their start, beside that of independent ones.

    python runs/tree_signal.py OUT [--groups 200] [--seeds 0 1]

A method whose credit is right has the same mean gradient, up to its length, as GRPO over answers
sampled alone: here is the cosine between them, from many groups of one policy that does not change.
How much of a group's gradient is that mean and how much is noise says how large a step it bears:
Adam makes every step as long as the learning rate, whatever it is made of.

Writes OUT/tree_signal.md. One thread.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trees import GROUP, LEARNERS, engine, sampled, start

from agents.core.credit.trees import counted_once
from agents.core.filters import learned_mask
from agents.core.rollout.trees import collect_trees
from agents.core.run.storage import write_text
from agents.core.trainer.batch import joined, to_tensors
from agents.core.trainer.logprobs import response_logprobs
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Trajectory
from torl_env.problems.types import Problem
from torl_env.sandbox import open_sandbox

AT_ONCE = 20
"""Groups that are sampled together."""


def gradient(model: Any, group: Sequence[Trajectory], credit: Sequence[Sequence[float]]) -> Tensor:
    """Of the sum of A log p over the sampled ids of a group, shared ones once, (W,)."""
    tensors = to_tensors(group, credit, 0)
    ids, mask = joined(tensors)
    width = tensors["advantages"].shape[1]
    logprobs, _ = response_logprobs(model, ids, mask, width, len(group), 1.0)
    learned = torch.zeros_like(logprobs)
    for row, t in enumerate(group):
        learned[row, : len(t.ids)] = torch.tensor(learned_mask(t), dtype=logprobs.dtype)
    model.zero_grad()
    (logprobs * tensors["advantages"] * learned).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def gradients(name: str, model: Any, sampler: CopySampler, groups: int) -> tuple[Tensor, float]:
    """A gradient of each group, (G, W), and the ids that a group took."""
    algorithm, _ = LEARNERS[name]
    tree, found, ids = algorithm.tree_rule, [], 0
    for batch in range(groups // AT_ONCE):
        sampler.rollout.forget()
        problems = [Problem(f"p{batch}-{i}", "What is 6*7?", "42") for i in range(AT_ONCE)]
        rows = (
            sampler.collect(problems, GROUP, batch)
            if tree is None
            else collect_trees(sampler, problems, GROUP, batch, tree)
        )
        parts = [rows[i : i + GROUP] for i in range(0, len(rows), GROUP)]
        credit = iter(algorithm.assign_credit(parts))
        for group in parts:
            own = [next(credit) for _ in group]
            if tree is not None:
                own = counted_once(group, own, tree.share)
            found.append(gradient(model, group, own))
        ids += sampled(rows)
    return torch.stack(found), ids / len(found)


def row(name: str, seed: int, mine: tuple[Tensor, float], alone: tuple[Tensor, float]) -> str:
    """A line of the table."""

    def signal(each: Tensor) -> float:
        # Of two halves: the square of one mean would count its own noise.
        return float(each[::2].mean(0) @ each[1::2].mean(0))

    def ratio(each: Tensor) -> float:
        return signal(each) / float(((each - each.mean(0)) ** 2).sum(1).mean())

    (each, ids), (other, their_ids) = mine, alone
    crossed = each[::2].mean(0) @ other[1::2].mean(0) + each[1::2].mean(0) @ other[::2].mean(0)
    across = float(crossed)
    cosine = across / 2 / max(1e-12, signal(each) * signal(other)) ** 0.5
    silent = float((each.abs().sum(1) == 0).float().mean())
    of_ids = ratio(each) / ids / (ratio(other) / their_ids)
    return (
        f"| {name} | {seed} | {cosine:.2f} | {ids:.0f} | {ratio(each):.3f} | {of_ids:.2f} | "
        f"{silent:.2f} |"
    )


def main() -> int:
    """See the first lines of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--groups", type=int, default=200, help="of each method and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# What a tree's gradient is made of",
        "",
        f"`python runs/tree_signal.py OUT --groups {asked.groups}`. At the start of runs/trees.py, "
        f"groups of {GROUP}. Signal: the squared mean gradient of a group; noise: the mean squared "
        "distance from it.",
        "",
        "| method | seed | cosine with GRPO's | ids of a group | signal / noise of a group "
        "| of an id, over GRPO's | groups without any |",
        "|---|---|---|---|---|---|---|",
    ]
    with open_sandbox("unsafe") as sandbox, tempfile.TemporaryDirectory() as folder:
        for seed in asked.seeds:
            model, copy, tokenizer = start(seed, Path(folder) / str(seed))
            sampler = CopySampler(engine(copy, tokenizer, sandbox, keep_states=True), copy)
            alone = gradients("GRPO", model, sampler, asked.groups)
            for name in LEARNERS:
                mine = alone if name == "GRPO" else gradients(name, model, sampler, asked.groups)
                lines.append(row(name, seed, mine, alone))
                print(lines[-1], flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    write_text(asked.out / "tree_signal.md", "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
