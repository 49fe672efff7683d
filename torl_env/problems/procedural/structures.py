"""Combinatorics of structures: necklaces, graphs, subsets, partitions."""

import math
from collections import Counter
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import PRIME, determinant, divisors, totient
from torl_env.problems.procedural.wording import edges


class _Combinatorics(Family[P]):
    subject = "combinatorics"


class Beads(NamedTuple):
    """Circular arrangements."""

    beads: int
    colours: int
    turned: bool
    """Whether mirror images count as one."""


class Necklaces(_Combinatorics[Beads]):
    """Necklaces up to rotation, or rotation and reflection."""

    name = "necklaces"
    summary = "necklaces or bracelets with n beads and k colours, modulo a prime"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Beads:
        """4 to 120 beads."""
        low, high = ((4, 8), (6, 11), (9, 18), (15, 40), (40, 120))[level - 1]
        return Beads(rng.randrange(low, high), rng.randrange(2, 5 + level), rng.random() < 0.5)

    def answer(self, drawn: Beads) -> int:
        """The exact answer, by Burnside's lemma."""
        n, k, turned = drawn
        fixed: int = sum(totient(d) * k ** (n // d) for d in divisors(n))
        if not turned:
            return fixed // n % PRIME
        if n % 2:
            fixed += n * k ** (n // 2 + 1)
        else:
            fixed += n // 2 * (k ** (n // 2) + k ** (n // 2 + 1))
        return fixed // (2 * n) % PRIME

    def phrase(self, drawn: Beads) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, k, turned = drawn
        same = "a rotation or a reflection" if turned else "a rotation"
        free = "rotated and turned over" if turned else "rotated but not turned over"
        return (
            f"How many different necklaces of {n} beads can be made with beads of {k} colours, if "
            f"two necklaces are the same when {same} takes one to the other? Answer modulo "
            f"{PRIME}.",
            f"The corners of a regular polygon with {n} corners are painted with {k} colours; the "
            f"polygon may be {free}. How many different paintings are there, modulo {PRIME}?",
            f"A round table has {n} places, and each gets a plate in one of {k} colours. Two "
            f"layouts count as one if {same} of the table takes one to the other. Find the number "
            f"of layouts modulo {PRIME}.",
            f"Colour the vertices of a cycle of length {n} with {k} colours. Modulo {PRIME}, how "
            f"many colourings are there if the cycle may be {free}?",
        )


class Graph(NamedTuple):
    """A connected graph on `0..vertices-1`."""

    vertices: int
    edges: tuple[tuple[int, int], ...]


def _connected(rng: Random, vertices: int) -> Graph:
    """A random tree with some more edges."""
    found = {(rng.randrange(i), i) for i in range(1, vertices)}
    wanted = rng.randrange(vertices + 1, 2 * vertices)
    while len(found) < min(vertices * (vertices - 1) // 2 - 1, wanted):
        a, b = sorted(rng.sample(range(vertices), 2))
        found.add((a, b))
    return Graph(vertices, tuple(sorted(found)))


class SpanningTrees(_Combinatorics[Graph]):
    """Spanning trees of an explicit graph."""

    name = "spanning_trees"
    summary = "spanning trees of a given graph"

    def draw(self, rng: Random, level: int) -> Graph:
        """5 to 15 vertices."""
        return _connected(rng, (5, 6, 8, 11, 15)[level - 1])

    def answer(self, drawn: Graph) -> int:
        """The exact answer, by Kirchhoff's theorem."""
        laplacian = [[0] * drawn.vertices for _ in range(drawn.vertices)]
        for a, b in drawn.edges:
            laplacian[a][a] += 1
            laplacian[b][b] += 1
            laplacian[a][b] -= 1
            laplacian[b][a] -= 1
        return determinant([row[1:] for row in laplacian[1:]])

    def phrase(self, drawn: Graph) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, lines = drawn.vertices, edges(drawn.edges)
        return (
            f"A graph on {n} vertices has the edges {lines}. How many spanning trees does it have?",
            f"Find the number of spanning trees of the graph with {n} vertices and edges {lines}.",
            f"The roads {lines} connect {n} towns. In how many ways can one choose a set of roads "
            f"without a circuit that still connects all towns?",
            f"Count the subsets of the edges {lines} that form a tree on all {n} vertices.",
        )


class SubsetSum(NamedTuple):
    """Subsets of `1..size` by the sum of powers modulo `modulus`."""

    size: int
    modulus: int
    rest: int
    squares: bool


class SubsetSums(_Combinatorics[SubsetSum]):
    """Subsets with a given sum modulo m."""

    name = "subset_sums"
    summary = "subsets of 1..n with a given sum (of squares) modulo m, modulo a prime"

    def draw(self, rng: Random, level: int) -> SubsetSum:
        """From n = 7 to 3,000."""
        sizes = ((7, 14), (14, 24), (30, 80), (150, 400), (1500, 3000))
        moduli = ((3, 8), (4, 10), (5, 14), (7, 20), (23, 42))
        modulus = rng.randrange(*moduli[level - 1])
        rest = rng.randrange(modulus)
        return SubsetSum(rng.randrange(*sizes[level - 1]), modulus, rest, rng.random() < 0.5)

    def answer(self, drawn: SubsetSum) -> int:
        """The exact answer."""
        m = drawn.modulus
        ways = [1] + [0] * (m - 1)
        for number in range(1, drawn.size + 1):
            shift = number * number % m if drawn.squares else number % m
            ways = [(count + ways[i - shift]) % PRIME for i, count in enumerate(ways)]
        return ways[drawn.rest]

    def phrase(self, drawn: SubsetSum) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, m, r, squares = drawn
        total = "the sum of the squares of its elements" if squares else "the sum of its elements"
        weights = "the squares of their numbers" if squares else "their numbers"
        return (
            f"For how many subsets of the set of the first {n} positive integers (the empty set "
            f"with sum zero included) is {total} congruent to {r} modulo {m}? Give the answer "
            f"modulo {PRIME}.",
            f"Count the subsets of the first {n} positive integers for which {total} leaves "
            f"remainder {r} on division by {m}. The empty set has sum zero. Answer modulo {PRIME}.",
            f"Cards are numbered from one up to {n}. In how many ways can one take some of them, "
            f"possibly none, so that the sum of {weights} is {r} modulo {m}? Answer modulo "
            f"{PRIME}.",
            f"Find, modulo {PRIME}, the number of sets of distinct positive integers, none larger "
            f"than {n}, with the property that {total} is congruent to {r} modulo {m}; the empty "
            f"set counts with sum zero.",
        )


class Colouring(NamedTuple):
    """A graph and a number of colours."""

    graph: Graph
    colours: int


class Colourings(_Combinatorics[Colouring]):
    """Proper colourings of an explicit graph."""

    name = "colourings"
    summary = "proper colourings of a given graph"

    def draw(self, rng: Random, level: int) -> Colouring:
        """5 to 11 vertices, 3 to 9 colours."""
        return Colouring(_connected(rng, (5, 6, 7, 9, 11)[level - 1]), rng.randrange(3, 5 + level))

    def answer(self, drawn: Colouring) -> int:
        """The exact answer: partitions into independent sets, each with its choice of colours."""
        (vertices, lines), colours = drawn
        neighbours = [0] * vertices
        for a, b in lines:
            neighbours[a] |= 1 << b
            neighbours[b] |= 1 << a
        states: Counter[tuple[int, ...]] = Counter({(): 1})
        for vertex in range(vertices):
            following: Counter[tuple[int, ...]] = Counter()
            for blocks, ways in states.items():
                for i, block in enumerate(blocks):
                    if not block & neighbours[vertex]:
                        following[*blocks[:i], block | 1 << vertex, *blocks[i + 1 :]] += ways
                if len(blocks) < colours:
                    following[*blocks, 1 << vertex] += ways
            states = following
        return sum(ways * math.perm(colours, len(blocks)) for blocks, ways in states.items())

    def phrase(self, drawn: Colouring) -> tuple[str, ...]:
        """The question in all its wordings."""
        (n, pairs), q = drawn
        lines = edges(pairs)
        return (
            f"A graph on {n} vertices has the edges {lines}. In how many ways can its vertices be "
            f"coloured with {q} colours so that adjacent vertices get different colours?",
            f"Find the number of proper colourings with {q} available colours of the graph with "
            f"{n} vertices and edges {lines}.",
            f"There are {n} exams and {q} rooms of unlimited size; the pairs {lines} of exams must "
            f"not share a room. In how many ways can the exams be assigned to the rooms?",
            f"Evaluate at {q} the chromatic polynomial of the graph that has {n} vertices and the "
            f"edges {lines}.",
        )


class Parts(NamedTuple):
    """Partitions of `total` of one kind."""

    total: int
    kind: str
    """`distinct`, `odd` or `small`."""
    largest: int
    """Bound of the parts where the kind is `small`."""


class Partitions(_Combinatorics[Parts]):
    """Restricted integer partitions."""

    name = "partitions"
    summary = "partitions of n into distinct, odd or small parts, modulo a prime"

    def draw(self, rng: Random, level: int) -> Parts:
        """From n = 10 to 1,500."""
        low, high = ((10, 25), (20, 50), (60, 150), (200, 500), (800, 1500))[level - 1]
        kind = rng.choice(("distinct", "odd", "small"))
        return Parts(rng.randrange(low, high), kind, rng.randrange(3, 4 + 3 * level))

    def answer(self, drawn: Parts) -> int:
        """The exact answer."""
        total, kind, largest = drawn
        if kind == "small":
            ways = [1] + [0] * total
            for part in range(1, largest + 1):
                for s in range(part, total + 1):
                    ways[s] = (ways[s] + ways[s - part]) % PRIME
            return ways[-1]
        # Euler: as many partitions have odd parts as have distinct parts; count the latter by the
        # number k of parts, which is at most about sqrt(2 total).
        ways, answer, k = [1] + [0] * total, 0, 0
        while k * (k + 1) // 2 <= total:
            answer += ways[-1]
            k += 1
            shifted = [0] * (total + 1)
            for s in range(k, total + 1):
                shifted[s] = (shifted[s - k] + ways[s - k]) % PRIME
            ways = shifted
        return answer % PRIME

    def phrase(self, drawn: Parts) -> tuple[str, ...]:
        """The question in all its wordings."""
        n = drawn.total
        parts = {
            "distinct": "distinct parts",
            "odd": "odd parts",
            "small": f"parts of size at most {drawn.largest}",
        }[drawn.kind]
        return (
            f"In how many ways can {n} be partitioned into {parts} (the order of the parts does "
            f"not matter)? Give the answer modulo {PRIME}.",
            f"Find the number of partitions of {n} into {parts}, modulo {PRIME}.",
            f"Write {n} as a sum of positive integers, using {parts} and ignoring order. How many "
            f"ways are there, modulo {PRIME}?",
            f"A pile of {n} stones is split into heaps, and the sizes of the heaps are {parts} "
            f"of the number of stones. How many multisets of heap sizes are possible, modulo "
            f"{PRIME}?",
        )


FAMILIES = (
    Necklaces(),
    SpanningTrees(),
    SubsetSums(),
    Colourings(),
    Partitions(),
)
