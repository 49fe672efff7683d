"""What an RL algorithm is here: how credit is assigned, and which loss turns it into a gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agents.core.types import Trajectory

Group = Sequence[Trajectory]
"""The trajectories of one problem."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The clipped policy-gradient loss over sampled tokens (PPO, arXiv 1707.06347, eq. 7)."""

    clip_low: float = 0.2
    """Ratio below 1 - this earns no further gradient."""
    clip_high: float = 0.2
    """Ratio above 1 + this earns none; larger than `clip_low` is DAPO's clip-higher."""
    dual_clip: float | None = None
    """Upper bound of the ratio for negative advantages (arXiv 1912.09729)."""
    kl: float = 0.0
    """Weight of the KL term to the starting policy; 0 needs no reference model."""
    mean: Literal["token", "sequence"] = "token"
    """Mean over all sampled tokens of the batch (ToRL, DAPO), or of per-response means (GRPO)."""
    ratio: Literal["token", "sequence"] = "token"
    """Importance ratio per token, or per response (GSPO, arXiv 2507.18071)."""

    def __post_init__(self) -> None:
        if not (0 < self.clip_low <= 1 and self.clip_high > 0):
            raise ValueError(
                "clip_low must be in (0, 1] and clip_high positive, got "
                f"{self.clip_low} and {self.clip_high}"
            )
        if self.kl < 0:
            raise ValueError(f"kl must be >= 0, got {self.kl}")


class Algorithm(Protocol):
    """Credit and loss; sampling, batching, stepping, saving and logging are the trainer's."""

    @property
    def loss(self) -> Loss:
        """The loss that the trainer computes from the advantages."""
        ...

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """Advantages of a batch.

        Args:
            groups: P groups of G trajectories.

        Returns:
            P x G lists in the same order, one number per id of the trajectory. Numbers at ids the
            policy did not sample are ignored. A trajectory that is not `scorable` gets zeros and
            counts in nobody's baseline.
        """
        ...
