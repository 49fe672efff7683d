"""Rewards of a turn or a group that are added to those of the environment before credit."""

from agents.core.credit.shaping import (
    OTC,
    SHAPINGS,
    Overlong,
    Potential,
    Ran,
    Shaping,
    ToolCost,
    read_shaping,
    shaped,
)

__all__ = [
    "OTC",
    "SHAPINGS",
    "Overlong",
    "Potential",
    "Ran",
    "Shaping",
    "ToolCost",
    "read_shaping",
    "shaped",
]
