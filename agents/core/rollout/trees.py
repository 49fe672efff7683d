"""Tree rollouts: the answers to a problem share beginnings, which are sampled once.

A few answers are sampled from the prompt to their end. Then others branch off inside them, the
environment put back to where it was there, until the group is full. A rule says where
(`tree_rules`): after tool output that left the policy uncertain (ARPO, AEPO), at the ids it was
least sure of (TreeRL), at the ends of segments (TreePO). To branch a finished answer afterwards, in
place of a running one, changes no distribution: what was sampled behind a place has no say in what
is sampled there anew.

    sample 0   p p p p p p p p      from the prompt
    sample 1         q q q q        parent 0, shared 3: its ids are p p p q q q q
    sample 2             r r r      parent 1, shared 5: p p p q q r r r

An id belongs to the trajectory that sampled it. `agents.core.credit.trees` credits it once.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Protocol

from agents.core.algorithm import Algorithm
from agents.core.rollout.branching import Brancher, point_at, turn_of
from agents.core.rollout.tree_rules import Fork, Growing, Tree, place
from agents.core.types import Trajectory
from torl_env.problems.types import Problem

if TYPE_CHECKING:
    from agents.core.trainer.options import Training


class TreeSampler(Brancher, Protocol):
    """Samples answers and goes on from inside them."""

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        """`group_size` trajectories of each problem, grouped by problem."""
        ...


def collect_trees(
    sampler: TreeSampler, problems: Sequence[Problem], size: int, seed: int, tree: Tree
) -> list[Trajectory]:
    """`size` trajectories of each problem, grouped by problem, that share beginnings.

    What several answers share is read once by the sampler: branches of a place follow each other
    in the batch, and rows with equal beginnings are read once (vLLM: by its prefix cache).

    Args:
        sampler: Keeps states to go on from.
        problems: P problems.
        size: Of a group.
        seed: Of this batch.
        tree: Where to branch.
    """
    first = tree.first(size)
    rows = sampler.collect(problems, first, seed)
    groups = [list(rows[i : i + first]) for i in range(0, len(rows), first)]
    # `states` knows trajectories as they came; those of the group get a parent.
    came = [list(group) for group in groups]
    attempt = 0
    round_ = 0
    while short := [g for g, group in enumerate(groups) if len(group) < size]:
        points, forks = [], []
        for g in short:
            random = Random(f"tree/{seed}/{g}/{round_}")
            growing = Growing(groups[g], size - len(groups[g]), round_, random)
            for fork in sorted(tree.forks(growing), key=lambda fork: (fork.row, fork.keep)):
                t = came[g][fork.row]
                # Each branch draws from a random stream of its own: no other has its number.
                attempt += 1
                turn = turn_of(t, fork.keep)
                points.append(point_at(t, turn, fork.keep, sampler.states(t), attempt))
                forks.append((g, fork))
        grown = sampler.branch(points, 1, seed, to_end=True)
        for (g, fork), t in zip(forks, grown, strict=True):
            came[g].append(t)
            groups[g].append(_branched(groups[g], fork, t))
        round_ += 1
    return [t for group in groups for t in without_lost(group)]


def _branched(group: Sequence[Trajectory], fork: Fork, t: Trajectory) -> Trajectory:
    """A new trajectory of a group, told where it branched off."""
    parent, keep = place(group, fork.row, fork.keep)
    return replace(t, sample=len(group), parent=parent, shared=keep)


def without_lost(group: Sequence[Trajectory]) -> list[Trajectory]:
    """The group in which no trajectory shares ids with one that was lost to the machine.

    Of the branches of a lost one the longest takes its place: the ids that they share were sampled
    and are learned from, and only what the lost one alone had sampled is gone.
    """
    rows = list(group)
    for i, t in enumerate(group):
        if t.scorable:
            continue
        lost = rows[i]
        children = [c for c, row in enumerate(rows) if row.parent == i]
        heir = max(children, key=lambda c: rows[c].shared, default=-1)
        for c in children:
            rows[c] = replace(rows[c], parent=heir)
        if children:
            rows[heir] = replace(rows[heir], parent=lost.parent, shared=lost.shared)
        rows[i] = replace(lost, parent=-1, shared=0)
    return rows


def tree_metrics(rows: Sequence[Trajectory]) -> dict[str, float]:
    """What trees saved: branches, and ids that were sampled per sampled id of the answers."""
    sampled = sum(sum(t.loss_mask[t.shared :]) for t in rows)
    return {
        "tree_branches": float(sum(t.parent >= 0 for t in rows)),
        "tree_sampled_share": sampled / max(1, sum(sum(t.loss_mask) for t in rows)),
        "tree_sampled_ids": float(sampled),
    }


def check_tree(algorithm: Algorithm, training: "Training") -> None:
    """Whether an algorithm with a tree can be trained like this.

    Raises:
        ValueError: It cannot; the message says why.
    """
    tree = algorithm.tree_rule
    if tree is None:
        return
    loss, kind = algorithm.loss, type(algorithm).__name__
    prepared = type(algorithm).prepare is not Algorithm.prepare
    for wrong, why in (
        (
            algorithm.on_policy or algorithm.branches or prepared,
            f"{kind} learns from whole episodes of its own (a critic, steps): their shared ids "
            "would count once for each; use grpo, rloo, gtpo or cot",
        ),
        (
            algorithm.oversample > 1,
            "oversample leaves out answers whose ids others share: expected oversample=1",
        ),
        (
            training.replay.keep > 0,
            "a replayed answer has no place in the tree of its group: expected --replay.keep 0",
        ),
        (
            bool(loss.drop),
            f"drop={','.join(loss.drop)} judges whole turns and episodes, of which others share "
            "ids: expected no drop",
        ),
        (
            loss.mean != "token" or loss.ratio != "token",
            f"mean={loss.mean} and ratio={loss.ratio}: responses of a tree share ids, so only "
            "tokens can be counted, each once: expected mean=token and ratio=token",
        ),
        (
            loss.off_policy_kl is not None or not training.importance_mode.startswith("token"),
            "off_policy_kl and importance ratios of whole responses see only the ids that are a "
            "response's own: expected --importance token_truncate or token_mask",
        ),
    ):
        if wrong:
            raise ValueError(f"tree={type(tree).__name__.lower()}: {why}")
    tree.first(training.group_size)
