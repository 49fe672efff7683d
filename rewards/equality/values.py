"""What an answer can be: a quantity, or a structure of them."""

from dataclasses import dataclass
from typing import TypeAlias

from rewards.equality.expressions import Expression
from rewards.equality.units import Unit


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
    | Labelled
    | Text
    | Opaque
)
