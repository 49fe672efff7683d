r"""Piecewise functions: rows of `\begin{cases}`, and `Piecewise((x, x >= 0), (-x, True))`."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from rewards.equality.answers.intervals import membership, region, statement_of
from rewards.equality.comparison import Comparison, Outcome, different, equal, undecided
from rewards.equality.numbers.sampling import named_numbers, sample_points, value_at
from rewards.equality.syntax.tokens import WORD, Tokens, split, trim
from rewards.equality.values.expressions import symbols
from rewards.equality.values.kinds import (
    Chain,
    Piecewise,
    Quantity,
    Row,
    Text,
    Value,
    expressions_of,
    is_ordering,
    is_region,
)

_ELSE = frozenset({"otherwise", "else", "true", "elsewhere"})
_BEFORE = frozenset({"if", "when", "for", "where"})


def read_pieces(rows: Sequence[Tokens], statement: Callable[[Tokens], Value]) -> Piecewise | None:
    """Rows of a value and its condition; `None` where some row has none: a system of equations."""
    pieces = list[tuple[Value, Value | None]]()
    for row in rows:
        parts = split(row, {"&"})
        if len(parts) == 1:
            parts = split(row, _BEFORE, words=True)
        if len(parts) == 1:
            parts = split(row, {","})
        parts = [trim(part) for part in parts]
        if len(parts) != 2 or not all(parts):
            return None
        condition = _condition(parts[1], statement)
        if condition is not None and not is_region(condition) and not is_ordering(condition):
            return None
        pieces.append((statement(parts[0]), condition))
    return Piecewise(tuple(pieces)) if pieces else None


def _condition(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Value | None:
    if tokens[0].kind == WORD and tokens[0].text.lower() in _BEFORE and len(tokens) > 1:
        tokens = tokens[1:]
    if tokens[0].text.lower() in _ELSE:
        return None
    return statement(tokens)


def from_python(rows: Sequence[Value]) -> Piecewise | None:
    """The pairs of a printed `Piecewise((x, x >= 0), (-x, True))`."""
    pieces = list[tuple[Value, Value | None]]()
    for row in rows:
        if not isinstance(row, Row) or len(row.items) != 2:
            return None
        value, condition = row.items
        otherwise = isinstance(condition, Text) and condition.words[-1:] == ("true",)
        pieces.append((value, None if otherwise else condition))
    return Piecewise(tuple(pieces))


def compare_functions(reference: Value, answer: Value) -> Comparison:
    r"""A piecewise function against any function of its variable, at and around every border.

    `\begin{cases}x & x \ge 0\\ -x & x < 0\end{cases}` is |x|.
    """
    names = frozenset[str]()
    for value in (reference, answer):
        names |= frozenset().union(*map(symbols, expressions_of(value)))
    nodes = [*expressions_of(reference), *expressions_of(answer)]
    if len(names) != 1:
        return different("type_differs", "cases against something else")
    name = next(iter(names))
    agreed = 0
    for place in sample_points(named_numbers(*nodes)):
        values = [_at(value, {name: place}) for value in (reference, answer)]
        if values[0] is None or values[1] is None:
            if values[0] is not values[1]:
                return different("case_differs", f"only one has a value at {float(place):g}")
            continue
        gap = abs(values[0] - values[1])
        if gap > _CLOSE * max(1.0, abs(values[0]), abs(values[1])):
            return different("case_differs", f"they differ at {name} = {float(place):g}")
        agreed += 1
    return equal("piecewise") if agreed > len(nodes) else undecided("no_value")


def _at(value: Value, point: Mapping[str, Fraction]) -> Any:
    """The value of a function at a point, `None` where it has none."""
    if isinstance(value, Chain):
        value = value.parts[-1]
    if isinstance(value, Piecewise):
        for said, condition in value.pieces:
            if condition is None or _holds(condition, point):
                return _at(said, point)
        return None
    return value_at(value.expression, point) if isinstance(value, Quantity) else None


def _holds(condition: Value, point: Mapping[str, Fraction]) -> bool:
    found = statement_of(condition)
    if found is not None:
        return bool(found[0](point))
    spans = region(condition)
    return spans is not None and bool(membership(spans, next(iter(point)))(point))


_CLOSE = 1e-9


def compare_piecewise(
    reference: Piecewise, answer: Piecewise, compare: Callable[[Value, Value], Comparison]
) -> Comparison:
    """The same values under the same conditions, in any order."""
    if len(reference.pieces) != len(answer.pieces):
        return different("count_differs", "another number of cases")
    left = list(answer.pieces)
    for value, condition in reference.pieces:
        for piece in left:
            last = condition is None or piece[1] is None
            if not last:
                assert condition is not None
                assert piece[1] is not None
                if compare(condition, piece[1]).outcome is not Outcome.EQUAL:
                    continue
            elif len(left) > 1 and not (condition is None and piece[1] is None):
                continue  # what is left over is compared last
            if compare(value, piece[0]).outcome is Outcome.EQUAL:
                left.remove(piece)
                break
        else:
            return different("case_differs", "a case has no counterpart")
    return equal("piecewise")
