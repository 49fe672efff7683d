"""Problems of the package `reasoning-gym`, where it is installed.

Only families whose answer is one exact number are taken, and only their questions and answers:
the package's own scorers execute what a model writes in nine of its families (0.1.25), so answers
are graded like all others instead.
"""

import hashlib
import importlib
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from torl_env.errors import ProblemError
from torl_env.problems.procedural.family import Split
from torl_env.problems.source import Source, missing
from torl_env.problems.types import Problem

FAMILIES = (
    "basic_arithmetic",
    "chain_sum",
    "count_bits",
    "count_primes",
    "dice",
    "gcd",
    "gsm_symbolic",
    "largest_island",
    "lcm",
    "leg_counting",
    "letter_counting",
    "number_sequence",
    "products",
    "rectangle_count",
    "simple_equations",
    "simple_geometry",
)
_TRIES = 64
_HELDOUT_SHARE = 5
_ID = re.compile(r"rg_([a-z_]+)-(train|heldout)-(0|[1-9]\d*)")


class ReasoningGymSource(Source):
    """Problems of some families, alternating; generated on access.

    Train and held-out share no question: the side is a hash of the question's text.
    """

    def __init__(
        self,
        families: Sequence[str] = FAMILIES,
        split: Split = Split.TRAIN,
        *,
        size: int = 1_000_000,
    ) -> None:
        """A source of `size` problems of these families.

        Raises:
            ProblemError: an unknown family, or the package is not installed.
        """
        self._families = tuple(dict.fromkeys(families))
        for name in self._families:
            if name not in FAMILIES:
                near = get_close_matches(name, FAMILIES, n=3, cutoff=0.5)
                hint = f" Did you mean {' or '.join(near)}?" if near else ""
                raise ProblemError(
                    f"reasoning_gym: expected one of {', '.join(FAMILIES)}; got {name!r}.{hint}"
                )
        self._sets = [_open(name, size) for name in self._families]
        self._split = Split(split)
        self._size = size
        self.name = f"reasoning_gym:{','.join(self._families)}"

    def __len__(self) -> int:
        return self._size

    def at(self, index: int) -> Problem:
        """The problem at a valid index: the first of its own 64 items that is on this side."""
        count, kind = divmod(index, len(self._families))
        for item in range(count * _TRIES, (count + 1) * _TRIES):
            entry = self._sets[kind][item]
            question = str(entry["question"]).strip()
            if _side(question) is self._split:
                name = self._families[kind]
                return Problem(
                    id=f"rg_{name}-{self._split}-{count}",
                    question=question,
                    answer=str(entry["answer"]),
                    source="reasoning_gym",
                    split=self._split.value,
                    subject=name,
                )
        raise ProblemError(f"{self.name}: no problem of the split {self._split} at index {index}.")

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id, by arithmetic."""
        match = _ID.fullmatch(problem_id)
        if match and match[1] in self._families and match[2] == self._split:
            index = int(match[3]) * len(self._families) + self._families.index(match[1])
            if index < self._size:
                return index
        raise missing(self.name, problem_id)


def _side(question: str) -> Split:
    digest = hashlib.sha256(" ".join(question.split()).encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:8], "big")
    return Split.HELDOUT if number % _HELDOUT_SHARE == 0 else Split.TRAIN


def _open(name: str, size: int) -> Any:
    try:
        package = importlib.import_module("reasoning_gym")
    except ImportError:
        raise ProblemError(
            "reasoning_gym: expected the package `reasoning-gym`, which is not installed. "
            "Install it with: pip install 'torl-gym[reasoning]'"
        ) from None
    return package.create_dataset(name, size=size * _TRIES, seed=0)
