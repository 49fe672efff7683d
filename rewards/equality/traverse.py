"""Walk through values: their parts, their expressions, their free variables."""

from collections.abc import Callable

from rewards.equality.expressions import Expression, symbols
from rewards.equality.values import (
    Chain,
    Group,
    Labelled,
    Matrix,
    Quantity,
    Ratio,
    Row,
    SetOperation,
    Value,
)


def free_symbols(value: Value) -> frozenset[str]:
    """Free variables of what is said, not of the name it is given."""
    if isinstance(value, Chain) and set(value.operators) == {"="}:
        return free_symbols(value.parts[-1])
    out: frozenset[str] = frozenset()
    for node in expressions_of(value):
        out |= symbols(node)
    return out


def children(value: Value) -> tuple[Value, ...]:
    """The values inside a value."""
    if isinstance(value, Chain | SetOperation):
        return value.parts
    if isinstance(value, Row | Group):
        return value.items
    if isinstance(value, Matrix):
        return tuple(cell for row in value.rows for cell in row)
    return (value.value,) if isinstance(value, Labelled) else ()


def expressions_of(value: Value) -> list[Expression]:
    """Every scalar expression in a value."""
    if isinstance(value, Quantity):
        return [value.expression]
    if isinstance(value, Ratio):
        return list(value.parts)
    return [node for child in children(value) for node in expressions_of(child)]


def mapped(value: Value, change: Callable[[Expression], Expression]) -> Value:
    """The value with every expression changed."""
    if isinstance(value, Quantity):
        return Quantity(change(value.expression), value.unit)
    if isinstance(value, Chain):
        return Chain(tuple(mapped(part, change) for part in value.parts), value.operators)
    if isinstance(value, SetOperation):
        return SetOperation(value.operator, tuple(mapped(p, change) for p in value.parts))
    if isinstance(value, Row):
        items = tuple(mapped(item, change) for item in value.items)
        return Row(items, value.opening, value.closing)
    if isinstance(value, Group):
        return Group(tuple(mapped(item, change) for item in value.items), value.braces)
    if isinstance(value, Matrix):
        return Matrix(tuple(tuple(mapped(c, change) for c in row) for row in value.rows))
    return value
