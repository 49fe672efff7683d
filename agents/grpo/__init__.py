"""GRPO with ToRL's settings."""

from agents.grpo.algorithm import GRPO

__all__ = ["GRPO"]
