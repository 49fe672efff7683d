"""Linear algebra: determinants, matrix powers, systems modulo a prime."""

import math
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import PRIME, determinant, power, solve_mod
from torl_env.problems.procedural.wording import pmatrix


class _LinearAlgebra(Family[P]):
    subject = "linear algebra"


class Structured(NamedTuple):
    """A matrix given by a rule."""

    size: int
    kind: int
    c: int
    d: int


class StructuredDeterminant(_LinearAlgebra[Structured]):
    """Determinants of gcd, min, distance and residue matrices."""

    name = "structured_determinant"
    summary = "determinant of a matrix given by a rule"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Structured:
        """3 by 3 to 15 by 15."""
        size = (3, 4, 6, 9, 13)[level - 1] + rng.randrange(3)
        return Structured(size, rng.randrange(4), rng.randint(2, 12), rng.randint(2, 12))

    @staticmethod
    def matrix(drawn: Structured) -> list[list[int]]:
        """The matrix in full."""
        n, kind, c, d = drawn
        places = range(1, n + 1)
        if kind == 0:
            return [[math.gcd(i, j) * d + (c if i == j else 0) for j in places] for i in places]
        if kind == 1:
            return [[abs(i - j) * d + c for j in places] for i in places]
        if kind == 2:
            return [[min(i, j) * c + (d if i == j else 0) for j in places] for i in places]
        return [[(i * j * c + d * (i + j)) % (2 * n + 1) for j in places] for i in places]

    def answer(self, drawn: Structured) -> int:
        """The exact answer."""
        return determinant(self.matrix(drawn))

    def phrase(self, drawn: Structured) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, kind, c, d = drawn
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
        return (
            f"Let $A$ be the {size} matrix in which {rule}. Rows and columns are numbered from "
            f"one. Find $\\det A$.",
            f"In a {size} matrix, {rule}; numbering starts at one. What is its determinant?",
            f"Compute the determinant of the {size} matrix where {rule}, for rows and columns "
            f"numbered starting with one.",
            f"A table of size {size} is filled so that {rule}, counting from one. Read it as a "
            f"matrix and find the determinant.",
        )


class MatrixPowerOf(NamedTuple):
    """A matrix, an exponent, and a modulus unless that is 0."""

    rows: tuple[tuple[int, ...], ...]
    exponent: int
    modulus: int


class MatrixPower(_LinearAlgebra[MatrixPowerOf]):
    """The sum of the entries of a power."""

    name = "matrix_power"
    summary = "sum of the entries of a power of a matrix"

    def draw(self, rng: Random, level: int) -> MatrixPowerOf:
        """2 by 2 to 5 by 5, exponents from 3 to 10^18."""
        size, low, high, modulus = (
            (2, 3, 6, 0),
            (2, 8, 15, 0),
            (3, 50, 200, 1009),
            (4, 10**6, 10**9, 10**6 + 3),
            (5, 10**15, 10**18, PRIME),
        )[level - 1]
        rows = tuple(tuple(rng.randrange(-4, 6) for _ in range(size)) for _ in range(size))
        return MatrixPowerOf(rows, rng.randrange(low, high), modulus)

    def answer(self, drawn: MatrixPowerOf) -> int:
        """The exact answer."""
        total = sum(map(sum, power(drawn.rows, drawn.exponent, drawn.modulus)))
        return total % drawn.modulus if drawn.modulus else total

    def phrase(self, drawn: MatrixPowerOf) -> tuple[str, ...]:
        """The question in all its wordings."""
        matrix, n = pmatrix(drawn.rows), drawn.exponent
        end = f", as a non-negative residue modulo ${drawn.modulus}$" if drawn.modulus else ""
        return (
            f"Let $A = {matrix}$. Find the sum of all entries of $A^{{{n}}}${end}.",
            f"The matrix $A = {matrix}$ is raised to the power ${n}$. Add up all entries of the "
            f"result{end}.",
            f"Let $u$ be the column vector of ones and $A = {matrix}$. Compute "
            f"$u^T A^{{{n}}} u${end}.",
            f"Start with the vector of ones and multiply it ${n}$ times by $A = {matrix}$. Give "
            f"the sum of the entries of the final vector{end}.",
        )


class ModularSystem(NamedTuple):
    """A regular system modulo a prime."""

    prime: int
    rows: tuple[tuple[int, ...], ...]
    right: tuple[int, ...]


class SystemModP(_LinearAlgebra[ModularSystem]):
    """Linear systems modulo a prime."""

    name = "system_mod_p"
    summary = "solution of a linear system modulo a prime"

    def draw(self, rng: Random, level: int) -> ModularSystem:
        """2 unknowns modulo 11 to 9 modulo 10,007."""
        prime, size = ((11, 2), (31, 3), (101, 4), (1009, 6), (10007, 9))[level - 1]
        rows = tuple(tuple(rng.randrange(prime) for _ in range(size)) for _ in range(size))
        hidden = [rng.randrange(prime) for _ in range(size)]
        right = tuple(sum(a * x for a, x in zip(row, hidden, strict=True)) % prime for row in rows)
        return ModularSystem(prime, rows, right)

    def answer(self, drawn: ModularSystem) -> int:
        """The exact answer; 0, which is degenerate, for a singular system."""
        solution = solve_mod(drawn.rows, drawn.right, drawn.prime)
        return sum(i * x for i, x in enumerate(solution, start=1)) if solution else 0

    def phrase(self, drawn: ModularSystem) -> tuple[str, ...]:
        """The question in all its wordings."""
        p, letters = drawn.prime, "abcdefghi"[: len(drawn.right)]
        lines = "; ".join(
            "$"
            + " + ".join(f"{value}{letter}" for value, letter in zip(row, letters, strict=True))
            + f" \\equiv {value}$"
            for row, value in zip(drawn.rows, drawn.right, strict=True)
        )
        goal = " + ".join(
            letter if i == 1 else f"{i}{letter}" for i, letter in enumerate(letters, start=1)
        )
        ends = "non-negative residues, smaller than the modulus,"
        return (
            f"The system {lines} of congruences modulo the prime ${p}$ has exactly one solution in "
            f"residues. With the unknowns as {ends} find ${goal}$ as an integer.",
            f"Modulo the prime ${p}$, solve {lines}. Writing the unknowns as {ends} what is the "
            f"integer ${goal}$?",
            f"Over the field with ${p}$ elements the equations {lines} have a unique solution. "
            f"Take the unknowns as {ends} and compute ${goal}$ in the integers.",
            f"A lock opens with the residues modulo ${p}$ that satisfy {lines}. Its code is the "
            f"integer ${goal}$ with the unknowns as {ends} so which code is it?",
        )


FAMILIES = (StructuredDeterminant(), MatrixPower(), SystemModP())
