"""Whether two statements hold at the same points: along lines, around every place where one turns.

A line leaves one variable free and fixes the others. Statements are compared at the numbers they
name, close beside them, between them, and at every place where the truth of one of them changes,
which is found by bisection. So `|x| < 2` is `-2 < x < 2`, and no `x < 2`.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

from rewards.equality.comparison import Comparison, different, equal, undecided
from rewards.equality.numbers.arithmetic import REAL, ImpreciseError, NoValueError
from rewards.equality.numbers.numeric import Evaluator
from rewards.equality.values.expressions import Apply, Expression, Number, symbols, walk
from rewards.errors import LimitHitError, UnreadableError

Statement = Callable[[Mapping[str, Fraction]], bool | None]
"""Whether something holds at a point; `None` where it says nothing."""

_GRID = [Fraction(n, 7) for n in (-7000, -700, -150, -50, -31, -17, -9, -4, -1)]
_GRID += [-value for value in _GRID]
_SLICES = (Fraction(3, 2), Fraction(-7, 3), Fraction(1, 5), Fraction(5))
_NEAR = Fraction(1, 10**7)
"""Beside a turn, which bisection has found."""
_BESIDE = Fraction(1, 10**4)
"""Beside a named number; x^2 must not vanish there within the tolerance."""
_HALVINGS = 44
_MAX_CENTRES = 24
_TOLERANCE = 1e-12


def named_numbers(*nodes: Expression) -> list[Fraction]:
    """Values of the constant parts, where kinks and ends may lie, and their negatives."""
    found = {Fraction(0), Fraction(1)}
    for node in nodes:
        for part in walk(node):
            if type(part) is Number:
                found.add(part.value)
            elif type(part) is Apply and not symbols(part):
                try:
                    found.add(Fraction(Evaluator({}, REAL).value(part)).limit_denominator(10**12))
                except (NoValueError, ImpreciseError, UnreadableError, LimitHitError, ValueError):
                    continue
                except OverflowError:
                    continue
    numbers = {value for value in found if abs(value) < 10**9}
    return sorted(numbers | {-value for value in numbers})[:_MAX_CENTRES]


def ordering_holds(left: Expression, right: Expression, operator: str) -> Statement:
    """The statement that two expressions stand in this relation."""
    # Where terms may cancel, digits are lost; in 0 < x^2 a small square is no zero.
    sums = (type(p) is Apply and p.operation == "add" for n in (left, right) for p in walk(n))
    scale = 1.0 if any(sums) else 0.0

    def holds(point: Mapping[str, Fraction]) -> bool | None:
        try:
            a, b = (Evaluator(point, REAL).value(node) for node in (left, right))
        except (NoValueError, ImpreciseError, UnreadableError, LimitHitError):
            return None
        equals = abs(a - b) <= _TOLERANCE * max(scale, abs(a), abs(b))
        truth: dict[str, bool] = {
            "<": a < b and not equals,
            ">": a > b and not equals,
            "<=": a < b or equals,
            ">=": a > b or equals,
            "!=": not equals,
            "=": equals,
        }
        return truth[operator]

    return holds


def same_statement(
    ours: Statement, theirs: Statement, names: frozenset[str], centres: list[Fraction]
) -> Comparison:
    """Whether two statements about at most three real variables agree wherever one looks."""
    if not 1 <= len(names) <= 3:
        return undecided("no_value", "too many variables")
    seen = set[bool]()
    for free in sorted(names):
        fixed = sorted(names - {free})
        for shift in range(len(_SLICES) if fixed else 1):
            point = {name: _SLICES[(shift + 2 * i) % 4] for i, name in enumerate(fixed)}
            places = _places((ours, theirs), point, free, centres)
            for place in places:
                at = {**point, free: place}
                a, b = bool(ours(at)), bool(theirs(at))
                if a is not b:
                    return different("region_differs", f"they differ at {free} = {float(place):g}")
                seen.add(a)
    if seen != {True, False}:
        return undecided("no_value", "it holds nowhere or everywhere that was looked at")
    return equal("same_region")


def sample_points(centres: list[Fraction]) -> list[Fraction]:
    """Numbers on a line: named ones, those close beside and between them, and a grid."""
    marks = sorted({*centres, *_GRID})
    beside = {c + s * _BESIDE * (1 + abs(c)) for c in centres for s in (-1, 1)}
    return sorted({*marks, *((a + b) / 2 for a, b in pairwise(marks)), *beside})


def _places(
    statements: tuple[Statement, Statement],
    point: dict[str, Fraction],
    free: str,
    centres: list[Fraction],
) -> list[Fraction]:
    """Where to look on one line."""
    marks = sorted({*centres, *_GRID, *(value for value in point.values())})
    between = [(a + b) / 2 for a, b in pairwise(marks)]
    places = sorted({*marks, *between})
    turns = set[Fraction]()
    for holds in statements:
        truth = [bool(holds({**point, free: place})) for place in places]
        for low, high, a, b in zip(places, places[1:], truth, truth[1:], strict=False):
            if a is not b:
                turns |= _turn(holds, point, free, low, high, a)
    beside = {c + s * _BESIDE * (1 + abs(c)) for c in centres for s in (-1, 1)}
    return [*places, *turns, *beside]


def _turn(
    holds: Statement, point: dict[str, Fraction], free: str, low: Fraction, high: Fraction, a: bool
) -> set[Fraction]:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if bool(holds({**point, free: middle})) is a:
            low = middle
        else:
            high = middle
    low, high = low.limit_denominator(10**13), high.limit_denominator(10**13)
    near = _NEAR * (1 + abs(low))
    return {low - near, high + near}


def same_zeros(
    ours: Expression, theirs: Expression, names: frozenset[str], centres: list[Fraction]
) -> Comparison:
    """Whether two functions vanish at the same places: `|x| - |y|` where `x^2 - y^2` does."""
    if not 1 <= len(names) <= 3:
        return undecided("no_value", "too many variables")
    roots = 0
    for free in sorted(names):
        fixed = sorted(names - {free})
        for shift in range(len(_SLICES) if fixed else 1):
            point = {name: _SLICES[(shift + 2 * i) % 4] for i, name in enumerate(fixed)}
            for f, g in ((ours, theirs), (theirs, ours)):
                for place in _roots(f, point, free, centres):
                    value = value_at(g, {**point, free: place})
                    slope = value_at(g, {**point, free: place + Fraction(1, 10**4)})
                    if value is None or slope is None:
                        return undecided("no_value", "no value at a zero of the other")
                    if abs(value) > 1e-6 * max(1.0, abs(slope)):
                        return different("equation_differs", f"at {free} = {float(place):g}")
                    roots += 1
    return (
        equal("same_zeros")
        if roots >= (2 if len(names) == 1 else 6)
        else undecided("no_value", "too few zeros")
    )


def _roots(
    f: Expression, point: dict[str, Fraction], free: str, centres: list[Fraction]
) -> list[Fraction]:
    marks = sorted({*centres, *_GRID, *point.values(), *(-v for v in point.values())})
    places = sorted({*marks, *((a + b) / 2 for a, b in pairwise(marks))})
    values = [value_at(f, {**point, free: place}) for place in places]
    out = [place for place, value in zip(places, values, strict=True) if value == 0]
    for start, end, a, b in zip(places, places[1:], values, values[1:], strict=False):
        if a is None or b is None or a * b >= 0:
            continue
        low, high = start, end
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            value = value_at(f, {**point, free: middle})
            if value is None:
                break
            low, high = (middle, high) if value * a > 0 else (low, middle)
        value = value_at(f, {**point, free: low})
        if value is not None and abs(value) < 1e-6 * max(1.0, abs(a), abs(b)):
            out.append(low.limit_denominator(10**13))  # a pole changes its sign without a zero
    return out


def value_at(node: Expression, point: Mapping[str, Fraction]) -> Any:
    """The real value in doubles, `None` where there is none."""
    try:
        return Evaluator(point, REAL).value(node)
    except (NoValueError, ImpreciseError, UnreadableError, LimitHitError):
        return None
