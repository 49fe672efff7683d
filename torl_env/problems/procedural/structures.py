"""Combinatorics of structures: necklaces, graphs, subsets, partitions."""

import math
from collections import Counter
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import PRIME, determinant, divisors, totient
from torl_env.problems.procedural.wording import edges


@family(
    "combinatorics",
    "necklaces or bracelets with n beads and k colours, modulo a prime",
    Group.TRANSFER,
)
def necklaces(rng: Random, level: int) -> Drawn:
    """4 to 120 beads."""
    low, high = ((4, 8), (6, 11), (9, 18), (15, 40), (40, 120))[level - 1]
    n, k, turned = rng.randrange(low, high), rng.randrange(2, 5 + level), rng.random() < 0.5
    same = "a rotation or a reflection" if turned else "a rotation"
    free = "rotated and turned over" if turned else "rotated but not turned over"

    def answer() -> int:
        # Burnside's lemma.
        fixed: int = sum(totient(d) * k ** (n // d) for d in divisors(n))
        if not turned:
            return fixed // n % PRIME
        if n % 2:
            fixed += n * k ** (n // 2 + 1)
        else:
            fixed += n // 2 * (k ** (n // 2) + k ** (n // 2 + 1))
        return fixed // (2 * n) % PRIME

    return Drawn(
        answer,
        (
            f"How many different necklaces of {n} beads can be made with beads of {k} colours, "
            f"if two necklaces are the same when {same} takes one to the other? Answer modulo "
            f"{PRIME}.",
            f"The corners of a regular polygon with {n} corners are painted with {k} colours; "
            f"the polygon may be {free}. How many different paintings are there, modulo {PRIME}?",
            f"A round table has {n} places, and each gets a plate in one of {k} colours. Two "
            f"layouts count as one if {same} of the table takes one to the other. Find the "
            f"number of layouts modulo {PRIME}.",
            f"Colour the vertices of a cycle of length {n} with {k} colours. Modulo {PRIME}, how "
            f"many colourings are there if the cycle may be {free}?",
        ),
        {"beads": n, "colours": k, "turned": turned},
    )


def _connected(rng: Random, vertices: int) -> list[tuple[int, int]]:
    """The edges of a random tree on `0..vertices-1` and some more."""
    found = {(rng.randrange(i), i) for i in range(1, vertices)}
    wanted = rng.randrange(vertices + 1, 2 * vertices)
    while len(found) < min(vertices * (vertices - 1) // 2 - 1, wanted):
        a, b = sorted(rng.sample(range(vertices), 2))
        found.add((a, b))
    return sorted(found)


@family("combinatorics", "spanning trees of a given graph")
def spanning_trees(rng: Random, level: int) -> Drawn:
    """5 to 15 vertices."""
    n = (5, 6, 8, 11, 15)[level - 1]
    pairs = _connected(rng, n)
    lines = edges(pairs)

    def answer() -> int:
        # Kirchhoff's theorem.
        laplacian = [[0] * n for _ in range(n)]
        for a, b in pairs:
            laplacian[a][a] += 1
            laplacian[b][b] += 1
            laplacian[a][b] -= 1
            laplacian[b][a] -= 1
        return determinant([row[1:] for row in laplacian[1:]])

    return Drawn(
        answer,
        (
            f"A graph on {n} vertices has the edges {lines}. How many spanning trees does it have?",
            f"Find the number of spanning trees of the graph with {n} vertices and edges {lines}.",
            f"The roads {lines} connect {n} towns. In how many ways can one choose a set of "
            "roads without a circuit that still connects all towns?",
            f"Count the subsets of the edges {lines} that form a tree on all {n} vertices.",
        ),
        {"vertices": n, "edges": pairs},
    )


@family("combinatorics", "subsets of 1..n with a given sum (of squares) modulo m, modulo a prime")
def subset_sums(rng: Random, level: int) -> Drawn:
    """From n = 7 to 3,000."""
    sizes = ((7, 14), (14, 24), (30, 80), (150, 400), (1500, 3000))
    moduli = ((3, 8), (4, 10), (5, 14), (7, 20), (23, 42))
    m = rng.randrange(*moduli[level - 1])
    r = rng.randrange(m)
    n, squares = rng.randrange(*sizes[level - 1]), rng.random() < 0.5
    total = "the sum of the squares of its elements" if squares else "the sum of its elements"
    weights = "the squares of their numbers" if squares else "their numbers"

    def answer() -> int:
        ways = [1] + [0] * (m - 1)
        for number in range(1, n + 1):
            shift = number * number % m if squares else number % m
            ways = [(count + ways[i - shift]) % PRIME for i, count in enumerate(ways)]
        return ways[r]

    return Drawn(
        answer,
        (
            f"For how many subsets of the set of the first {n} positive integers (the empty set "
            f"with sum zero included) is {total} congruent to {r} modulo {m}? Give the answer "
            f"modulo {PRIME}.",
            f"Count the subsets of the first {n} positive integers for which {total} leaves "
            f"remainder {r} on division by {m}. The empty set has sum zero. Answer modulo "
            f"{PRIME}.",
            f"Cards are numbered from one up to {n}. In how many ways can one take some of them, "
            f"possibly none, so that the sum of {weights} is {r} modulo {m}? Answer modulo "
            f"{PRIME}.",
            f"Find, modulo {PRIME}, the number of sets of distinct positive integers, none "
            f"larger than {n}, with the property that {total} is congruent to {r} modulo {m}; "
            "the empty set counts with sum zero.",
        ),
        {"size": n, "modulus": m, "rest": r, "squares": squares},
    )


@family("combinatorics", "proper colourings of a given graph")
def colourings(rng: Random, level: int) -> Drawn:
    """5 to 11 vertices, 3 to 9 colours."""
    n = (5, 6, 7, 9, 11)[level - 1]
    pairs, q = _connected(rng, n), rng.randrange(3, 5 + level)
    lines = edges(pairs)

    def answer() -> int:
        # Partitions into independent sets, each with its choice of colours.
        neighbours = [0] * n
        for a, b in pairs:
            neighbours[a] |= 1 << b
            neighbours[b] |= 1 << a
        states: Counter[tuple[int, ...]] = Counter({(): 1})
        for vertex in range(n):
            following: Counter[tuple[int, ...]] = Counter()
            for blocks, ways in states.items():
                for i, block in enumerate(blocks):
                    if not block & neighbours[vertex]:
                        following[*blocks[:i], block | 1 << vertex, *blocks[i + 1 :]] += ways
                if len(blocks) < q:
                    following[*blocks, 1 << vertex] += ways
            states = following
        return sum(ways * math.perm(q, len(blocks)) for blocks, ways in states.items())

    return Drawn(
        answer,
        (
            f"A graph on {n} vertices has the edges {lines}. In how many ways can its vertices "
            f"be coloured with {q} colours so that adjacent vertices get different colours?",
            f"Find the number of proper colourings with {q} available colours of the graph with "
            f"{n} vertices and edges {lines}.",
            f"There are {n} exams and {q} rooms of unlimited size; the pairs {lines} of exams "
            "must not share a room. In how many ways can the exams be assigned to the rooms?",
            f"Evaluate at {q} the chromatic polynomial of the graph that has {n} vertices and "
            f"the edges {lines}.",
        ),
        {"graph": (n, pairs), "colours": q},
    )


@family("combinatorics", "partitions of n into distinct, odd or small parts, modulo a prime")
def partitions(rng: Random, level: int) -> Drawn:
    """From n = 10 to 1,500."""
    low, high = ((10, 25), (20, 50), (60, 150), (200, 500), (800, 1500))[level - 1]
    kind = rng.choice(("distinct", "odd", "small"))
    n, largest = rng.randrange(low, high), rng.randrange(3, 4 + 3 * level)
    parts = {
        "distinct": "distinct parts",
        "odd": "odd parts",
        "small": f"parts of size at most {largest}",
    }[kind]

    def answer() -> int:
        if kind == "small":
            ways = [1] + [0] * n
            for part in range(1, largest + 1):
                for s in range(part, n + 1):
                    ways[s] = (ways[s] + ways[s - part]) % PRIME
            return ways[-1]
        # Euler: as many partitions have odd parts as have distinct parts; count the latter by the
        # number k of parts, which is at most about sqrt(2 total).
        ways, answer, k = [1] + [0] * n, 0, 0
        while k * (k + 1) // 2 <= n:
            answer += ways[-1]
            k += 1
            shifted = [0] * (n + 1)
            for s in range(k, n + 1):
                shifted[s] = (shifted[s - k] + ways[s - k]) % PRIME
            ways = shifted
        return answer % PRIME

    return Drawn(
        answer,
        (
            f"In how many ways can {n} be partitioned into {parts} (the order of the parts does "
            f"not matter)? Give the answer modulo {PRIME}.",
            f"Find the number of partitions of {n} into {parts}, modulo {PRIME}.",
            f"Write {n} as a sum of positive integers, using {parts} and ignoring order. How "
            f"many ways are there, modulo {PRIME}?",
            f"A pile of {n} stones is split into heaps, and the sizes of the heaps are {parts} "
            "of the number of stones. How many multisets of heap sizes are possible, modulo "
            f"{PRIME}?",
        ),
        {"total": n, "kind": kind, "largest": largest},
    )
