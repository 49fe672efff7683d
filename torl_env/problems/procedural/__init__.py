"""Problems that are generated: exact answers, five levels, train and held-out disjoint."""

from torl_env.problems.procedural.catalogue import FAMILIES
from torl_env.problems.procedural.family import (
    LEVELS,
    Drawn,
    Family,
    Group,
    Split,
    Worked,
    split_of,
)
from torl_env.problems.procedural.source import (
    Coordinates,
    ProceduralSource,
    generate,
    worked,
    worked_by_hand,
)

__all__ = [
    "FAMILIES",
    "LEVELS",
    "Coordinates",
    "Drawn",
    "Family",
    "Group",
    "ProceduralSource",
    "Split",
    "Worked",
    "generate",
    "split_of",
    "worked",
    "worked_by_hand",
]
