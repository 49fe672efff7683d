"""Which problems of a training set are in a held-out suite, exactly or nearly.

Two tests, as usual for mathematics sets: equal text after normalisation, and shared 13-grams of
words and numbers. A 13-gram that many problems share ("where m and n are relatively prime positive
integers find m n") is a phrase and says nothing, so it is not counted.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from torl_env.problems.normalise import question_key
from torl_env.problems.types import Problem, ProblemSource

GRAM = 13
NEAR = 0.5
"""Share of a held-out problem's 13-grams from which a training problem counts as a copy of it."""
PHRASE = 25
"""A 13-gram in at least so many problems is a phrase."""
WHOLE = 8
"""Of a problem of so many 13-grams the half is no phrase, however many problems have it."""
_WORD = re.compile(r"[a-z]+|\d+")


class Overlap(StrEnum):
    """How much of a held-out problem a training problem holds."""

    EXACT = "exact"
    """The same question after normalisation."""
    NEAR = "near"
    """At least half of its 13-grams."""
    SOME = "some"
    """At least one 13-gram that is no common phrase."""


LEAKS = (Overlap.EXACT, Overlap.NEAR)
"""What has to be removed from a training set."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One pair of problems that share text."""

    train_id: str
    suite: str
    heldout_id: str
    overlap: Overlap
    share: float
    """Of the held-out problem's 13-grams; 1 for exact copies."""
    same_answer: bool


@dataclass(frozen=True, slots=True)
class Contamination:
    """All hits of one training set in some suites."""

    hits: tuple[Hit, ...]
    suites: Mapping[str, int]
    """Name and number of problems of each suite that was compared."""

    def leaked(self, suite: str, *kinds: Overlap) -> int:
        """How many problems of a suite are met, by default by a copy (`LEAKS`)."""
        wanted = kinds or LEAKS
        met = {h.heldout_id for h in self.hits if h.suite == suite and h.overlap in wanted}
        return len(met)

    def train_ids(self) -> frozenset[str]:
        """The training problems to remove: the copies of held-out problems."""
        return frozenset(hit.train_id for hit in self.hits if hit.overlap in LEAKS)


def grams(text: str) -> frozenset[str]:
    """The 13-grams of a text; a shorter text is one gram if it has at least 8 words.

    Example:
        >>> len(grams(" ".join("abcdefghijklmn")))
        2
    """
    words = _WORD.findall(text.lower())
    if GRAM > len(words) >= 8:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1))


class _Index:
    """Held-out problems by normalised text and by 13-gram."""

    def __init__(self, suites: Mapping[str, ProblemSource]) -> None:
        self.rows: list[tuple[str, Problem]] = []
        self.sizes: list[int] = []
        self.by_key: defaultdict[str, list[int]] = defaultdict(list)
        self.by_gram: defaultdict[str, list[int]] = defaultdict(list)
        for suite, source in suites.items():
            for problem in source:
                self._add(suite, problem)

    def _add(self, suite: str, problem: Problem) -> None:
        place, pieces = len(self.rows), grams(problem.question)
        self.rows.append((suite, problem))
        self.sizes.append(len(pieces))
        self.by_key[question_key(problem.question)].append(place)
        for piece in pieces:
            self.by_gram[piece].append(place)


def contamination(train: Iterable[Problem], suites: Mapping[str, ProblemSource]) -> Contamination:
    """Compare a training set with held-out suites.

    Args:
        train: The training problems; read once, so a lazy source costs no memory.
        suites: Held-out sources by name.

    Returns:
        At most one hit, the strongest, for each pair of a training and a held-out problem, in the
        order of `train`.
    """
    index = _Index(suites)
    found: list[tuple[Problem, frozenset[int], dict[int, list[str]]]] = []
    spread: Counter[str] = Counter({piece: len(at) for piece, at in index.by_gram.items()})
    for problem in train:
        shared = [piece for piece in grams(problem.question) if piece in index.by_gram]
        exact = frozenset(index.by_key.get(question_key(problem.question), ()))
        if shared or exact:
            by_row: defaultdict[int, list[str]] = defaultdict(list)
            for piece in shared:
                for place in index.by_gram[piece]:
                    by_row[place].append(piece)
            found.append((problem, exact, dict(by_row)))
            # Copies of a problem, however many, do not make a phrase of what stands in it.
            copied = {
                place
                for place, own in by_row.items()
                if len(own) >= NEAR * index.sizes[place] and index.sizes[place] >= WHOLE
            }
            spread.update(piece for piece in shared if copied.isdisjoint(index.by_gram[piece]))
    hits = (hit for entry in found for hit in _hits(index, spread, *entry))
    counts = Counter(suite for suite, _ in index.rows)
    return Contamination(tuple(hits), {suite: counts[suite] for suite in suites})


def _hits(
    index: _Index,
    spread: Counter[str],
    problem: Problem,
    exact: frozenset[int],
    by_row: Mapping[int, list[str]],
) -> Iterator[Hit]:
    for place in sorted(exact | by_row.keys()):
        suite, other = index.rows[place]
        telling = sum(spread[piece] < PHRASE for piece in by_row.get(place, ()))
        share = telling / index.sizes[place] if index.sizes[place] else 0.0
        if place in exact:
            overlap, share = Overlap.EXACT, 1.0
        elif telling:
            overlap = Overlap.NEAR if share >= NEAR else Overlap.SOME
        else:
            continue
        same = problem.answer.strip() == other.answer.strip()
        yield Hit(problem.id, suite, other.id, overlap, share, same)
