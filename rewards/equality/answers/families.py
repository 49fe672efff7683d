r"""Answers with a free parameter: arithmetic progressions, and arbitrary constants.

`\frac{\pi}{3} + 2k\pi` with a whole k is a class modulo 2 pi, so that two lists of such are equal
as sets however they are indexed. `x^2 + C` and `C_1 e^x + C_2 e^{-x}` are affine in their
constants: two of them are one family if their spans agree and they differ by a member of the span.
"""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rewards.equality import limits
from rewards.equality.comparison import Comparison, different, equal
from rewards.equality.numbers.arithmetic import ImpreciseError, NoValueError, long_arithmetic
from rewards.equality.numbers.identity import same
from rewards.equality.numbers.numeric import Evaluator, probe
from rewards.equality.values.expressions import (
    ONE,
    TWO,
    ZERO,
    Apply,
    Expression,
    Symbol,
    difference,
    replaced,
    symbols,
    walk,
)
from rewards.errors import LimitHitError, UnreadableError

_CONSTANT = re.compile(r"(?:[CcKk]|const)(?:_\w+)?")
"""Names that announce an arbitrary constant by themselves."""
_ALSO = re.compile(r"[A-DKa-dk](?:_\w+)?|const")
"""Names that may be constants beside such."""
_STRICT = re.compile(r"(?:C|const)(?:_\w+)?|[CcKkAB]_\w+|[AB]")
"""Names that are constants even as factors."""
_UNKNOWNS = frozenset({"x", "y", "z", "t", "u", "v", "n", "theta", "r", "s"})
_FUNCTIONS = frozenset({"sin", "cos", "tan", "sinh", "cosh", "ln", "log", "arctan", "call"})
_COLLAPSING = frozenset({"add", "mul", "neg", "inv", "pow", "abs", "ln", "log"})
_MAX_CLASSES = 60
_MAX_CONSTANTS = 6
_TINY = 1e-25


def is_linear(node: Expression) -> bool:
    """Whether an expression of one variable is linear and not constant in it."""
    names = symbols(node)
    return len(names) == 1 and _slope(node, next(iter(names))) is not None


def _slope(node: Expression, name: str) -> Expression | None:
    """The factor of a variable in which the expression is linear."""
    at = [replaced(node, {Symbol(name): value}) for value in (ZERO, ONE, TWO)]
    slope = difference(at[1], at[0])
    if not same(difference(at[2], at[1]), slope).equal or same(slope, ZERO).equal:
        return None
    rebuilt = Apply("add", (at[0], Apply("mul", (slope, Symbol(name)))))
    return slope if same(rebuilt, node).equal else None


def compare_progressions(
    ours: Sequence[Expression],
    theirs: Sequence[Expression],
    parameters: set[str],
    undeclared: set[str],
) -> Comparison | None:
    r"""Whether two lists of `a + k d` are one set; `None` if they are no such lists.

    `2k\pi \pm \frac\pi3` is `\frac\pi3 + 2k\pi, \frac{5\pi}3 + 2k\pi`, and `2k\pi` is not `k\pi`.
    """
    lists = []
    for nodes in (ours, theirs):
        classes = [_class(node, parameters, undeclared) for node in nodes]
        if not classes or any(found is None for found in classes):
            return None
        lists.append([found for found in classes if found is not None])
    unit = lists[0][0][1]
    steps = [_rational(step / unit) for _, step in (*lists[0], *lists[1])]
    if any(step is None for step in steps):
        return different("progression_differs", "incommensurable steps")
    ratios = [step for step in steps if step is not None]
    common = Fraction(
        math.lcm(*(r.numerator for r in ratios)), math.gcd(*(r.denominator for r in ratios))
    )
    sets = []
    for members in lists:
        offsets = set[int]()
        for offset, step in members:
            ratio = _rational(step / unit)
            assert ratio is not None
            count = common / ratio
            if count > _MAX_CLASSES:
                return None
            for index in range(int(count)):
                place = (offset + index * step) / (unit * common.numerator / common.denominator)
                place -= math.floor(place)
                offsets.add(round(float(place) * 10**10) % 10**10)
        sets.append(offsets)
    return equal("progression") if sets[0] == sets[1] else different("progression_differs")


def _class(node: Expression, parameters: set[str], undeclared: set[str]) -> tuple[Any, Any] | None:
    names = symbols(node)
    if len(names) != 1 or not names <= parameters | undeclared:
        return None
    slope = _slope(node, next(iter(names)))
    if slope is None:
        return None
    field = long_arithmetic(is_complex=False)
    try:
        start = replaced(node, {Symbol(next(iter(names))): ZERO})
        step = abs(Evaluator({}, field).value(slope))
        if names <= undeclared and _rational(step / field.module.pi) is None:
            return None  # n + pi is a function of n
        return Evaluator({}, field).value(start), step
    except (NoValueError, ImpreciseError, UnreadableError, LimitHitError):
        return None


def _rational(value: Any) -> Fraction | None:
    found = Fraction(float(value)).limit_denominator(1000)
    return found if found and abs(value * found.denominator - found.numerator) < _TINY else None


def arbitrary_constants(ours: Expression, theirs: Expression) -> tuple[list[str], list[str]] | None:
    """The constants of both sides, `None` where these are no families.

    A name is one if it is called like one, and at least one side uses the names of constants.
    """
    first, second = symbols(ours), symbols(theirs)
    if not any(_CONSTANT.fullmatch(name) for name in first | second):
        return None
    shared = {n for n in first & second if not _CONSTANT.fullmatch(n)}
    own = sorted(n for n in first - shared if _ALSO.fullmatch(n))
    other = sorted(n for n in second - shared if _ALSO.fullmatch(n))
    strict = [all(_CONSTANT.fullmatch(name) for name in names) for names in (own, other)]
    variables = (first | second) - {*own, *other}
    announced = all(any(map(_STRICT.fullmatch, side)) for side in (own, other))
    if not announced and (own == other or not variables <= _UNKNOWNS):
        return None  # in mg/k, n - k and a^3 b - c, the c and k are given numbers
    given = {*own} <= {"c", "k"} or {*own, *other} <= {"c", "k", "K"}
    if given and variables <= {"n", "m"} and not _has_functions(ours):
        return None  # n - k counts, and c is another number
    if own == other and {*own} <= {"A", "B"} and not _has_functions(ours):
        return None  # and so are A and B in Ax + B
    if not own or len(own) != len(other) or len(own) > _MAX_CONSTANTS or not any(strict):
        return None
    return (own, other) if first - set(own) == second - set(other) != frozenset() else None


def compare_families(ours: Expression, theirs: Expression) -> Comparison | None:
    r"""Whether two expressions with arbitrary constants are one family; `None` if they are none.

    `\frac{\sin^2 x}{2} + C` is `-\frac{\cos 2x}{4} + K`; `Ce^{2x}` is `C_1 e^{2x}` but not `Ce^x`.
    """
    constants = arbitrary_constants(ours, theirs)
    if constants is None:
        return None
    first, second = _collapsed(ours, constants[0]), _collapsed(theirs, constants[1])
    variables = symbols(first) - {*constants[0], *(f"{n}'" for n in constants[0])}
    tables = []
    for node, names in ((first, constants[0]), (second, constants[1])):
        table = _affine(node, sorted(n for n in symbols(node) if n.rstrip("'") in names), variables)
        if table is None:
            return None
        tables.append(table)
    (base, spans), (other, others) = tables
    gap = [a - b for a, b in zip(base, other, strict=True)]
    size = _rank(spans)
    same_family = (
        size == len(spans) == len(others)
        and _rank(others) == size
        and _rank([*spans, *others]) == size
        and _rank([*spans, gap]) == size
    )
    if same_family and not _absorbs(ours, constants[0]):  # k q / r^2 is not 2 k q / r^2
        lists = [sorted(spans), sorted(others)]
        moved = all(
            abs(a - b) < _TINY * (1 + abs(a))
            for one, two in zip(*lists, strict=True)
            for a, b in zip(one, two, strict=True)
        )
        same_family = moved and variables <= _UNKNOWNS
    if not same_family and constants[0] == constants[1]:
        return None  # 2C/(3S) is 2C/3S, whatever C is
    return equal("family") if same_family else different("family_differs")


def _absorbs(node: Expression, names: list[str]) -> bool:
    """Whether factors and terms vanish in the constants: `... + C`, `C e^x`; not in `C V^2 / 2`."""
    for part in walk(node):
        if type(part) is Apply and part.operation == "add":
            alone = [symbols(term) for term in part.arguments if symbols(term)]
            if any(term <= set(names) for term in alone):
                return True
    return _has_functions(node) and all(_STRICT.fullmatch(name) for name in names)


def _has_functions(node: Expression) -> bool:
    """Whether it is more than a polynomial, as solutions of differential equations are."""
    return any(
        type(part) is Apply
        and (
            part.operation in _FUNCTIONS or (part.operation == "pow" and symbols(part.arguments[1]))
        )
        for part in walk(node)
    )


def _collapsed(node: Expression, names: list[str]) -> Expression:
    r"""A part made of constants alone is one constant: `\ln|C|`, `2C`, `C^2`; `\sin C` is not."""
    if type(node) is not Apply:
        return node
    used = symbols(node)
    inside = {p.operation for p in walk(node) if type(p) is Apply}
    if used <= set(names) and len(used) == 1 and inside <= _COLLAPSING:
        return Symbol(next(iter(used)) + "'")
    return Apply(node.operation, tuple(_collapsed(part, names) for part in node.arguments))


def _affine(
    node: Expression, names: list[str], variables: frozenset[str]
) -> tuple[list[Any], list[list[Any]]] | None:
    """Values without constants, and by constant, at several points; `None` if it is not affine."""
    field = long_arithmetic(is_complex=False)
    rows, spans = list[Any](), [list[Any]() for _ in names]
    for index in range(4 * limits.FAMILY_POINTS):
        point = probe(variables, index)
        at = [
            *({name: Fraction(other == name) for name in names} for other in ("", *names)),
            {name: Fraction(2 + place, 3) for place, name in enumerate(names)},
        ]
        try:
            values = [Evaluator({**point, **constants}, field).value(node) for constants in at]
        except (NoValueError, ImpreciseError):
            continue
        except (UnreadableError, LimitHitError):
            return None
        base, *units, mixed = values
        guess = base + sum(
            (unit - base) * at[-1][name].numerator / at[-1][name].denominator
            for unit, name in zip(units, names, strict=True)
        )
        if abs(guess - mixed) > _TINY * (1 + abs(mixed)):
            return None
        rows.append(base)
        for span, unit in zip(spans, units, strict=True):
            span.append(unit - base)
        if len(rows) == limits.FAMILY_POINTS:
            return rows, spans
    return None


def _rank(rows: list[list[Any]]) -> int:
    """Rank of a few vectors of many digits, by elimination."""
    work, rank = [list(row) for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = max(work[rank:], key=lambda row: abs(row[column]), default=None)
        if pivot is None or abs(pivot[column]) < _TINY:
            continue
        work.remove(pivot)
        work.insert(rank, pivot)
        for row in work[rank + 1 :]:
            factor = row[column] / pivot[column]
            row[:] = [a - factor * b for a, b in zip(row, pivot, strict=True)]
        rank += 1
        if rank == len(work):
            break
    return rank
