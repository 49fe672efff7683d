"""What a procedural family is, and which side of the train/held-out line a question stands on."""

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, ClassVar, Generic, TypeVar

LEVELS = (1, 2, 3, 4, 5)
_HELDOUT_SHARE = 5
_CONTENT = re.compile(r"\d+|[A-Z]{2,}")

P = TypeVar("P")


class Split(StrEnum):
    """The two sides of a procedural source."""

    TRAIN = "train"
    HELDOUT = "heldout"


class Group(StrEnum):
    """What a family is meant for; each is a name that `load("procedural:...")` knows."""

    EASY = "easy"
    """One short program solves it: the warm start and training of small models."""
    CONTEST = "contest"
    """Five levels from by hand to an idea plus a program."""
    TRANSFER = "transfer"
    """As contest, but never trained on: the family split."""


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


class Family(ABC, Generic[P]):
    """Problems of one kind, drawn at one of five levels, with an exact integer answer.

    `P` is the type of the parameters that determine a problem up to its wording.
    """

    name: ClassVar[str]
    """As it stands in ids and in `load("procedural:NAME")`."""
    subject: ClassVar[str]
    """Field of mathematics, for example `number theory`."""
    summary: ClassVar[str]
    """The problem in one phrase."""
    group: ClassVar[Group] = Group.CONTEST

    @abstractmethod
    def draw(self, rng: Random, level: int) -> P:
        """Parameters of one problem of a level 1 to 5."""

    @abstractmethod
    def answer(self, drawn: P) -> int:
        """The exact answer."""

    @abstractmethod
    def phrase(self, drawn: P) -> tuple[str, ...]:
        """The question in all its wordings; each holds the same numbers."""

    def degenerate(self, drawn: P, answer: int) -> bool:
        """Whether the problem is to be drawn again because its answer is a good blind guess."""
        return -1 <= answer <= 1

    def work(self, drawn: P) -> Worked | None:
        """A reference program, `None` where the family has none."""
        return None


AnyFamily = Family[Any]
