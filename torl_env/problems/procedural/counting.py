"""Combinatorics by dynamic programming: paths, tilings, permutations, sums, words."""

import itertools
from collections import Counter, defaultdict
from random import Random

from torl_env.problems.procedural.family import Drawn, family
from torl_env.problems.procedural.integers import PRIME, power
from torl_env.problems.procedural.wording import listing

Cell = tuple[int, int]


@family("combinatorics", "lattice paths that avoid given points")
def grid_paths(rng: Random, level: int) -> Drawn:
    """From 3 by 3 with one hole to 20 by 20 with 25 holes and diagonal steps."""
    extra, count = ((0, 1), (2, 3), (5, 6), (9, 12), (16, 25))[level - 1]
    width, height = rng.randrange(3, 5) + extra, rng.randrange(3, 5) + extra
    inner = list(itertools.product(range(width + 1), range(height + 1)))[1:-1]
    holes = tuple(sorted(rng.sample(inner, count)))
    diagonal = level >= 3
    points = ", ".join(f"({x}, {y})" for x, y in holes)
    goal = f"({width}, {height})"
    steps = "one to the right, one up" + (", or one diagonally right and up" if diagonal else "")

    def answer() -> int:
        ways = defaultdict(int, {(0, 0): 1})
        for x, y in itertools.product(range(width + 1), range(height + 1)):
            if (x, y) in holes:
                continue
            ways[x, y] += ways[x - 1, y] + ways[x, y - 1]
            if diagonal:
                ways[x, y] += ways[x - 1, y - 1]
        return ways[width, height]

    return Drawn(
        answer,
        (
            f"How many paths lead from the origin to {goal} if each step goes {steps}, and none "
            f"of the points {points} may be visited?",
            f"A path starts at the origin and ends at {goal}; its steps go {steps}. How many "
            f"such paths avoid all of the points {points}?",
            f"A robot walks on the integer grid from the origin to {goal}. Allowed moves: "
            f"{steps}. It must not enter the cells {points}. In how many ways can it walk?",
            f"Count the lattice paths from the origin to {goal} with steps {steps} that miss "
            f"every one of {points}.",
        ),
        {"width": width, "height": height, "holes": holes, "diagonal": diagonal},
    )


def _count_tilings(rows: int, columns: int, removed: list[Cell], singles: bool) -> int:
    """Cell by cell, column after column, with the covered cells ahead as a bit mask."""
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


@family("combinatorics", "tilings of a board with holes by dominoes (and squares)")
def tilings(rng: Random, level: int) -> Drawn:
    """From 2 by 4 to 7 by 16; without squares the holes keep the colours balanced."""
    rows, low, high = ((2, 4, 8), (3, 4, 8), (4, 5, 10), (5, 8, 14), (7, 10, 16))[level - 1]
    columns, singles = rng.randrange(low, high), rng.random() < 0.6
    cells = list(itertools.product(range(rows), range(columns + (not singles and rows % 2))))
    if singles:
        removed = rng.sample(cells, level + 1)
    else:
        columns += columns * rows % 2
        cells = list(itertools.product(range(rows), range(columns)))
        colours = ([c for c in cells if sum(c) % 2 == side] for side in (0, 1))
        removed = [cell for colour in colours for cell in rng.sample(colour, (level + 1) // 2)]
    removed.sort()
    holes = ", ".join(f"({r + 1}, {c + 1})" for r, c in removed)
    dominoes = "dominoes, each covering two neighbouring cells"
    pieces = f"single squares and {dominoes}" if singles else dominoes
    size = f"{rows} rows and {columns} columns"
    return Drawn(
        lambda: _count_tilings(rows, columns, removed, singles),
        (
            f"A board has {size}; the cells {holes} (row, column) are removed. In how many ways "
            f"can the remaining cells be tiled with {pieces}?",
            f"From a rectangular board with {size}, cut out the cells {holes}, written as (row, "
            f"column). How many tilings by {pieces} does the rest have?",
            f"A floor with {size} of square cells has pillars on the cells {holes} (row, "
            f"column). In how many ways can the free cells be paved with {pieces}?",
            f"Count the ways to cover all cells except {holes} of a grid with {size} by "
            f"{pieces}, without overlaps. Cells are given as (row, column).",
        ),
        {"rows": rows, "columns": columns, "removed": removed, "singles": singles},
    )


@family("combinatorics", "permutations with bounded displacement and forbidden places")
def restricted_permutations(rng: Random, level: int) -> Drawn:
    """From 5 to 14 elements."""
    n = (5, 7, 9, 12, 14)[level - 1]
    # |p(i) - i| <= d where `near`, else >= d; and p(i) != j for each forbidden (i, j), from 0.
    near = rng.random() < 0.5
    d = rng.randrange(1, 2 + level // 2) + near
    count = rng.randrange(level + 1, level + 4)
    forbidden = sorted({(rng.randrange(n), rng.randrange(n)) for _ in range(count)})
    sign, words = ("\\le", "at most") if near else ("\\ge", "at least")
    places = listing(f"$\\pi({i + 1}) \\ne {j + 1}$" for i, j in forbidden)
    seats = listing((f"guest {i + 1} on seat {j + 1}" for i, j in forbidden), "or")

    def answer() -> int:
        # Over subsets of used values.
        states = {0: 1}
        for i in range(n):
            values = [
                1 << j
                for j in range(n)
                if (i, j) not in forbidden and (abs(i - j) <= d if near else abs(i - j) >= d)
            ]
            following: dict[int, int] = defaultdict(int)
            for used, ways in states.items():
                for bit in values:
                    if not used & bit:
                        following[used | bit] += ways
            states = following
        return states.get((1 << n) - 1, 0)

    return Drawn(
        answer,
        (
            f"How many permutations $\\pi$ of the first {n} positive integers satisfy $|\\pi(i) "
            f"- i| {sign} {d}$ for all $i$ and {places}?",
            f"Let $\\pi$ permute the first {n} positive integers so that {places}, and so that "
            f"every element moves by {words} {d}. How many such $\\pi$ are there?",
            f"Guests and seats are both numbered from one up to {n}. Each guest takes a seat "
            f"whose number differs from the guest's own by {words} {d}; nobody wants {seats}. In "
            "how many ways can they be seated, one guest a seat?",
            f"Count the bijections $\\pi$ of the set of the first {n} positive integers onto "
            f"itself with {places} and $|\\pi(i) - i| {sign} {d}$ throughout.",
        ),
        {"size": n, "distance": d, "near": near, "forbidden": forbidden},
    )


@family("combinatorics", "integer solutions of a linear equation with bounds")
def bounded_solutions(rng: Random, level: int) -> Drawn:
    """3 to 10 variables, with coefficients from level 3."""
    count = (3, 4, 5, 7, 10)[level - 1]
    bounds = tuple(rng.randrange(2, 4 + 3 * level) for _ in range(count))
    top = 1 if level < 3 else 4
    coefficients = tuple(rng.randint(1, top) for _ in range(count))
    most = sum(c * b for c, b in zip(coefficients, bounds, strict=True))
    n = rng.randrange(most // 3, 2 * most // 3 + 1)
    letters = "abcdefghij"[: len(bounds)]
    left = " + ".join(
        letter if c == 1 else f"{c}{letter}"
        for c, letter in zip(coefficients, letters, strict=True)
    )
    caps = listing(f"${x} \\le {b}$" for x, b in zip(letters, bounds, strict=True))
    stock = listing(f"at most {b} of kind ${x}$" for x, b in zip(letters, bounds, strict=True))

    def answer() -> int:
        # By convolution.
        ways = [1] + [0] * n
        for c, bound in zip(coefficients, bounds, strict=True):
            ways = [
                sum(ways[s - c * t] for t in range(min(bound, s // c) + 1)) for s in range(n + 1)
            ]
        return ways[-1]

    return Drawn(
        answer,
        (
            f"Find the number of solutions of ${left} = {n}$ in non-negative integers with {caps}.",
            f"How many ways are there to choose non-negative integers with {caps} such that "
            f"${left} = {n}$?",
            f"Count the tuples of non-negative integers that satisfy ${left} = {n}$ and {caps}.",
            f"A shop sells one kind of item for each letter in ${left} = {n}$, and a letter "
            f"stands for the number bought of its kind. It stocks {stock}. How many purchases "
            "satisfy the equation?",
        ),
        {"coefficients": coefficients, "bounds": bounds, "total": n},
    )


@family("combinatorics", "words that avoid given blocks, modulo a prime")
def words_avoiding(rng: Random, level: int) -> Drawn:
    """From 6 letters of a two-letter alphabet to 10^6 of three."""
    n = (6, 10, 18, 60, 10**6)[level - 1] + rng.randrange(10)
    alphabet = "ABC" if level > 2 else "AB"
    low, high = 2 + (level > 1), 3 + (level > 2)
    count = 2 + (level > 3)
    words = {
        "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high))) for _ in range(count)
    }
    factors = tuple(sorted(words))
    blocks = ", ".join(factors)
    letters = listing(alphabet)

    def answer() -> int:
        # The automaton of prefixes, to a matrix power.
        prefixes = sorted({f[:k] for f in factors for k in range(len(f))}, key=len)
        places = {prefix: i for i, prefix in enumerate(prefixes)}
        moves = [[0] * len(prefixes) for _ in prefixes]
        for prefix, letter in itertools.product(prefixes, alphabet):
            word = prefix + letter
            if word.endswith(factors):
                continue
            rest = next(word[k:] for k in range(len(word) + 1) if word[k:] in places)
            moves[places[prefix]][places[rest]] += 1
        return sum(power(moves, n, PRIME)[0]) % PRIME

    return Drawn(
        answer,
        (
            f"How many words of length ${n}$ over the letters {letters} contain none of the "
            f"blocks {blocks}? Give the answer modulo ${PRIME}$.",
            f"Count the strings of {n} letters, each one of {letters}, in which no consecutive "
            f"letters form one of {blocks}. Answer modulo {PRIME}.",
            f"A machine prints {n} letters, each one of {letters}, but it jams whenever the last "
            f"letters form one of {blocks}. How many outputs without a jam are there, modulo "
            f"{PRIME}?",
            f"Determine, modulo {PRIME}, how many sequences of {n} letters from {letters} avoid "
            f"every one of {blocks} as a contiguous block.",
        ),
        {"length": n, "letters": alphabet, "factors": factors},
    )
