"""GRPO with ToRL's settings, and its form with credit for turns."""

from agents.grpo.algorithm import GRPO
from agents.grpo.turns import GTPO

__all__ = ["GRPO", "GTPO"]
