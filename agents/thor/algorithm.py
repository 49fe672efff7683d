"""THOR: GRPO over episodes that ran without failure, and over single steps that failed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agents.core.advantages import group_relative
from agents.core.algorithm import Algorithm, Group
from agents.core.credit import Shaping, read_shaping
from agents.core.filters import learned_mask
from agents.core.loss import Loss
from agents.core.rollout.branching import Brancher, Point, point_at, turn_row
from agents.core.types import Trajectory
from agents.thor.cutting import Repair, cut, failed_turns


def thor_loss() -> Loss:
    """Clip-higher, dual clip and the likelihood of positive samples (THOR, appendix D.2)."""
    return Loss(clip_low=0.2, clip_high=0.28, dual_clip=3.0, nll=0.01)


@dataclass(frozen=True, slots=True)
class THOR(Algorithm):
    """Hierarchical reinforcement learning (arXiv 2509.13761, section 2.3) with its settings.

    The loss is that of the episodes plus that of the steps. Episodes are credited as in GRPO with a
    reward of 1 or 0 (`reward="thor"`). For each failed call a few ids before its program are cut
    away, the environment is branched there, and G ways to write that one step again are rewarded
    by whether their program runs. Both losses are means over sampled tokens, as in the release; the
    paper's formulas average over responses.
    """

    scale_by_std: bool = True
    """Divide by the group's standard deviation (THOR: yes)."""
    drop_failed: bool = True
    """Leave episodes with a failed call out of the episode loss and its baselines (THOR: yes, "to
    avoid inappropriate penalties"). What that drops is reported: THOR's own table 4 has 139 right
    answers among 457 such episodes."""
    step_level: bool = True
    """Learn from failed steps (THOR: yes)."""
    suffix_tokens: int = 100
    """L_suf: ids of the thought that are written again (THOR: 100, for long reasoning 500)."""
    step_group_size: int = 16
    """Continuations of each failed step (THOR: 16)."""
    step_reward: Literal["runs", "runs_where_right", "right"] = "runs"
    """What a continuation of a failed step is paid 1 for: that its program runs, whatever it leads
    to (THOR); that it runs, where some continuation of that step ends right; or that it ends right
    itself. The last two are ours and go on to the end of the episode. In `runs/records/study_g.md`
    (one seed) `right` gained where `runs` lost, and `runs_where_right` lost most."""
    step_weight: float = 1.0
    """Of the steps' loss beside the episodes' (THOR: 1)."""
    max_steps: int | None = None
    """Failed steps to learn from in a batch, of each process; by default as many as it has groups
    there (THOR)."""
    resample: int = 0
    """Rounds of DAPO's dynamic sampling (THOR filters such groups out)."""
    shaping: tuple[Shaping, ...] = ()
    """Added to rewards before credit: `otc`, `overlong(max_tokens=3072, cache=512)`, ..., or a sum
    of such, see `agents.core.credit`."""
    loss: Loss = field(default_factory=thor_loss)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shaping", read_shaping(self.shaping))
        if self.step_group_size < 2:
            raise ValueError(
                f"step_group_size must be at least 2, got {self.step_group_size}: a group of one "
                "has no baseline"
            )
        if not self.step_weight > 0:
            raise ValueError(
                f"step_weight must be above 0, got {self.step_weight}; to learn from episodes "
                "alone, set step_level=False"
            )
        if self.suffix_tokens < 0:
            raise ValueError(f"suffix_tokens must be >= 0, got {self.suffix_tokens}")
        if self.step_level and (self.loss.mean != "token" or self.loss.kl):
            raise ValueError(
                "step-level rows need loss.mean='token' and loss.kl=0, as in the paper, got "
                f"mean={self.loss.mean!r} and kl={self.loss.kl}; or set step_level=False"
            )

    @property
    def least_group_size(self) -> int:
        """A group of one has no baseline."""
        return 2

    @property
    def on_policy(self) -> bool:
        """An episode that is branched needs the environment as it was."""
        return True

    @property
    def branches(self) -> bool:
        """Whether failed steps are learned from."""
        return self.step_level

    @property
    def branch_weight(self) -> float:
        """Of the steps' loss."""
        return self.step_weight

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """Group-relative rewards of the episodes that stay; the loss is a mean over these alone."""
        rows = [t for group in groups for t in group if t.scorable]
        # What the trainer's mean counts, ids or responses; what a filter drops is not among it.
        learned = [(t, sum(learned_mask(t, self.loss.drop))) for t in rows]
        if self.loss.mean != "token":
            learned = [(t, min(ids, 1)) for t, ids in learned]
        whole = sum(count for _, count in learned)
        kept = sum(count for t, count in learned if self._keeps(t))
        weight = whole / kept if kept else 0.0
        return [
            [weight * advantage] * len(t.ids)
            for group in groups
            for advantage, t in zip(self._advantages(group), group, strict=True)
        ]

    def _advantages(self, group: Group) -> list[float]:
        rewards = [t.reward if t.scorable and self._keeps(t) else None for t in group]
        return group_relative(rewards, scale_by_std=self.scale_by_std)

    def _keeps(self, trajectory: Trajectory) -> bool:
        return not (self.drop_failed and failed_turns(trajectory))

    def report(self, groups: Sequence[Group]) -> Mapping[str, float]:
        """What the failed-execution filter drops."""
        rows = [t for group in groups for t in group if t.scorable]
        dropped = [t for t in rows if not self._keeps(t)]
        left = [sum(t.scorable and self._keeps(t) for t in group) for group in groups]
        return {
            "dropped": len(dropped),
            "dropped_correct": sum(t.correct for t in dropped),
            "dropped_groups": sum(count < 2 for count in left),
        }

    def branch(self, groups: Sequence[Group], brancher: Brancher, seed: int) -> Sequence[Group]:
        """Groups of single steps in place of failed ones, rewarded by `step_reward`."""
        points = self._points(groups, brancher, seed)
        if not points:
            return ()
        size = self.step_group_size
        written = brancher.branch(points, size, seed, to_end=self.step_reward != "runs")
        return [
            self._steps(point, written[i * size : (i + 1) * size]) for i, point in enumerate(points)
        ]

    def _steps(self, point: Point, written: Sequence[Trajectory]) -> list[Trajectory]:
        """The step that each continuation wrote, with what it is paid."""
        some_right = any(t.correct for t in written if t.scorable)

        def pays(whole: Trajectory, row: Trajectory) -> bool:
            if self.step_reward == "right":
                return whole.correct
            runs = row.turns[0].tool_status == "ok"
            return runs and (some_right or self.step_reward == "runs")

        def scorable(whole: Trajectory) -> bool:
            # An answer that nothing could grade says nothing against a program that ran.
            return whole.scorable if self.step_reward == "right" else not whole.infra_error

        rows = [turn_row(t, point.turn, point.keep) for t in written]
        return [
            replace(row, reward=float(pays(whole, row)), scorable=scorable(whole))
            for whole, row in zip(written, rows, strict=True)
        ]

    def _points(self, groups: Sequence[Group], brancher: Brancher, seed: int) -> list[Point]:
        """Failed steps to write again, at most as many as there are groups."""
        failed = [
            (t, index) for group in groups for t in group if t.scorable for index in failed_turns(t)
        ]
        most = len(groups) if self.max_steps is None else self.max_steps
        chosen = random.Random(f"steps/{seed}").sample(failed, min(most, len(failed)))
        points = []
        for t, index in chosen:
            turn = t.turns[index]
            how = (brancher.tokenizer, Repair.SUFFIX, self.suffix_tokens, brancher.parser)
            keep = cut(t, turn, *how)
            points.append(point_at(t, index, keep, brancher.states(t)))
        return points

    def assign_credit_to_branches(self, groups: Sequence[Group]) -> list[list[float]]:
        """Group-relative rewards of the steps, for every id of each."""
        credit = []
        for group in groups:
            rewards = [t.reward if t.scorable else None for t in group]
            advantages = group_relative(rewards, scale_by_std=self.scale_by_std)
            credit += [[a] * len(t.ids) for a, t in zip(advantages, group, strict=True)]
        return credit
