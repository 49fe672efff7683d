"""The base of all problem sources, and the lazy views that every source offers.

A view holds its base and a rule, never a list of problems; what it costs is said per view.
"""

import os
import weakref
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

from torl_env.errors import ProblemError
from torl_env.problems.normalise import question_key
from torl_env.problems.permutation import Permutation
from torl_env.problems.types import Problem, ProblemSource


class Source(ABC):
    """A finite, indexable, immutable collection of problems.

    A source of one's own needs `name`, `__len__`, `at` and `position`; the rest follows.

    Example:
        >>> from torl_env.problems import load
        >>> source = load("procedural:easy")
        >>> len(source)
        1000000
        >>> [p.id for p in source.shuffle(1).head(2)] == [p.id for p in source.shuffle(1).head(2)]
        True
    """

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def at(self, index: int) -> Problem:
        """The problem at a valid index, `0 <= index < len(self)`."""

    @abstractmethod
    def position(self, problem_id: str) -> int:
        """The index of the problem with this id.

        Raises:
            ProblemError: no problem of this source has it.
        """

    def __getitem__(self, index: int) -> Problem:
        """The problem at `index`; negative indices count from the end."""
        # A negative index needs the length, which a filtered view pays for; others do not.
        place = index if index >= 0 else len(self) + index
        if place < 0 or not self.reaches(place + 1):
            raise IndexError(f"{self.name} has {len(self)} problems, no index {index}")
        return self.at(place)

    def __iter__(self) -> Iterator[Problem]:
        index = 0
        while self.reaches(index + 1):
            yield self.at(index)
            index += 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def reaches(self, count: int) -> bool:
        """Whether there are at least `count` problems; a view that scans need not scan all."""
        return count <= len(self)

    def find(self, problem_id: str) -> Problem:
        """The problem with this id.

        Raises:
            ProblemError: no problem of this source has it.
        """
        return self.at(self.position(problem_id))

    def head(self, count: int) -> "Source":
        """The first `count` problems, or all when there are fewer. Costs nothing."""
        return Head(self, count)

    def shuffle(self, seed: int) -> "Source":
        """The same problems in an order fixed by `seed` and the length. Costs nothing."""
        return Shuffled(self, seed)

    def where(self, keep: Callable[[Problem], bool]) -> "Source":
        """The problems for which `keep` is true.

        Scanned as far as it is read: `where(...).head(64)` stops at the sixty-fourth match, `len`
        reads everything once. Memory: one integer for each match.
        """
        return Where(self, keep)

    def mix(self, *others: ProblemSource, weights: Sequence[int] | None = None) -> "Source":
        """This source and `others`, evenly interleaved; see `torl_env.problems.mix`."""
        return mix(self, *others, weights=weights)

    def without(self, questions: ProblemSource) -> "Source":
        """The problems whose question is in no problem of the other source.

        Questions are compared by `question_key`. The other source is read once, on first use.
        """
        return Where(self, _NotIn(questions), f"{self.name} without {questions.name}")


def missing(name: str, problem_id: str) -> ProblemError:
    """The error for an id that a source does not hold."""
    return ProblemError(
        f"{name} holds no problem with id {problem_id!r}. Ids are the `id` of its problems, "
        f"see `torl data show`."
    )


class Listed(Source):
    """Problems held in memory, as files and hub sets are."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        """`problems` in order; the ids must be distinct.

        Raises:
            ProblemError: two problems share an id.
        """
        self.name = name
        self._problems = tuple(problems)
        self._places = {problem.id: i for i, problem in enumerate(self._problems)}
        if len(self._places) < len(self._problems):
            twice = next(p.id for i, p in enumerate(self._problems) if self._places[p.id] != i)
            raise ProblemError(f"{name}: expected distinct ids, but {twice!r} occurs twice.")

    def __len__(self) -> int:
        return len(self._problems)

    def at(self, index: int) -> Problem:
        """The problem at a valid index."""
        return self._problems[index]

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id."""
        try:
            return self._places[problem_id]
        except KeyError:
            raise missing(self.name, problem_id) from None


class Head(Source):
    """The first problems of another source."""

    def __init__(self, base: ProblemSource, count: int) -> None:
        """The first `count` of `base`."""
        if count < 0:
            raise ProblemError(f"head: expected a count of 0 or more, got {count}.")
        self._base = base
        self._count = count
        self.name = f"{base.name}[:{count}]"

    def __len__(self) -> int:
        return self._count if _reaches(self._base, self._count) else len(self._base)

    def reaches(self, count: int) -> bool:
        """Whether there are at least `count` problems."""
        return count <= self._count and _reaches(self._base, count)

    def at(self, index: int) -> Problem:
        """The problem at a valid index."""
        return self._base[index]

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id."""
        place = position_in(self._base, problem_id)
        if place >= self._count:
            raise missing(self.name, problem_id)
        return place


class Shuffled(Source):
    """Another source in a pseudo-random order."""

    def __init__(self, base: ProblemSource, seed: int) -> None:
        """`base` in the order of `seed`."""
        self._base = base
        self._seed = seed
        self._order: Permutation | None = None
        self.name = f"{base.name} shuffled by {seed}"

    @property
    def order(self) -> Permutation:
        """The permutation of indices, made when the length is first needed."""
        if self._order is None:
            self._order = Permutation(len(self._base), self._seed)
        return self._order

    def __len__(self) -> int:
        return self.order.size

    def at(self, index: int) -> Problem:
        """The problem at a valid index."""
        return self._base[self.order.forward(index)]

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id."""
        return self.order.inverse(position_in(self._base, problem_id))


_views: "weakref.WeakSet[Where]" = weakref.WeakSet()


def _forget_scans() -> None:
    """The thread that held a lock, in the middle of a scan, does not exist in a forked child."""
    for view in list(_views):
        if view._lock.locked():
            view._begin()


os.register_at_fork(after_in_child=_forget_scans)


class Where(Source):
    """The problems of another source that a predicate keeps."""

    def __init__(
        self, base: ProblemSource, keep: Callable[[Problem], bool], name: str | None = None
    ) -> None:
        """Those of `base` for which `keep` is true."""
        self._base = base
        self._keep = keep
        self.name = name or f"{base.name} where {getattr(keep, '__name__', 'kept')}"
        self._begin()
        _views.add(self)

    def _begin(self) -> None:
        self._kept: list[int] = []
        self._read = 0
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_base": self._base, "_keep": self._keep, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Where.__init__(self, state["_base"], state["_keep"], state["name"])

    def _scan(self, count: int | None) -> None:
        """Read on until `count` problems are kept, or to the end for `None`."""
        with self._lock:
            while count is None or len(self._kept) < count:
                try:
                    problem = self._base[self._read]
                except IndexError:
                    return
                if self._keep(problem):
                    self._kept.append(self._read)
                self._read += 1

    def __len__(self) -> int:
        self._scan(None)
        return len(self._kept)

    def reaches(self, count: int) -> bool:
        """Whether there are at least `count` problems; reads no further than needed."""
        self._scan(count)
        return len(self._kept) >= count

    def at(self, index: int) -> Problem:
        """The problem at a valid index."""
        self._scan(index + 1)
        return self._base[self._kept[index]]

    def find(self, problem_id: str) -> Problem:
        """The problem with this id, without a scan."""
        problem = self._base.find(problem_id)
        if not self._keep(problem):
            raise missing(self.name, problem_id)
        return problem

    def position(self, problem_id: str) -> int:
        """The index of the problem with this id; reads up to it."""
        self.find(problem_id)
        place = position_in(self._base, problem_id)
        while self._read <= place:
            self._scan(len(self._kept) + 1)
        return bisect_left(self._kept, place)


class _NotIn:
    """A predicate: the question is in no problem of a source."""

    def __init__(self, questions: ProblemSource) -> None:
        self._questions = questions
        self._keys: frozenset[str] | None = None

    def __call__(self, problem: Problem) -> bool:
        if self._keys is None:
            self._keys = frozenset(question_key(other.question) for other in self._questions)
        return question_key(problem.question) not in self._keys


def _reaches(source: ProblemSource, count: int) -> bool:
    return source.reaches(count) if isinstance(source, Source) else count <= len(source)


def position_in(source: ProblemSource, problem_id: str) -> int:
    """The index of an id in any source, also one that has only what the protocol asks for."""
    if isinstance(source, Source):
        return source.position(problem_id)
    wanted = source.find(problem_id)
    return next(i for i, problem in enumerate(source) if problem.id == wanted.id)


class Mixed(Source):
    """Two sources, evenly interleaved in the proportion of two weights."""

    def __init__(
        self, first: ProblemSource, second: ProblemSource, weights: tuple[int, int]
    ) -> None:
        """Of every `sum(weights)` problems in a row, `weights[1]` are from `second`."""
        self._first, self._second = first, second
        self._share, self._whole = weights[1], sum(weights)
        self.name = f"{first.name} + {second.name}"
        # The longest prefix that both sources can fill: sizes grow with it, so bisection finds it.
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
        # Bresenham's line: a place is the second's where its count steps up.
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
