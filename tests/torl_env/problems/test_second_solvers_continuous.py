"""Geometry, probability, calculus, linear algebra: every answer again by another method."""

import itertools
import math
from fractions import Fraction

import mpmath
import pytest
import sympy

PRIME = 10**9 + 7


def p_plus_q(value):
    value = Fraction(int(value.p), int(value.q)) if isinstance(value, sympy.Rational) else value
    return value.numerator + value.denominator


def lattice_ellipse(p):
    a, b = p.a, p.b
    if a * b > 40_000:
        return None
    points = itertools.product(range(-a, a + 1), range(-b, b + 1))
    return sum(x * x * b * b + y * y * a * a <= a * a * b * b for x, y in points)


def triangle_centres(p):
    triangle = sympy.Triangle(*(sympy.Point(*corner) for corner in p.corners))
    centre = {
        "G": lambda: triangle.centroid,
        "O": lambda: triangle.circumcenter,
        "H": lambda: triangle.orthocenter,
        "N": lambda: triangle.nine_point_circle.center,
    }
    first, second = (centre[letter]() for letter in p.centres)
    return p_plus_q(sympy.Rational((first.x - second.x) ** 2 + (first.y - second.y) ** 2))


def integer_triangles(p):
    if p.total > 300:
        return None
    count = 0
    for a in range(1, p.total):
        for b in range(a, (p.total - a) // 2 + 1):
            c = p.total - a - b
            if a + b <= c:
                continue
            sign = a * a + b * b - c * c
            if p.kind == "acute":
                count += sign > 0
            else:
                count += sign < 0 and (p.kind == "obtuse" or len({a, b, c}) == 3)
    return count


def rectangle_union(p):
    if max(box[2] for box in p.boxes) > 60:
        return None
    cells = set()
    for left, bottom, right, top in p.boxes:
        cells.update(itertools.product(range(left, right), range(bottom, top)))
    return len(cells)


def dice_sum(p):
    if math.prod(p.faces) > 50_000:
        return None
    rolls = itertools.product(*(range(1, sides + 1) for sides in p.faces))
    hits = sum(sum(roll) % p.modulus == p.rest for roll in rolls)
    return p_plus_q(Fraction(hits, math.prod(p.faces)))


def pattern_wait(p):
    """The linear system of the matching automaton."""
    size, heads = len(p.block), sympy.Rational(p.heads, p.whole)
    rows, right = sympy.eye(size), sympy.ones(size, 1)
    for state, toss in itertools.product(range(size), "HT"):
        seen = p.block[:state] + toss
        after = max(k for k in range(len(seen) + 1) if p.block[:k] == seen[len(seen) - k :])
        if after < size:
            rows[state, after] -= heads if toss == "H" else 1 - heads
    return p_plus_q(sympy.Rational(rows.LUsolve(right)[0]))


def absorbing_walk(p):
    if p.jump == 1:
        ratio = Fraction(p.down, p.up)
        fair = Fraction(p.start, p.end)
        return p_plus_q(fair if ratio == 1 else (1 - ratio**p.start) / (1 - ratio**p.end))
    whole = p.up + p.down + p.stay
    chances = [0.0] * p.end + [1.0]
    for _ in range(5_000):
        for i in range(1, p.end):
            up, down = chances[min(p.end, i + 2)], chances[i - 1]
            chances[i] = (p.up * up + p.down * down + p.stay * chances[i]) / whole
    guess = Fraction(chances[p.start]).limit_denominator(10**6)
    return p_plus_q(guess) if abs(guess - Fraction(chances[p.start])) < 1e-13 else None


def cycle_walk(p):
    if p.turns > 11:
        return None
    ends = itertools.product(p.steps, repeat=p.turns)
    hits = sum(sum(path) % p.places == p.target for path in ends)
    return p_plus_q(Fraction(hits, 2**p.turns)) % PRIME


def floor_integral(p):
    if p.high > 14:
        return None
    x = sympy.symbols("x")
    pieces = (sympy.integrate(k**p.a * (x - k) ** p.b, (x, k, k + 1)) for k in range(p.low, p.high))
    return p_plus_q(sympy.Rational(sum(pieces)))


def series_coefficient(p):
    """Division of power series with fractions."""
    n, a, b, k = p.order, p.a, p.b, p.k
    terms = [Fraction(1)]
    for m in range(1, n + 1):
        terms.append((a * terms[-1] + (2 * b * terms[-2] if m > 1 else 0)) / m)
    for _ in range(k):
        terms = list(itertools.accumulate(terms))
    return int(terms[n] * math.factorial(n)) % PRIME


def root_digits(p):
    with mpmath.workdps(2 * p.digits + 60):
        sides = (
            lambda x: x**3 + p.a * x,
            lambda x: mpmath.e**x + p.a * x,
            lambda x: x * mpmath.ln(x) + p.a * x,
            lambda x: mpmath.e**x - p.a * mpmath.cos(x),
            lambda x: x**5 + p.a * x**2,
        )
        start = next(k / 16 for k in range(1, 1600) if sides[p.kind](k / 16) > p.c)
        root = mpmath.findroot(lambda x: sides[p.kind](x) - p.c, start)
        value = root * mpmath.mpf(10) ** p.digits
        near = mpmath.nint(value)
        exact = abs(value - near) < mpmath.mpf(10) ** -20
        return int(near if exact else mpmath.floor(value))


def structured_determinant(p):
    return int(sympy.Matrix(p.rows).det(method="berkowitz")) if len(p.rows) < 10 else None


def matrix_power(p):
    if p.exponent > 250:
        return None
    value = int(sum(sympy.Matrix(p.rows) ** p.exponent))
    return value % p.modulus if p.modulus else value


def system_mod_p(p):
    if len(p.right) > 4:
        return None
    matrix = sympy.Matrix(p.rows)
    determinant = int(matrix.det()) % p.prime
    if determinant == 0:
        return 0
    inverse = pow(determinant, -1, p.prime)
    solution = matrix.adjugate() * sympy.Matrix(p.right)
    return sum(i * (int(x) * inverse % p.prime) for i, x in enumerate(solution, start=1))


SOLVERS = [
    (lattice_ellipse, {1, 2, 3}),
    (triangle_centres, {1, 2, 3, 4, 5}),
    (integer_triangles, {1, 2}),
    (rectangle_union, {1, 2, 3}),
    (dice_sum, {1, 2}),
    (pattern_wait, {1, 2, 3, 4, 5}),
    (absorbing_walk, {1, 2, 3}),
    (cycle_walk, {1}),
    (floor_integral, {1, 2}),
    (series_coefficient, {1, 2, 3, 4, 5}),
    (root_digits, {1, 2, 3, 4, 5}),
    (structured_determinant, {1, 2, 3}),
    (matrix_power, {1, 2, 3}),
    (system_mod_p, {1, 2, 3}),
]


@pytest.mark.parametrize(("solver", "levels"), SOLVERS, ids=lambda v: getattr(v, "__name__", ""))
def test_answer_equals_that_of_a_second_solver(agree, solver, levels):
    assert agree(solver.__name__, solver, seeds=6) >= levels
