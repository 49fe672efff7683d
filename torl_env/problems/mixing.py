"""Sources side by side in one, interleaved by arithmetic."""

from collections.abc import Sequence

from torl_env.errors import ProblemError
from torl_env.problems.source import Head, Source, missing, position_in
from torl_env.problems.types import Problem, ProblemSource


class Mixed(Source):
    """Two sources, evenly interleaved in the proportion of two weights."""

    def __init__(
        self, first: ProblemSource, second: ProblemSource, weights: tuple[int, int]
    ) -> None:
        """Of every `sum(weights)` problems in a row, `weights[1]` are from `second`."""
        self._first, self._second = first, second
        self._share, self._whole = weights[1], sum(weights)
        self.name = f"{first.name} + {second.name}"
        low, high = 0, len(first) + len(second)
        while low < high:
            middle = (low + high + 1) // 2
            seconds = self._seconds(middle)
            fits = seconds <= len(second) and middle - seconds <= len(first)
            low, high = (middle, high) if fits else (low, middle - 1)
        self._length = low

    def _seconds(self, count: int) -> int:
        """How many of the first `count` problems are of the second source."""
        return count * self._share // self._whole if self._whole else 0

    def __len__(self) -> int:
        return self._length

    def at(self, index: int) -> Problem:
        """The problem at a valid index."""
        seconds = self._seconds(index)
        if self._seconds(index + 1) > seconds:
            return self._second[seconds]
        return self._first[index - seconds]

    def find(self, problem_id: str) -> Problem:
        """The problem with this id.

        Raises:
            ProblemError: it is in no source, or two sources use it for different problems.
        """
        return self.at(self.position(problem_id))

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id."""
        found: list[int] = []
        for source, is_second in ((self._first, False), (self._second, True)):
            try:
                place = position_in(source, problem_id)
            except ProblemError:
                continue
            index = self._index(place, is_second=is_second)
            if index < self._length:
                found.append(index)
        if not found:
            raise missing(self.name, problem_id)
        if len(found) == 2 and self.at(found[0]) != self.at(found[1]):
            raise ProblemError(
                f"{self.name}: the id {problem_id!r} names two different problems. "
                f"Ask one of the sources instead of the mix."
            )
        return found[0]

    def _index(self, place: int, *, is_second: bool) -> int:
        """Where in the mix the problem at `place` of one of the sources stands."""
        low, high = place, self._length
        while low < high:
            middle = (low + high) // 2
            seconds = self._seconds(middle + 1)
            if (seconds if is_second else middle + 1 - seconds) > place:
                high = middle
            else:
                low = middle + 1
        return low


def mix(*sources: ProblemSource, weights: Sequence[int] | None = None) -> Source:
    """Interleave sources so evenly that every prefix holds them in proportion.

    Args:
        sources: Two or more, or one.
        weights: A positive integer for each source. The mix ends where the first source is used
            up, so that nothing is repeated. By default the lengths: everything is in it once.

    Raises:
        ProblemError: no source, or weights that do not fit them.

    Example:
        >>> from torl_env.problems import load, mix
        >>> both = mix(load("procedural:gcd"), load("procedural:product"), weights=(1, 3))
        >>> [p.subject for p in both.head(4)]
        ['gcd', 'product', 'product', 'product']
    """
    if not sources:
        raise ProblemError("mix: expected at least one source, got none.")
    if weights is not None and (len(weights) != len(sources) or min(weights) < 1):
        raise ProblemError(
            f"mix: expected {len(sources)} positive integer weights, got {list(weights)}."
        )
    sizes = list(weights) if weights is not None else [len(source) for source in sources]
    mixed = sources[0]
    for i, source in enumerate(sources[1:], start=1):
        mixed = Mixed(mixed, source, (sum(sizes[:i]), sizes[i]))
    return mixed if isinstance(mixed, Source) else Head(mixed, len(mixed))
