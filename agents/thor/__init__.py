"""THOR: tool-integrated hierarchical optimisation via reinforcement learning."""

from agents.thor.algorithm import THOR
from agents.thor.correction import Correction, SelfCorrecting
from agents.thor.cutting import Repair
from agents.thor.selection import best, executed, judged, votes

__all__ = ["THOR", "Correction", "Repair", "SelfCorrecting", "best", "executed", "judged", "votes"]
