"""GRPO with ToRL's settings."""

from agents.grpo.algorithm import DAPO, GRPO, GSPO

__all__ = ["DAPO", "GRPO", "GSPO"]
