"""Exact arithmetic that the reference answers share."""

import math
from collections.abc import Sequence
from fractions import Fraction

Matrix = Sequence[Sequence[int]]
PRIME = 10**9 + 7
"""The modulus of answers that would otherwise be hundreds of digits long."""


def factorise(number: int) -> dict[int, int]:
    """The primes of a positive number with their powers, by trial division.

    Example:
        >>> factorise(360)
        {2: 3, 3: 2, 5: 1}
    """
    powers: dict[int, int] = {}
    prime = 2
    while prime * prime <= number:
        while number % prime == 0:
            powers[prime] = powers.get(prime, 0) + 1
            number //= prime
        prime += 1 if prime == 2 else 2
    if number > 1:
        powers[number] = 1
    return powers


def divisors(number: int) -> list[int]:
    """All positive divisors in ascending order."""
    found = [1]
    for prime, power in factorise(number).items():
        found = [d * prime**k for d in found for k in range(power + 1)]
    return sorted(found)


def totient(number: int) -> int:
    """How many of `1..number` are coprime to it."""
    for prime in factorise(number):
        number -= number // prime
    return number


def primes_up_to(bound: int) -> list[int]:
    """All primes `<= bound`."""
    if bound < 2:
        return []
    sieve = bytearray([1]) * (bound + 1)
    sieve[:2] = b"\x00\x00"
    for number in range(2, math.isqrt(bound) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, bound + 1, number)))
    return [number for number in range(bound + 1) if sieve[number]]


def is_prime(number: int) -> bool:
    """Primality, certain below 3.2 * 10^14 (Jaeschke 1993: bases 2 to 17)."""
    small = (2, 3, 5, 7, 11, 13, 17)
    if number < 2 or any(number % p == 0 for p in small):
        return number in small
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in small:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def times(left: Matrix, right: Matrix, modulus: int = 0) -> list[list[int]]:
    """The product of two matrices, reduced when `modulus` is not 0."""
    columns = list(zip(*right, strict=True))
    product = [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left
    ]
    return [[entry % modulus for entry in row] for row in product] if modulus else product


def power(matrix: Matrix, exponent: int, modulus: int = 0) -> list[list[int]]:
    """A power of a square matrix by repeated squaring, reduced when `modulus` is not 0."""
    size = len(matrix)
    result = [[int(i == j) for j in range(size)] for i in range(size)]
    square = [list(row) for row in matrix]
    while exponent:
        if exponent & 1:
            result = times(result, square, modulus)
        square = times(square, square, modulus)
        exponent >>= 1
    return result


def determinant(matrix: Matrix) -> int:
    """The determinant by Bareiss' fraction-free elimination.

    Example:
        >>> determinant([[1, 2], [3, 4]])
        -2
    """
    rows = [list(row) for row in matrix]
    size, sign, previous = len(rows), 1, 1
    for k in range(size - 1):
        pivot = next((i for i in range(k, size) if rows[i][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            rows[k], rows[pivot], sign = rows[pivot], rows[k], -sign
        for i in range(k + 1, size):
            for j in range(k + 1, size):
                cross = rows[i][j] * rows[k][k] - rows[i][k] * rows[k][j]
                rows[i][j] = cross // previous
        previous = rows[k][k]
    return sign * rows[-1][-1]


def solve(matrix: Sequence[Sequence[Fraction]], right: Sequence[Fraction]) -> list[Fraction]:
    """The solution of a regular rational system, by elimination.

    Raises:
        ZeroDivisionError: the matrix is singular.
    """
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for k in range(size):
        pivot = next((i for i in range(k, size) if rows[i][k]), k)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        lead = 1 / rows[k][k]
        rows[k] = [value * lead if value else value for value in rows[k]]
        for i in range(size):
            factor = rows[i][k]
            if i != k and factor:
                rows[i] = [
                    a - factor * b if b else a for a, b in zip(rows[i], rows[k], strict=True)
                ]
    return [row[-1] for row in rows]


def solve_mod(matrix: Matrix, right: Sequence[int], prime: int) -> list[int] | None:
    """The solution of a square system modulo a prime, `None` when the matrix is singular."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for k in range(size):
        pivot = next((i for i in range(k, size) if rows[i][k] % prime), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        lead = pow(rows[k][k], -1, prime)
        rows[k] = [value * lead % prime for value in rows[k]]
        for i in range(size):
            factor = rows[i][k]
            if i != k and factor:
                rows[i] = [(a - factor * b) % prime for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]


def fraction_sum(value: Fraction) -> int:
    """`p + q` of a fraction in lowest terms: how a rational answer becomes an integer."""
    return value.numerator + value.denominator
