"""What a problem is, and what every source of problems offers."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torl_env.errors import ProblemError


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its reference answer.

    Raises:
        ProblemError: Id, question or answer is no text.
    """

    id: str
    """Stable within its source; a content hash where the source has no id of its own."""
    question: str
    answer: str
    source: str = ""
    """Name of the data set or procedural family set it comes from."""
    split: str = ""
    level: str = ""
    """Difficulty as the source states it (`"3"`, `"Level 5"`), `""` when unknown."""
    subject: str = ""
    """Subject or procedural family, `""` when unknown."""

    def __post_init__(self) -> None:
        for name in ("id", "question", "answer"):
            if not isinstance(value := getattr(self, name), str):
                raise ProblemError(f"problem {self.id!r}: expected a text as {name}, got {value!r}")


def content_id(question: str, answer: str) -> str:
    """Sixteen hex digits that depend on question and answer alone."""
    return hashlib.sha256(f"{question}\x00{answer}".encode("utf-8", "surrogatepass")).hexdigest()[
        :16
    ]


@runtime_checkable
class ProblemSource(Protocol):
    """A finite, indexable, immutable collection of problems; may generate them on access."""

    name: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Problem:
        """The problem at `index`; negative indices count from the end. Raises IndexError."""
        ...

    def __iter__(self) -> Iterator[Problem]: ...

    def find(self, problem_id: str) -> Problem:
        """The problem with this id. Raises ProblemError."""
        ...

    def head(self, count: int) -> "ProblemSource":
        """The first `count` problems."""
        ...

    def shuffle(self, seed: int) -> "ProblemSource":
        """The same problems in an order fixed by `seed`."""
        ...

    def where(self, keep: Callable[[Problem], bool]) -> "ProblemSource":
        """The problems for which `keep` is true."""
        ...

    def without(self, questions: "ProblemSource") -> "ProblemSource":
        """The problems whose question, normalised, is in no problem of the other source."""
        ...
