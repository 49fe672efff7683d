"""Combinatorics by dynamic programming: paths, tilings, permutations, sums, words."""

import itertools
from collections import Counter, defaultdict
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, P
from torl_env.problems.procedural.integers import PRIME, power
from torl_env.problems.procedural.wording import listing


class _Combinatorics(Family[P]):
    subject = "combinatorics"


Cell = tuple[int, int]


class Grid(NamedTuple):
    """Paths to `(width, height)` that avoid `holes`."""

    width: int
    height: int
    holes: tuple[Cell, ...]
    diagonal: bool


class GridPaths(_Combinatorics[Grid]):
    """Lattice paths around forbidden points."""

    name = "grid_paths"
    summary = "lattice paths that avoid given points"

    def draw(self, rng: Random, level: int) -> Grid:
        """From 3 by 3 with one hole to 20 by 20 with 25 holes and diagonal steps."""
        extra, count = ((0, 1), (2, 3), (5, 6), (9, 12), (16, 25))[level - 1]
        width, height = rng.randrange(3, 5) + extra, rng.randrange(3, 5) + extra
        inner = list(itertools.product(range(width + 1), range(height + 1)))[1:-1]
        holes = tuple(sorted(rng.sample(inner, count)))
        return Grid(width, height, holes, level >= 3)

    def answer(self, drawn: Grid) -> int:
        """The exact answer."""
        holes, ways = set(drawn.holes), defaultdict(int, {(0, 0): 1})
        for x, y in itertools.product(range(drawn.width + 1), range(drawn.height + 1)):
            if (x, y) in holes:
                continue
            ways[x, y] += ways[x - 1, y] + ways[x, y - 1]
            if drawn.diagonal:
                ways[x, y] += ways[x - 1, y - 1]
        return ways[drawn.width, drawn.height]

    def phrase(self, drawn: Grid) -> tuple[str, ...]:
        """The question in all its wordings."""
        holes = ", ".join(f"({x}, {y})" for x, y in drawn.holes)
        goal = f"({drawn.width}, {drawn.height})"
        steps = "one to the right, one up" + (
            ", or one diagonally right and up" if drawn.diagonal else ""
        )
        return (
            f"How many paths lead from the origin to {goal} if each step goes {steps}, and none of "
            f"the points {holes} may be visited?",
            f"A path starts at the origin and ends at {goal}; its steps go {steps}. How many such "
            f"paths avoid all of the points {holes}?",
            f"A robot walks on the integer grid from the origin to {goal}. Allowed moves: {steps}. "
            f"It must not enter the cells {holes}. In how many ways can it walk?",
            f"Count the lattice paths from the origin to {goal} with steps {steps} that miss every "
            f"one of {holes}.",
        )


class Board(NamedTuple):
    """A board without some cells."""

    rows: int
    columns: int
    removed: tuple[Cell, ...]
    singles: bool
    """Whether single squares may be used besides dominoes."""


class Tilings(_Combinatorics[Board]):
    """Tilings of a board with holes."""

    name = "tilings"
    summary = "tilings of a board with holes by dominoes (and squares)"

    def draw(self, rng: Random, level: int) -> Board:
        """From 2 by 4 to 7 by 16; without squares the holes keep the colours balanced."""
        rows, low, high = ((2, 4, 8), (3, 4, 8), (4, 5, 10), (5, 8, 14), (7, 10, 16))[level - 1]
        columns, singles = rng.randrange(low, high), rng.random() < 0.6
        cells = list(itertools.product(range(rows), range(columns + (not singles and rows % 2))))
        if singles:
            removed = rng.sample(cells, level + 1)
            return Board(rows, columns, tuple(sorted(removed)), True)
        columns += columns * rows % 2
        cells = list(itertools.product(range(rows), range(columns)))
        half = (level + 1) // 2
        colours = ([c for c in cells if sum(c) % 2 == side] for side in (0, 1))
        removed = [cell for colour in colours for cell in rng.sample(colour, half)]
        return Board(rows, columns, tuple(sorted(removed)), False)

    def answer(self, drawn: Board) -> int:
        """The exact answer, cell by cell with the covered cells ahead as a bit mask."""
        rows, columns, removed, singles = drawn
        gone, states = set(removed), Counter({0: 1})
        for column, row in itertools.product(range(columns), range(rows)):
            following: Counter[int] = Counter()
            right = column + 1 < columns and (row, column + 1) not in gone
            below = row + 1 < rows and (row + 1, column) not in gone
            for mask, ways in states.items():
                if (row, column) in gone or mask & 1:
                    following[mask >> 1] += ways
                    continue
                if singles:
                    following[mask >> 1] += ways
                if right:
                    following[mask >> 1 | 1 << (rows - 1)] += ways
                if below and not mask & 2:
                    following[(mask | 2) >> 1] += ways
            states = following
        return states[0]

    def phrase(self, drawn: Board) -> tuple[str, ...]:
        """The question in all its wordings."""
        holes = ", ".join(f"({r + 1}, {c + 1})" for r, c in drawn.removed)
        dominoes = "dominoes, each covering two neighbouring cells"
        pieces = f"single squares and {dominoes}" if drawn.singles else dominoes
        size = f"{drawn.rows} rows and {drawn.columns} columns"
        return (
            f"A board has {size}; the cells {holes} (row, column) are removed. In how many ways "
            f"can the remaining cells be tiled with {pieces}?",
            f"From a rectangular board with {size}, cut out the cells {holes}, written as (row, "
            f"column). How many tilings by {pieces} does the rest have?",
            f"A floor with {size} of square cells has pillars on the cells {holes} (row, column). "
            f"In how many ways can the free cells be paved with {pieces}?",
            f"Count the ways to cover all cells except {holes} of a grid with {size} by {pieces}, "
            f"without overlaps. Cells are given as (row, column).",
        )


class Placement(NamedTuple):
    """Permutations of `1..size` near to or far from the identity."""

    size: int
    distance: int
    near: bool
    """`|p(i) - i| <= distance`, else `>= distance`."""
    forbidden: tuple[Cell, ...]
    """Pairs `(i, j)`, from 0, with `p(i) != j`."""


class RestrictedPermutations(_Combinatorics[Placement]):
    """Permutations with a band condition and forbidden places."""

    name = "restricted_permutations"
    summary = "permutations with bounded displacement and forbidden places"

    def draw(self, rng: Random, level: int) -> Placement:
        """From 5 to 14 elements."""
        size = (5, 7, 9, 12, 14)[level - 1]
        near = rng.random() < 0.5
        distance = rng.randrange(1, 2 + level // 2) + near
        count = rng.randrange(level + 1, level + 4)
        pairs = {(rng.randrange(size), rng.randrange(size)) for _ in range(count)}
        return Placement(size, distance, near, tuple(sorted(pairs)))

    def answer(self, drawn: Placement) -> int:
        """The exact answer, over subsets of used values."""
        forbidden, states = set(drawn.forbidden), {0: 1}
        for i in range(drawn.size):
            values = [
                1 << j
                for j in range(drawn.size)
                if (i, j) not in forbidden
                and (abs(i - j) <= drawn.distance if drawn.near else abs(i - j) >= drawn.distance)
            ]
            following: dict[int, int] = defaultdict(int)
            for used, ways in states.items():
                for bit in values:
                    if not used & bit:
                        following[used | bit] += ways
            states = following
        return states.get((1 << drawn.size) - 1, 0)

    def phrase(self, drawn: Placement) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, d = drawn.size, drawn.distance
        sign, words = ("\\le", "at most") if drawn.near else ("\\ge", "at least")
        places = listing(f"$\\pi({i + 1}) \\ne {j + 1}$" for i, j in drawn.forbidden)
        seats = listing((f"guest {i + 1} on seat {j + 1}" for i, j in drawn.forbidden), "or")
        return (
            f"How many permutations $\\pi$ of the first {n} positive integers satisfy "
            f"$|\\pi(i) - i| {sign} {d}$ for all $i$ and {places}?",
            f"Let $\\pi$ permute the first {n} positive integers so that {places}, and so that "
            f"every element moves by {words} {d}. How many such $\\pi$ are there?",
            f"Guests and seats are both numbered from one up to {n}. Each guest takes a seat whose "
            f"number differs from the guest's own by {words} {d}; nobody wants {seats}. In how "
            f"many ways can they be seated, one guest a seat?",
            f"Count the bijections $\\pi$ of the set of the first {n} positive integers onto "
            f"itself with {places} and $|\\pi(i) - i| {sign} {d}$ throughout.",
        )


class BoundedEquation(NamedTuple):
    """`sum coefficients[i] x_i = total` with `0 <= x_i <= bounds[i]`."""

    coefficients: tuple[int, ...]
    bounds: tuple[int, ...]
    total: int


class BoundedSolutions(_Combinatorics[BoundedEquation]):
    """Solutions of a linear equation with bounds."""

    name = "bounded_solutions"
    summary = "integer solutions of a linear equation with bounds"

    def draw(self, rng: Random, level: int) -> BoundedEquation:
        """3 to 10 variables, with coefficients from level 3."""
        count = (3, 4, 5, 7, 10)[level - 1]
        bounds = tuple(rng.randrange(2, 4 + 3 * level) for _ in range(count))
        top = 1 if level < 3 else 4
        coefficients = tuple(rng.randint(1, top) for _ in range(count))
        most = sum(c * b for c, b in zip(coefficients, bounds, strict=True))
        return BoundedEquation(coefficients, bounds, rng.randrange(most // 3, 2 * most // 3 + 1))

    def answer(self, drawn: BoundedEquation) -> int:
        """The exact answer, by convolution."""
        ways = [1] + [0] * drawn.total
        for c, bound in zip(drawn.coefficients, drawn.bounds, strict=True):
            ways = [
                sum(ways[s - c * t] for t in range(min(bound, s // c) + 1))
                for s in range(drawn.total + 1)
            ]
        return ways[-1]

    def phrase(self, drawn: BoundedEquation) -> tuple[str, ...]:
        """The question in all its wordings."""
        letters = "abcdefghij"[: len(drawn.bounds)]
        left = " + ".join(
            letter if c == 1 else f"{c}{letter}"
            for c, letter in zip(drawn.coefficients, letters, strict=True)
        )
        limits = [f"${x} \\le {b}$" for x, b in zip(letters, drawn.bounds, strict=True)]
        caps = listing(limits)
        stock = listing(
            f"at most {b} of kind ${x}$" for x, b in zip(letters, drawn.bounds, strict=True)
        )
        n = drawn.total
        return (
            f"Find the number of solutions of ${left} = {n}$ in non-negative integers with {caps}.",
            f"How many ways are there to choose non-negative integers with {caps} such that "
            f"${left} = {n}$?",
            f"Count the tuples of non-negative integers that satisfy ${left} = {n}$ and {caps}.",
            f"A shop sells one kind of item for each letter in ${left} = {n}$, and a letter stands "
            f"for the number bought of its kind. It stocks {stock}. How many purchases satisfy the "
            f"equation?",
        )


class Avoidance(NamedTuple):
    """Words of `length` letters without any of `factors`."""

    length: int
    letters: str
    factors: tuple[str, ...]


class WordsAvoiding(_Combinatorics[Avoidance]):
    """Words that avoid factors."""

    name = "words_avoiding"
    summary = "words that avoid given blocks, modulo a prime"

    def draw(self, rng: Random, level: int) -> Avoidance:
        """From 6 letters of a two-letter alphabet to 10^6 of three."""
        length = (6, 10, 18, 60, 10**6)[level - 1] + rng.randrange(10)
        letters = "ABC" if level > 2 else "AB"
        low, high = 2 + (level > 1), 3 + (level > 2)
        count = 2 + (level > 3)
        factors = {
            "".join(rng.choice(letters) for _ in range(rng.randint(low, high)))
            for _ in range(count)
        }
        return Avoidance(length, letters, tuple(sorted(factors)))

    def answer(self, drawn: Avoidance) -> int:
        """The exact answer: the automaton of prefixes, to a matrix power."""
        prefixes = sorted({f[:k] for f in drawn.factors for k in range(len(f))}, key=len)
        places = {prefix: i for i, prefix in enumerate(prefixes)}
        moves = [[0] * len(prefixes) for _ in prefixes]
        for prefix, letter in itertools.product(prefixes, drawn.letters):
            word = prefix + letter
            if any(word.endswith(factor) for factor in drawn.factors):
                continue
            rest = next(word[k:] for k in range(len(word) + 1) if word[k:] in places)
            moves[places[prefix]][places[rest]] += 1
        return sum(power(moves, drawn.length, PRIME)[0]) % PRIME

    def phrase(self, drawn: Avoidance) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, blocks = drawn.length, ", ".join(drawn.factors)
        letters = listing(drawn.letters)
        return (
            f"How many words of length ${n}$ over the letters {letters} contain none of the blocks "
            f"{blocks}? Give the answer modulo ${PRIME}$.",
            f"Count the strings of {n} letters, each one of {letters}, in which no consecutive "
            f"letters form one of {blocks}. Answer modulo {PRIME}.",
            f"A machine prints {n} letters, each one of {letters}, but it jams whenever the last "
            f"letters form one of {blocks}. How many outputs without a jam are there, modulo "
            f"{PRIME}?",
            f"Determine, modulo {PRIME}, how many sequences of {n} letters from {letters} avoid "
            f"every one of {blocks} as a contiguous block.",
        )


FAMILIES = (
    GridPaths(),
    Tilings(),
    RestrictedPermutations(),
    BoundedSolutions(),
    WordsAvoiding(),
)
