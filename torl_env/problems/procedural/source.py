"""Procedural problems as a source: generated on access, the same in every process."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from torl_env.errors import ProblemError
from torl_env.problems.procedural.by_hand import steps_by_hand
from torl_env.problems.procedural.catalogue import FAMILIES, family
from torl_env.problems.procedural.family import LEVELS, Drawn, Group, Split, Worked, split_of
from torl_env.problems.source import Source
from torl_env.problems.types import Problem

_ID = re.compile(r"([a-z][a-z0-9_]*)-L([1-5])-(train|heldout)-(0|[1-9]\d*)(?:-s(-?\d+))?")
_DRAWS = 5000


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What a procedural problem is made from, and what its id spells: `gcd-L2-train-17`."""

    family: str
    level: int
    split: Split
    index: int
    seed: int = 0

    def __str__(self) -> str:
        """The id; the seed stands at its end unless it is 0."""
        text = f"{self.family}-L{self.level}-{self.split}-{self.index}"
        return f"{text}-s{self.seed}" if self.seed else text

    @classmethod
    def parse(cls, problem_id: str) -> "Coordinates":
        """Read an id.

        Raises:
            ProblemError: it is not the id of a procedural problem.

        Example:
            >>> Coordinates.parse("gcd-L2-train-17").index
            17
        """
        match = _ID.fullmatch(problem_id)
        if not match or match[1] not in FAMILIES:
            raise ProblemError(
                f"{problem_id!r}: expected the id of a procedural problem, "
                f"FAMILY-L<level>-<split>-<index>, for example gcd-L2-train-17."
            )
        return cls(match[1], int(match[2]), Split(match[3]), int(match[4]), int(match[5] or 0))


def _draw(place: Coordinates) -> tuple[Drawn, str, int]:
    """The problem at these coordinates, its question and its answer."""
    kind = family(place.family)
    rng = Random(f"{place.family}/{place.level}/{place.split}/{place.seed}/{place.index}")
    for _ in range(_DRAWS):
        drawn = kind.draw(rng, place.level)
        question = rng.choice(drawn.wordings)
        if split_of(question) is not place.split:
            continue
        answer = drawn.answer()
        if not drawn.degenerate(answer):
            return drawn, question, answer
    raise ProblemError(
        f"{place}: expected a problem within {_DRAWS} draws, found none; the family has too few "
        f"problems at this level."
    )


@lru_cache(maxsize=1024)
def generate(place: Coordinates) -> Problem:
    """The problem at these coordinates; a pure function of them.

    Raises:
        ProblemError: the family does not exist.
    """
    _, question, answer = _draw(place)
    return Problem(
        id=str(place),
        question=question,
        answer=str(answer),
        source="procedural",
        split=place.split.value,
        level=str(place.level),
        subject=place.family,
    )


def worked(problem: Problem) -> Worked:
    """A program that solves a procedural problem, and what it does in one phrase.

    Raises:
        ProblemError: the problem is not procedural, is altered, or its family has no reference
            program (the group `easy` has).

    Example:
        >>> from torl_env.problems import load
        >>> worked(load("procedural:gcd:L1").find("gcd-L1-train-0")).plan
        'compute the greatest common divisor'
    """
    place, drawn = _drawn(problem)
    if drawn.worked is None:
        having = ", ".join(f.name for f in FAMILIES.values() if f.group is Group.EASY)
        raise ProblemError(
            f"{place.family} has no reference program; families that have one: {having}."
        )
    return drawn.worked


def worked_by_hand(problem: Problem) -> str:
    """The steps to the answer of an easy problem, as text; the last one has it.

    Raises:
        ProblemError: as `worked` does.

    Example:
        >>> from torl_env.problems import load
        >>> worked_by_hand(load("procedural:gcd:L1").find("gcd-L1-train-0"))
        '102 = 1 * 78 + 24. 78 = 3 * 24 + 6. 24 = 4 * 6 + 0. The last divisor is 6.'
    """
    place, drawn = _drawn(problem)
    return steps_by_hand(place.family, drawn.parameters)


def _drawn(problem: Problem) -> tuple[Coordinates, Drawn]:
    """A problem as its family drew it."""
    place = Coordinates.parse(problem.id)
    drawn, question, _ = _draw(place)
    if question != problem.question:
        raise ProblemError(
            f"{problem.id}: expected the question {question!r}, got {problem.question!r}. "
            f"Solutions are of problems as their source gives them."
        )
    return place, drawn


class ProceduralSource(Source):
    """Problems of some families and levels, family changing fastest, then level.

    Any prefix is therefore balanced. Nothing is generated before it is asked for, so the length
    costs nothing.
    """

    def __init__(
        self,
        families: Sequence[str],
        levels: Sequence[int] = LEVELS,
        split: Split = Split.TRAIN,
        *,
        size: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        """A source of `size` problems.

        Args:
            families: Names from the catalogue, at least one.
            levels: Of 1 to 5, at least one.
            split: `train` and `heldout` share no question (see `split_of`) and no seed.
            size: How many problems.
            seed: Another seed is another source; ids name it.

        Raises:
            ProblemError: an unknown family or level, or none.
        """
        bad = [level for level in levels if level not in LEVELS]
        if not families or not levels or bad or size < 0:
            raise ProblemError(
                f"ProceduralSource: expected families, levels of 1 to 5 and a size of 0 or more; "
                f"got families={list(families)}, levels={list(levels)}, size={size}."
            )
        self._families = tuple(family(name).name for name in dict.fromkeys(families))
        self._levels = tuple(dict.fromkeys(levels))
        self._split = Split(split)
        self._size = size
        self._seed = seed
        self.name = f"procedural:{','.join(self._families)}"

    def __len__(self) -> int:
        return self._size

    def at(self, index: int) -> Problem:
        """The problem at a valid index."""
        turn, kind = divmod(index, len(self._families))
        count, level = divmod(turn, len(self._levels))
        return generate(
            Coordinates(self._families[kind], self._levels[level], self._split, count, self._seed)
        )

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id, by arithmetic."""
        place = Coordinates.parse(problem_id)
        inside = (
            place.family in self._families
            and place.level in self._levels
            and place.split is self._split
            and place.seed == self._seed
        )
        if inside:
            turn = place.index * len(self._levels) + self._levels.index(place.level)
            index = turn * len(self._families) + self._families.index(place.family)
            if index < self._size:
                return index
        raise ProblemError(
            f"{problem_id!r} is not among the {self._size} {self._split} problems of {self.name}, "
            f"levels {', '.join(map(str, self._levels))}, seed {self._seed}."
        )
