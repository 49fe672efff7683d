"""What a procedural family is, and which side of the train/held-out line a question stands on."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

LEVELS = (1, 2, 3, 4, 5)
_HELDOUT_SHARE = 5
_CONTENT = re.compile(r"\d+|[A-Z]{2,}")


class Split(StrEnum):
    """The two sides of a procedural source."""

    TRAIN, HELDOUT = "train", "heldout"


class Group(StrEnum):
    """What a family is meant for; each is a name that `load("procedural:...")` knows.

    One short program solves an easy problem: the warm start and training of small models. Contest
    problems go from by hand to an idea plus a program. Transfer is as contest, but never trained
    on: the family split.
    """

    EASY, CONTEST, TRANSFER = "easy", "contest", "transfer"


@dataclass(frozen=True, slots=True)
class Worked:
    """A reference solution by program, for warm starts."""

    code: str
    """Python that prints the answer and nothing else."""
    plan: str
    """What the code does, as one phrase in the imperative."""


def split_of(question: str) -> Split:
    """The side a question stands on: a hash of the numbers and capital words in it.

    This is a function of the text alone, so no text can be on both sides whatever its family,
    level, seed or index. The order of the numbers does not count, so that `12 * 35` and `35 * 12`
    and all paraphrases of either stand together. One problem in five is held out.

    Example:
        >>> split_of("What is 12 * 35?") is split_of("Multiply 35 by 12.")
        True
    """
    content = " ".join(sorted(_CONTENT.findall(question)))
    digest = hashlib.sha256(content.encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    return Split.HELDOUT if number % _HELDOUT_SHARE == 0 else Split.TRAIN


def _small(answer: int) -> bool:
    """Whether an answer is -1, 0 or 1, which a blind guess would say."""
    return -1 <= answer <= 1


@dataclass(frozen=True, slots=True)
class Drawn:
    """One problem of a family, drawn and not yet solved.

    Solving waits, because most draws are thrown away: they stand on the other side of the split.
    """

    answer: Callable[[], int]
    """Works out the exact answer."""
    wordings: tuple[str, ...]
    """The question in all its wordings; each holds the same numbers."""
    parameters: Mapping[str, Any]
    """What determines the problem up to its wording, for solving it by another method."""
    degenerate: Callable[[int], bool] = _small
    """Whether the problem is to be drawn again, because its answer is a good blind guess."""
    worked: Worked | None = None
    """A reference program, where the family has one."""


Draw = Callable[[Random, int], Drawn]
"""Draws a problem of a level 1 to 5."""


@dataclass(frozen=True, slots=True)
class Family:
    """Problems of one kind at five levels, with exact integer answers."""

    name: str
    """As it stands in ids and in `load("procedural:NAME")`."""
    subject: str
    """Field of mathematics, for example `number theory`."""
    summary: str
    """The problem in one phrase."""
    group: Group
    draw: Draw


def family(subject: str, summary: str, group: Group = Group.CONTEST) -> Callable[[Draw], Family]:
    """Make a family of the function below, under the function's name."""
    return lambda draw: Family(draw.__name__, subject, summary, group, draw)
