"""What an answer can be: a quantity, or a structure of them; and walks through such values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from rewards.equality.answers.units import Unit
from rewards.equality.syntax.tokens import ORDERINGS
from rewards.equality.values.expressions import Expression, symbols


@dataclass(frozen=True, slots=True)
class Quantity:
    """One scalar expression, with its unit where one is written."""

    expression: Expression
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Values joined by `= ≈ != < > <= >=`; one operator fewer than values."""

    parts: tuple["Value", ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Ordered members in brackets: a point, a tuple, a Python list, an interval with two ends."""

    items: tuple["Value", ...]
    opening: str = "("
    closing: str = ")"


@dataclass(frozen=True, slots=True)
class Group:
    """Members whose order does not count: a list in words or commas, or a set in braces."""

    items: tuple["Value", ...]
    braces: bool = False


@dataclass(frozen=True, slots=True)
class SetOperation:
    r"""Sets joined by `∪ ∩ \`."""

    operator: str
    parts: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Reals:
    """All real numbers."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries; all rows have one length."""

    rows: tuple[tuple["Value", ...], ...]


@dataclass(frozen=True, slots=True)
class Residue:
    r"""Classes of integers: `2 \pmod 7`, `n \equiv 1, 3 \pmod 8`."""

    items: tuple["Value", ...]
    modulus: Expression


@dataclass(frozen=True, slots=True)
class Permutation:
    """Cycles, each from its least member on: `(1 2 3)(4 5)`."""

    cycles: frozenset[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Piecewise:
    """Values with the conditions under which they hold; `None` is "otherwise"."""

    pieces: tuple[tuple["Value", "Value | None"], ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a:b`, `a:b:c`."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A value with the words it is announced by: `Minimum: 1`."""

    label: str
    value: "Value"


@dataclass(frozen=True, slots=True)
class Text:
    """Words; lower case, without punctuation and markup."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Mathematics outside our grammar: equal to an identical spelling, else undecided."""

    spelling: str
    reason: str


Value: TypeAlias = (
    Quantity
    | Chain
    | Row
    | Group
    | SetOperation
    | Reals
    | Matrix
    | Ratio
    | Residue
    | Permutation
    | Piecewise
    | Labelled
    | Text
    | Opaque
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
    if isinstance(value, Residue):
        return value.items
    if isinstance(value, Piecewise):
        return tuple(part for piece in value.pieces for part in piece if part is not None)
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
    if isinstance(value, Residue):
        return Residue(tuple(mapped(item, change) for item in value.items), value.modulus)
    if isinstance(value, Labelled):
        return Labelled(value.label, mapped(value.value, change))
    if isinstance(value, Piecewise):
        return Piecewise(
            tuple((mapped(v, change), c and mapped(c, change)) for v, c in value.pieces)
        )
    return value


def as_interval(value: Value) -> tuple[Expression, Expression, bool, bool] | None:
    """The ends of an interval in brackets and whether they belong to it."""
    if not isinstance(value, Row) or len(value.items) != 2:
        return None
    low, high = value.items
    if not isinstance(low, Quantity) or not isinstance(high, Quantity):
        return None
    return low.expression, high.expression, value.opening == "[", value.closing == "]"


def is_ordering(value: Value) -> bool:
    """Whether a value says how large something is: `x < 3`, or several such in one."""
    if isinstance(value, Chain):
        return all(operator in ORDERINGS or operator == "!=" for operator in value.operators)
    return isinstance(value, SetOperation) and all(is_ordering(part) for part in value.parts)


def is_region(value: Value) -> bool:
    """Whether a value is a set of reals: an interval, an ordering, what set signs make of them."""
    return (
        isinstance(value, SetOperation | Reals)
        or as_interval(value) is not None
        or is_ordering(value)
    )


def is_open_pair(value: Value) -> bool:
    """Whether a value is a list in round brackets."""
    return isinstance(value, Row) and value.opening == "(" and value.closing == ")"
