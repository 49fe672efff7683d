"""GRPO as ToRL trains with it: the reward relative to its group, for every sampled token."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.core.advantages import group_relative
from agents.core.algorithm import Group, Loss


@dataclass(frozen=True, slots=True)
class GRPO:
    """Group-relative policy optimisation (arXiv 2402.03300) with ToRL's settings as defaults.

    Sources: ToRL (arXiv 2503.23383, section 3.1) and its released 1.5B training script. Where the
    release deviates by mistake we keep the intent: its loss was scaled by 1/8 and depended on how
    sequences were packed; here the mean is over all sampled tokens of the batch.

    Example:
        >>> GRPO(group_size=1)
        Traceback (most recent call last):
        ...
        ValueError: group_size must be at least 2, got 1: a group of one has no baseline
    """

    group_size: int = 16
    """Samples per problem (ToRL: 16)."""
    prompts_per_step: int = 128
    """Problems per step (ToRL: 128)."""
    learning_rate: float = 1e-6
    """Constant, no warm-up (ToRL: 1e-6)."""
    temperature: float = 1.0
    """Of sampling during training (ToRL: 1)."""
    max_tokens: int = 3072
    """Tokens of one response, tool output included (ToRL: 3,072)."""
    tool_budget: int = 1
    """C, tool calls per episode (ToRL: 1)."""
    max_grad_norm: float = 1.0
    """Gradient clipping (ToRL: 1)."""
    scale_by_std: bool = True
    """Divide by the group's standard deviation (ToRL: yes)."""
    loss: Loss = field(default_factory=Loss)
    """Clip 0.2, no KL, token mean (ToRL)."""

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise ValueError(
                f"group_size must be at least 2, got {self.group_size}: "
                "a group of one has no baseline"
            )

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """The group-relative reward of each trajectory, spread over its ids."""
        credit = []
        for group in groups:
            rewards = [t.reward if t.scorable else None for t in group]
            advantages = group_relative(rewards, scale_by_std=self.scale_by_std)
            credit += [
                [advantage] * len(t.ids) for advantage, t in zip(advantages, group, strict=True)
            ]
        return credit
