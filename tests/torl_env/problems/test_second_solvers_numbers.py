"""Number theory and algebra: every answer again by another method, mostly brute force."""

import itertools
import math
from fractions import Fraction

import pytest
import sympy


def power_tower(p):
    if len(p.terms) > 3:
        a, b, c, d = p.terms
        lam = int(sympy.reduced_totient(p.modulus))
        if math.gcd(a, p.modulus) > 1:
            return None
        inner = b ** (c**d) if c**d < 2000 else None
        exponent = inner % lam if inner is not None else None
        if exponent is None:
            if math.gcd(b, lam) > 1:
                return None
            exponent = pow(b, pow(c, d, int(sympy.reduced_totient(lam))), lam)
        return pow(a, exponent, p.modulus)
    a, b, c = p.terms
    return pow(a, b**c, p.modulus)


def congruences(p):
    step = math.lcm(*(m for _, m in p.conditions))
    if step > 400_000:
        from sympy.ntheory.modular import solve_congruence

        value, modulus = solve_congruence(*p.conditions)
        return value or modulus
    return next(n for n in range(1, step + 1) if all(n % m == r for r, m in p.conditions))


def divisible_by_exactly(p):
    if p.bound > 10**5:
        return None
    return sum(sum(n % d == 0 for d in p.numbers) == p.exactly for n in range(1, p.bound + 1))


def divisor_function_sum(p):
    if p.bound > 3000:
        return None
    total = sum(sympy.divisor_sigma(n, p.powers) for n in range(1, p.bound + 1))
    return int(total % 1_000_003)


def multiplicative_order(p):
    if p.modulus > 10**6:
        return int(sympy.n_order(p.base, p.modulus))
    value, n = p.base % p.modulus, 1
    while value != 1:
        value, n = value * p.base % p.modulus, n + 1
    return n


def quadratic_pairs(p):
    if p.modulus > 130:
        return None
    pairs = itertools.product(range(p.modulus), repeat=2)
    return sum((p.u * x * x + p.v * y * y - p.c) % p.modulus == 0 for x, y in pairs)


def digit_sum_multiples(p):
    if p.bound > 10**6:
        return None
    multiples = range(p.divisor, p.bound + 1, p.divisor)
    return sum(sum(map(int, str(n))) == p.total for n in multiples)


def reversible_primes(p):
    window = sympy.primerange(p.low, p.high + 1)
    return sum(q for q in window if q % p.modulus == p.rest and sympy.isprime(int(str(q)[::-1])))


def linear_recurrence(p):
    if p.place > 10**5:
        return None
    values = list(p.start)
    while len(values) <= p.place:
        values.append(
            sum(c * v for c, v in zip(p.coefficients, reversed(values), strict=False)) % p.modulus
        )
    return values[p.place] % p.modulus


def root_power_sum(p):
    degree = len(p.coefficients)
    rows = [[-c for c in p.coefficients]]
    rows += [[int(i == j) for j in range(degree)] for i in range(degree - 1)]
    return int((sympy.Matrix(rows) ** p.exponent).trace())


def polynomial_remainder(p):
    if p.exponent > 200:
        return None
    x = sympy.symbols("x")
    rest = sympy.rem(sympy.Poly(x**p.exponent, x), sympy.Poly((1, *p.coefficients), x))
    value = int(rest.eval(p.point))
    return value % p.prime if p.prime else value


def floor_values(p):
    if p.bound > 400:
        return None
    jumps = sorted({Fraction(j, k) for k in p.factors for j in range(k * p.bound)})
    values = set()
    for x in jumps:
        value = sum(math.floor(k * x) for k in p.factors)
        if value > p.bound:
            break
        values.add(value)
    return len(values - {0})


def minimal_polynomial(p):
    x = sympy.symbols("x")
    number = p.shift + p.scale * sympy.sqrt(p.inner)
    if p.degree > 1:
        number += p.factor * sympy.root(p.radicand, p.degree)
    return int(sympy.minimal_polynomial(number, x).subs(x, p.point))


SOLVERS = [
    (power_tower, {1, 2, 3, 4, 5}),
    (congruences, {1, 2, 3, 4, 5}),
    (divisible_by_exactly, {1, 2, 3}),
    (divisor_function_sum, {1, 2}),
    (multiplicative_order, {1, 2, 3, 4, 5}),
    (quadratic_pairs, {1, 2}),
    (digit_sum_multiples, {1, 2, 3}),
    (reversible_primes, {1, 2, 3, 4, 5}),
    (linear_recurrence, {1, 2, 3}),
    (root_power_sum, {1, 2, 3, 4, 5}),
    (polynomial_remainder, {1, 2, 3}),
    (floor_values, {1, 2}),
    (minimal_polynomial, {1, 2, 3, 4, 5}),
]


@pytest.mark.parametrize(("solver", "levels"), SOLVERS, ids=lambda v: getattr(v, "__name__", ""))
def test_answer_equals_that_of_a_second_solver(agree, solver, levels):
    assert agree(solver.__name__, solver) >= levels
