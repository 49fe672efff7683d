"""Which values are intervals, orderings, regions, pairs: what rules ask before they apply."""

from rewards.equality.expressions import Expression
from rewards.equality.slices import ORDERINGS
from rewards.equality.values import Chain, Quantity, Reals, Row, SetOperation, Value


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
