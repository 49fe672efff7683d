"""GRPO as ToRL trains with it: the reward relative to its group, for every sampled token."""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Literal

from agents.core.advantages import group_relative, leave_one_out
from agents.core.algorithm import Algorithm, Group
from agents.core.credit import Shaping, read_shaping
from agents.core.credit.trees import ancestor_advantages, subtree_credit
from agents.core.loss import Loss
from agents.core.rollout.tree_rules import Tree, read_tree


@dataclass(frozen=True, slots=True)
class GRPO(Algorithm):
    """Group-relative policy optimisation (arXiv 2402.03300), by default as ToRL has it.

    Sources: ToRL (arXiv 2503.23383, section 3.1) and its released 1.5B training script. Where the
    release deviates by mistake we keep the intent: its loss was scaled by 1/8 and depended on how
    sequences were packed; here the mean is over all sampled tokens of the batch.
    """

    scale_by_std: bool = True
    """Divide by the group's standard deviation (ToRL: yes; Dr. GRPO, arXiv 2503.20783: no)."""
    baseline: Literal["group", "leave_one_out", "subtree", "ancestors"] = "group"
    """What a reward is compared with: its group's mean; the mean of the others (RLOO, arXiv
    2402.14740, which does not scale); in a tree, the means of what its ids led to and of what came
    before them (`subtree`, TreeRL, arXiv 2506.11902), or of all subtrees that it is in
    (`ancestors`, TreePO, arXiv 2508.17445)."""
    resample: int = 0
    """Rounds in which groups without signal are replaced by groups of other problems (dynamic
    sampling of DAPO, arXiv 2503.14476, section 3.2); 0 keeps them, as ToRL does."""
    oversample: int = 1
    """Times as many samples as are learned from; 2 is GRPO-RoC (rStar2-Agent, arXiv 2508.20722,
    section 3.3), which keeps clean right answers and all kinds of wrong ones."""
    shaping: tuple[Shaping, ...] = ()
    """Added to rewards before credit: `otc`, `overlong(max_tokens=3072, cache=512)`, ..., or a sum
    of such, see `agents.core.credit`."""
    tree: Tree | str | None = None
    """Samples that share beginnings, which are sampled once: `arpo`, `aepo`, `treerl`, `treepo`,
    with arguments as in `arpo(start=0.25)`, see `agents.core.rollout.tree_rules`."""
    loss: Loss = field(default_factory=Loss)
    """Clip 0.2, no KL, token mean (ToRL)."""
    clip_high: InitVar[float | None] = None
    """Of the loss, since it is what recipes change most: `GRPO(clip_high=0.28)` is clip-higher."""

    def __post_init__(self, clip_high: float | None) -> None:
        object.__setattr__(self, "shaping", read_shaping(self.shaping))
        if clip_high is not None:
            object.__setattr__(self, "loss", replace(self.loss, clip_high=clip_high))
        object.__setattr__(self, "tree", read_tree(self.tree))
        if self.baseline not in ("group", "leave_one_out", "subtree", "ancestors"):
            raise ValueError(
                "baseline must be group, leave_one_out, subtree or ancestors, got "
                f"{self.baseline!r}"
            )
        if self.baseline in ("subtree", "ancestors") and self.tree_rule is None:
            raise ValueError(
                f"baseline={self.baseline} compares parts of a tree: set tree, such as tree=treerl"
            )
        if self.oversample < 1:
            raise ValueError(f"oversample must be >= 1, got {self.oversample}")
        if self.resample < 0:
            raise ValueError(f"resample must be >= 0, got {self.resample}")

    @property
    def least_group_size(self) -> int:
        """A group of one has no baseline."""
        return 2

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """The relative reward of each trajectory, spread over its ids."""
        if self.baseline == "subtree":
            return [row for group in groups for row in subtree_credit(group)]
        if self.baseline == "ancestors":
            advantages = ancestor_advantages(groups, scale=self.scale_by_std)
        else:
            advantages = [a for group in groups for a in self._advantages(group)]
        rows = [t for group in groups for t in group]
        return [[a] * len(t.ids) for a, t in zip(advantages, rows, strict=True)]

    def _advantages(self, group: Group) -> list[float]:
        rewards = [t.reward if t.scorable else None for t in group]
        if self.baseline == "leave_one_out":
            return leave_one_out(rewards)
        return group_relative(rewards, scale_by_std=self.scale_by_std)
