"""Combinatorics: every answer again by enumeration."""

import itertools
import math

import pytest
import sympy

PRIME = 10**9 + 7


def grid_paths(p):
    if p.width + p.height > 12:
        return None
    steps = [(1, 0), (0, 1)] + [(1, 1)] * p.diagonal

    def walk(x, y):
        if x > p.width or y > p.height or (x, y) in p.holes:
            return 0
        if (x, y) == (p.width, p.height):
            return 1
        return sum(walk(x + a, y + b) for a, b in steps)

    return walk(0, 0)


def tilings(p):
    if p.rows * p.columns > 22:
        return None

    def cover(free):
        if not free:
            return 1
        cell = min(free)
        rest = free - {cell}
        total = cover(rest) if p.singles else 0
        for other in ((cell[0] + 1, cell[1]), (cell[0], cell[1] + 1)):
            if other in rest:
                total += cover(rest - {other})
        return total

    cells = itertools.product(range(p.rows), range(p.columns))
    return cover(frozenset(cells) - set(p.removed))


def restricted_permutations(p):
    if p.size > 7:
        return None

    def allowed(i, j):
        moved = abs(i - j)
        placed = moved <= p.distance if p.near else moved >= p.distance
        return placed and (i, j) not in p.forbidden

    return sum(
        all(allowed(i, j) for i, j in enumerate(order))
        for order in itertools.permutations(range(p.size))
    )


def bounded_solutions(p):
    if math.prod(b + 1 for b in p.bounds) > 10**5:
        return None
    return sum(
        sum(c * x for c, x in zip(p.coefficients, xs, strict=True)) == p.total
        for xs in itertools.product(*(range(b + 1) for b in p.bounds))
    )


def words_avoiding(p):
    if len(p.letters) ** p.length <= 50_000:
        words = map("".join, itertools.product(p.letters, repeat=p.length))
        return sum(not any(f in word for f in p.factors) for word in words) % PRIME
    if p.length > 100:
        return None
    width = max(map(len, p.factors))
    states = {"": 1}
    for _ in range(p.length):
        following = {}
        for (tail, ways), letter in itertools.product(states.items(), p.letters):
            word = tail + letter
            if not any(f in word for f in p.factors):
                following[word[-width:]] = following.get(word[-width:], 0) + ways
        states = following
    return sum(states.values()) % PRIME


def necklaces(p):
    if p.colours**p.beads > 20_000:
        return None
    seen = set()
    for word in itertools.product(range(p.colours), repeat=p.beads):
        orbit = [word[i:] + word[:i] for i in range(p.beads)]
        if p.turned:
            orbit += [image[::-1] for image in orbit]
        seen.add(min(orbit))
    return len(seen) % PRIME


def spanning_trees(p):
    if math.comb(len(p.edges), p.vertices - 1) > 8000:
        laplacian = sympy.zeros(p.vertices)
        for a, b in p.edges:
            laplacian[a, a] += 1
            laplacian[b, b] += 1
            laplacian[a, b] -= 1
            laplacian[b, a] -= 1
        rest = laplacian[:-1, :-1]
        return int(rest.det(method="berkowitz")) if p.vertices < 12 else None

    def is_tree(chosen):
        reached, frontier = {0}, [0]
        while frontier:
            at = frontier.pop()
            for a, b in chosen:
                for here, there in ((a, b), (b, a)):
                    if here == at and there not in reached:
                        reached.add(there)
                        frontier.append(there)
        return len(reached) == p.vertices

    return sum(is_tree(c) for c in itertools.combinations(p.edges, p.vertices - 1))


def subset_sums(p):
    if p.size > 14:
        return None
    power = 2 if p.squares else 1
    subsets = itertools.product((0, 1), repeat=p.size)
    return sum(
        sum(i**power for i, taken in enumerate(s, start=1) if taken) % p.modulus == p.rest
        for s in subsets
    )


def colourings(p):
    vertices, lines = p.graph
    if p.colours**vertices <= 60_000:
        return sum(
            all(c[a] != c[b] for a, b in lines)
            for c in itertools.product(range(p.colours), repeat=vertices)
        )
    if vertices > 9:
        return None

    def chromatic(count, pairs):
        """Deletion and contraction."""
        if not pairs:
            return p.colours**count
        a, b = min(pairs)
        rest = pairs - {(a, b)}
        merged = {tuple(sorted((a if x == b else x, a if y == b else y))) for x, y in rest}
        return chromatic(count, rest) - chromatic(count - 1, frozenset(merged))

    return chromatic(vertices, frozenset(lines))


def partitions(p):
    if p.total > 32:
        return None

    def split(left, top):
        if left == 0:
            return 1
        total = 0
        for part in range(min(left, top), 0, -1):
            if p.kind == "odd" and part % 2 == 0:
                continue
            total += split(left - part, part - 1 if p.kind == "distinct" else part)
        return total

    return split(p.total, p.largest if p.kind == "small" else p.total) % PRIME


SOLVERS = [
    (grid_paths, {1, 2}),
    (tilings, {1, 2}),
    (restricted_permutations, {1, 2}),
    (bounded_solutions, {1, 2}),
    (words_avoiding, {1, 2, 3, 4}),
    (necklaces, {1, 2}),
    (spanning_trees, {1, 2, 3, 4}),
    (subset_sums, {1}),
    (colourings, {1, 2, 3}),
    (partitions, {1, 2}),
]


@pytest.mark.parametrize(("solver", "levels"), SOLVERS, ids=lambda v: getattr(v, "__name__", ""))
def test_answer_equals_that_of_a_second_solver(agree, solver, levels):
    assert agree(solver.__name__, solver, seeds=6) >= levels
