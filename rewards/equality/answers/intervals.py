"""Sets of real numbers: intervals, inequalities, unions, differences, in one normal form."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from rewards.equality import limits
from rewards.equality.answers.collections import expand
from rewards.equality.comparison import Comparison, all_of, different, equal
from rewards.equality.numbers.sampling import Statement, ordering_holds
from rewards.equality.numbers.scalars import equal_scalars, number
from rewards.equality.syntax.tokens import FLIPPED, ORDERINGS
from rewards.equality.values.expressions import (
    INFINITY,
    MINUS_INFINITY,
    Apply,
    Expression,
    Number,
    Symbol,
    symbols,
)
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Quantity,
    Reals,
    Row,
    SetOperation,
    Text,
    Value,
    as_interval,
)
from rewards.grading_options import GradingOptions

_MAX_SPANS = 100
_MAX_SETS = 6


@dataclass(frozen=True, slots=True)
class Span:
    """One interval; a point when its ends are equal and closed."""

    low: Expression
    high: Expression
    closed_low: bool
    closed_high: bool
    bottom: Fraction | float
    top: Fraction | float


Region = tuple[Span, ...]
"""Disjoint spans in ascending order."""


def region(value: Value) -> Region | None:
    """The set of reals that a value describes, `None` if it is none or has symbolic ends."""
    spans = _spans(value)
    if spans is None or len(spans) > _MAX_SPANS:
        return None
    return _merged(spans)


def equal_regions(ours: Region, theirs: Region, options: GradingOptions) -> Comparison:
    """Whether two sets have the same spans with the same ends."""
    if len(ours) != len(theirs):
        return different("region_differs", f"{len(ours)} intervals against {len(theirs)}")
    results = list[Comparison]()
    for a, b in zip(ours, theirs, strict=True):
        if (a.closed_low, a.closed_high) != (b.closed_low, b.closed_high):
            return different("open_closed_differs", "an end belongs to one of the sets only")
        results.append(equal_scalars(a.low, b.low, options))
        results.append(equal_scalars(a.high, b.high, options))
    return all_of(results, "region")


def ordering_variable(value: Value) -> Expression | None:
    """The expression that an inequality bounds."""
    if not isinstance(value, Chain):
        return None
    free = [
        part.expression
        for part in value.parts
        if isinstance(part, Quantity) and symbols(part.expression)
    ]
    return free[0] if len(free) == 1 else None


def statement_of(value: Value) -> tuple[Statement, frozenset[str], list[Expression]] | None:
    """A relation, or several joined, as something that holds at a point or does not."""
    if isinstance(value, Chain) and set(value.operators) <= {*ORDERINGS, "!=", "="}:
        nodes = [p.expression for p in value.parts if isinstance(p, Quantity) and p.unit is None]
        if len(nodes) < len(value.parts):
            return None
        links = [
            ordering_holds(a, b, operator)
            for a, b, operator in zip(nodes, nodes[1:], value.operators, strict=False)
        ]
        return _joined(links, all), frozenset().union(*map(symbols, nodes)), nodes
    if isinstance(value, SetOperation) and value.operator in "∪∩":
        parts = [statement_of(part) for part in value.parts]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        names = frozenset().union(*(part[1] for part in known))
        how = any if value.operator == "∪" else all
        return _joined([part[0] for part in known], how), names, [n for p in known for n in p[2]]
    return None


def _joined(statements: list[Statement], how: Callable[[list[bool]], bool]) -> Statement:
    def holds(point: Mapping[str, Fraction]) -> bool | None:
        found = [statement(point) for statement in statements]
        return None if None in found else how([bool(truth) for truth in found])

    return holds


def membership(spans: Region, name: str) -> Statement:
    """The statement that a variable lies in a set."""

    def holds(point: Mapping[str, Fraction]) -> bool | None:
        x = point[name]
        for span in spans:
            gap = Fraction(1, 10**12) * (1 + abs(x))
            low = x > span.bottom + gap or (span.closed_low and x >= span.bottom - gap)
            high = x < span.top - gap or (span.closed_high and x <= span.top + gap)
            if low and high:
                return True
        return False

    return holds


def same_set_algebra(ours: Value, theirs: Value) -> Comparison | None:
    r"""Sets by their letters, element by element: `A \cap B` is `B \cap A`."""
    names = sorted(_set_names(ours) | _set_names(theirs))
    if not names or len(names) > _MAX_SETS or "" in names:
        return None
    for truth in itertools.product((False, True), repeat=len(names)):
        member = dict(zip(names, truth, strict=True))
        if _is_member(ours, member) is not _is_member(theirs, member):
            return different("set_differs", "an element of one of them only")
    return equal("set_algebra")


def _set_names(value: Value) -> frozenset[str]:
    """Letters of an expression of sets; `""` among them where there is anything else."""
    if isinstance(value, SetOperation):
        return frozenset().union(*map(_set_names, value.parts))
    if isinstance(value, Quantity) and isinstance(value.expression, Symbol):
        return frozenset({value.expression.name})
    return frozenset({""})


def _is_member(value: Value, member: Mapping[str, bool]) -> bool:
    if not isinstance(value, SetOperation):
        assert isinstance(value, Quantity)
        assert isinstance(value.expression, Symbol)
        return member[value.expression.name]
    first, *others = (_is_member(part, member) for part in value.parts)
    if value.operator == "∪":
        return first or any(others)
    return first and (all(others) if value.operator == "∩" else not any(others))


def integers_in(value: Value) -> Value | None:
    r"""The whole numbers of a set of reals: `\\{x \\in \\mathbb{Z} : 0<x<5\\}` is 1, 2, 3, 4."""
    spans = region(value)
    if spans is None:
        return _integers_where(value)
    members = list[Value]()
    for span in spans:
        if math.isinf(span.bottom) or math.isinf(span.top) or span.top - span.bottom > limits.ITEMS:
            return SetOperation("∩", (Text(("integers",)), value))
        low, high = math.ceil(span.bottom), math.floor(span.top)
        low += low == span.bottom and not span.closed_low
        high -= high == span.top and not span.closed_high
        members += [Quantity(Number(Fraction(n))) for n in range(low, high + 1)]
    return Group(tuple(members), braces=True)


def naturals_in(value: Value) -> Value | None:
    r"""The natural numbers among them; where 0 would be one, authors disagree."""
    members = integers_in(value)
    if not isinstance(members, Group):
        return members and SetOperation("∩", (Text(("natural", "numbers")), value))
    numbers = [
        item.expression.value
        for item in members.items
        if isinstance(item, Quantity) and isinstance(item.expression, Number)
    ]
    if 0 in numbers:
        return SetOperation("∩", (Text(("natural", "numbers")), value))
    return Group(tuple(Quantity(Number(n)) for n in numbers if n > 0), braces=True)


def _integers_where(value: Value) -> Value:
    r"""The integers with `x^2 < 10`, one by one; the condition itself where they have no end."""
    found = statement_of(value)
    if found is None or len(found[1]) != 1:
        return SetOperation("∩", (Text(("integers",)), value))
    holds, (name, *_), _ = found[0], found[1], found[2]
    inside = [n for n in range(-limits.ITEMS, limits.ITEMS + 1) if holds({name: Fraction(n)})]
    if len(inside) > limits.ITEMS // 2 or (inside and max(map(abs, inside)) > limits.ITEMS // 2):
        return SetOperation("∩", (Text(("integers",)), value))
    return Group(tuple(Quantity(Number(Fraction(n))) for n in inside), braces=True)


def inequality_as_row(value: Value) -> Value:
    """An inequality in one variable as an interval, even with symbolic ends; else the value."""
    if not isinstance(value, Chain) or not all(o in ORDERINGS for o in value.operators):
        return value
    parts = [part.expression if isinstance(part, Quantity) else None for part in value.parts]
    operators = value.operators
    if len(parts) == 2:
        left, right = parts
        if left is None or right is None:
            return value
        if not (isinstance(left, Symbol) and left.name not in symbols(right)):
            left, right, operators = right, left, (FLIPPED[operators[0]],)
            if not (isinstance(left, Symbol) and left.name not in symbols(right)):
                return value
        closed = operators[0].endswith("=")
        if operators[0][0] == "<":
            return _row(MINUS_INFINITY, right, False, closed)
        return _row(right, INFINITY, closed, False)
    if len(parts) != 3 or operators[0][0] != operators[1][0]:
        return value
    low, middle, high = parts
    if low is None or middle is None or high is None or not symbols(middle):
        return value
    closed_low, closed_high = operators[0].endswith("="), operators[1].endswith("=")
    if operators[0][0] == ">":
        low, high, closed_low, closed_high = high, low, closed_high, closed_low
    return _row(low, high, closed_low, closed_high)


def _row(low: Expression, high: Expression, closed_low: bool, closed_high: bool) -> Row:
    return Row(
        (Quantity(low), Quantity(high)), "[" if closed_low else "(", "]" if closed_high else ")"
    )


def _spans(value: Value) -> list[Span] | None:
    if isinstance(value, Reals):
        return [Span(MINUS_INFINITY, INFINITY, False, False, -math.inf, math.inf)]
    if isinstance(value, Row):
        return _interval(value)
    if isinstance(value, Chain):
        return _inequality(value)
    if isinstance(value, SetOperation):
        return _operation(value)
    if isinstance(value, Group) and value.braces:
        points = list[Span]()
        for item in (each for member in value.items for each in expand(member)):
            if not isinstance(item, Quantity):
                return None
            point = _finite(item.expression)
            if point is None or isinstance(point, float):
                return None
            points.append(Span(item.expression, item.expression, True, True, point, point))
        return points
    return None


def _interval(value: Row) -> list[Span] | None:
    ends = as_interval(value)
    if ends is None:
        return None
    low, high, closed_low, closed_high = ends
    bottom, top = _finite(low), _finite(high)
    if bottom is None or top is None or bottom > top:
        return None
    return [Span(low, high, closed_low, closed_high, bottom, top)]


def _inequality(value: Chain) -> list[Span] | None:
    variable = ordering_variable(value)
    named = isinstance(variable, Apply) and variable.operation == "call"
    if variable is None or not (isinstance(variable, Symbol) or named):
        return None  # 1 < x^2 < 4 does not bound x by 1 and 4
    if value.operators == ("!=",):
        bound = value.parts[1 if value.parts[0] == Quantity(variable) else 0]
        point = _spans(Group(tuple(expand(bound)), braces=True))
        return None if point is None else _complement(point)
    row = inequality_as_row(value)
    if isinstance(row, Row):
        return _interval(row)
    return None


def _operation(value: SetOperation) -> list[Span] | None:
    if value.operator == "∩":
        variables = {str(ordering_variable(part)) for part in value.parts}
        if len(variables) > 1:
            return None
    sets = [_spans(part) for part in value.parts]
    first = sets[0]
    if first is None:
        return None
    total = list(first)
    for other in sets[1:]:
        if other is None or len(total) + len(other) > _MAX_SPANS:
            return None
        if value.operator == "∪":
            total = total + other
        elif value.operator == "∩":
            total = _intersection(total, other)
        else:
            total = _intersection(total, _complement(other))
    return total


def _complement(spans: list[Span]) -> list[Span]:
    out = list[Span]()
    low: Expression = MINUS_INFINITY
    bottom: Fraction | float = -math.inf
    closed = False
    for span in _merged(spans):
        if bottom < span.bottom or (bottom == span.bottom and closed and not span.closed_low):
            out.append(Span(low, span.low, closed, not span.closed_low, bottom, span.bottom))
        low, bottom, closed = span.high, span.top, not span.closed_high
    if bottom < math.inf:
        out.append(Span(low, INFINITY, closed, False, bottom, math.inf))
    return out


def _intersection(ours: list[Span], theirs: list[Span]) -> list[Span]:
    out = list[Span]()
    for a in ours:
        for b in theirs:
            low = max((a, b), key=lambda s: (s.bottom, not s.closed_low))
            high = min((a, b), key=lambda s: (s.top, s.closed_high))
            closed = low.closed_low and high.closed_high
            if low.bottom < high.top or (low.bottom == high.top and closed):
                out.append(replace(low, high=high.high, closed_high=high.closed_high, top=high.top))
    return out


def _merged(spans: list[Span]) -> Region:
    """Spans in order; those that touch become one; empty ones vanish."""
    out = list[Span]()
    for span in sorted(spans, key=lambda s: (s.bottom, not s.closed_low)):
        if span.bottom == span.top and not (span.closed_low and span.closed_high):
            continue
        last = out[-1] if out else None
        if last is not None and (
            span.bottom < last.top
            or (span.bottom == last.top and (span.closed_low or last.closed_high))
        ):
            if (span.top, span.closed_high) > (last.top, last.closed_high):
                out[-1] = replace(last, high=span.high, top=span.top, closed_high=span.closed_high)
        else:
            out.append(span)
    return tuple(out)


def _finite(node: Expression) -> Fraction | float | None:
    if node == INFINITY:
        return math.inf
    if node == MINUS_INFINITY:
        return -math.inf
    return None if symbols(node) else number(node)
