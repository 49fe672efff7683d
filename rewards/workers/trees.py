"""Expressions as plain JSON, so that a tree and never a text goes to the computer algebra."""

from fractions import Fraction
from typing import Any

from rewards.equality.values.expressions import Apply, Constant, Expression, Number, Symbol


def to_plain(node: Expression) -> list[Any]:
    """The tree as nested lists."""
    if type(node) is Number:
        return ["number", str(node.value.numerator), str(node.value.denominator)]
    if type(node) is Constant:
        return ["constant", node.name]
    if type(node) is Symbol:
        return ["symbol", node.name]
    assert type(node) is Apply
    return ["apply", node.operation, *map(to_plain, node.arguments)]


def from_plain(plain: list[Any]) -> Expression:
    """The tree that `to_plain` wrote."""
    kind = plain[0]
    if kind == "number":
        return Number(Fraction(int(plain[1]), int(plain[2])))
    if kind == "constant":
        return Constant(plain[1])
    if kind == "symbol":
        return Symbol(plain[1])
    return Apply(plain[1], tuple(map(from_plain, plain[2:])))
