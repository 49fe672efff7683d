"""Chain of thought: text only, the floor that every tool-using agent must beat."""

from agents.cot.agent import COT, CoT

__all__ = ["COT", "CoT"]
