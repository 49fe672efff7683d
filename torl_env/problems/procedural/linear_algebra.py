"""Linear algebra: determinants, matrix powers, systems modulo a prime."""

import math
from collections.abc import Callable
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import PRIME, determinant, power, solve_mod
from torl_env.problems.procedural.wording import pmatrix


@family("linear algebra", "determinant of a matrix given by a rule", Group.TRANSFER)
def structured_determinant(rng: Random, level: int) -> Drawn:
    """3 by 3 to 15 by 15."""
    n = (3, 4, 6, 9, 13)[level - 1] + rng.randrange(3)
    kind, c, d = rng.randrange(4), rng.randint(2, 12), rng.randint(2, 12)
    entry: Callable[[int, int], int] = (
        lambda i, j: math.gcd(i, j) * d + (c if i == j else 0),
        lambda i, j: abs(i - j) * d + c,
        lambda i, j: min(i, j) * c + (d if i == j else 0),
        lambda i, j: (i * j * c + d * (i + j)) % (2 * n + 1),
    )[kind]
    rows = [[entry(i, j) for j in range(1, n + 1)] for i in range(1, n + 1)]
    rule = (
        f"the entry in row $i$ and column $j$ is ${d}\\gcd(i, j)$, with ${c}$ added on the "
        f"diagonal",
        f"the entry in row $i$ and column $j$ is ${d}|i - j| + {c}$",
        f"the entry in row $i$ and column $j$ is ${c}\\min(i, j)$, with ${d}$ added on the "
        f"diagonal",
        f"the entry in row $i$ and column $j$ is the remainder of ${c}ij + {d}(i + j)$ on "
        f"division by ${2 * n + 1}$",
    )[kind]
    size = f"${n} \\times {n}$"
    return Drawn(
        lambda: determinant(rows),
        (
            f"Let $A$ be the {size} matrix in which {rule}. Rows and columns are numbered from "
            "one. Find $\\det A$.",
            f"In a {size} matrix, {rule}; numbering starts at one. What is its determinant?",
            f"Compute the determinant of the {size} matrix where {rule}, for rows and columns "
            "numbered starting with one.",
            f"A table of size {size} is filled so that {rule}, counting from one. Read it as a "
            "matrix and find the determinant.",
        ),
        {"rows": rows},
    )


@family("linear algebra", "sum of the entries of a power of a matrix")
def matrix_power(rng: Random, level: int) -> Drawn:
    """2 by 2 to 5 by 5, exponents from 3 to 10^18."""
    size, low, high, modulus = (
        (2, 3, 6, 0),
        (2, 8, 15, 0),
        (3, 50, 200, 1009),
        (4, 10**6, 10**9, 10**6 + 3),
        (5, 10**15, 10**18, PRIME),
    )[level - 1]
    rows = tuple(tuple(rng.randrange(-4, 6) for _ in range(size)) for _ in range(size))
    n = rng.randrange(low, high)
    matrix = pmatrix(rows)
    end = f", as a non-negative residue modulo ${modulus}$" if modulus else ""

    def answer() -> int:
        total = sum(map(sum, power(rows, n, modulus)))
        return total % modulus if modulus else total

    return Drawn(
        answer,
        (
            f"Let $A = {matrix}$. Find the sum of all entries of $A^{{{n}}}${end}.",
            f"The matrix $A = {matrix}$ is raised to the power ${n}$. Add up all entries of the "
            f"result{end}.",
            f"Let $u$ be the column vector of ones and $A = {matrix}$. Compute $u^T A^{{{n}}} "
            f"u${end}.",
            f"Start with the vector of ones and multiply it ${n}$ times by $A = {matrix}$. Give "
            f"the sum of the entries of the final vector{end}.",
        ),
        {"rows": rows, "exponent": n, "modulus": modulus},
    )


@family("linear algebra", "solution of a linear system modulo a prime")
def system_mod_p(rng: Random, level: int) -> Drawn:
    """2 unknowns modulo 11 to 9 modulo 10,007."""
    p, size = ((11, 2), (31, 3), (101, 4), (1009, 6), (10007, 9))[level - 1]
    rows = [[rng.randrange(p) for _ in range(size)] for _ in range(size)]
    hidden = [rng.randrange(p) for _ in range(size)]
    right = [sum(a * x for a, x in zip(row, hidden, strict=True)) % p for row in rows]
    letters = "abcdefghi"[: len(right)]
    lines = "; ".join(
        "$"
        + " + ".join(f"{value}{letter}" for value, letter in zip(row, letters, strict=True))
        + f" \\equiv {value}$"
        for row, value in zip(rows, right, strict=True)
    )
    goal = " + ".join(
        letter if i == 1 else f"{i}{letter}" for i, letter in enumerate(letters, start=1)
    )
    ends = "non-negative residues, smaller than the modulus,"

    def answer() -> int:
        # 0, which is degenerate, for a singular system.
        solution = solve_mod(rows, right, p)
        return sum(i * x for i, x in enumerate(solution, start=1)) if solution else 0

    return Drawn(
        answer,
        (
            f"The system {lines} of congruences modulo the prime ${p}$ has exactly one solution "
            f"in residues. With the unknowns as {ends} find ${goal}$ as an integer.",
            f"Modulo the prime ${p}$, solve {lines}. Writing the unknowns as {ends} what is the "
            f"integer ${goal}$?",
            f"Over the field with ${p}$ elements the equations {lines} have a unique solution. "
            f"Take the unknowns as {ends} and compute ${goal}$ in the integers.",
            f"A lock opens with the residues modulo ${p}$ that satisfy {lines}. Its code is the "
            f"integer ${goal}$ with the unknowns as {ends} so which code is it?",
        ),
        {"prime": p, "rows": rows, "right": right},
    )
