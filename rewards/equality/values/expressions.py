"""Trees of scalar expressions, and their form as plain JSON for the computer algebra."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational, with the digits it was written with."""

    value: Fraction
    decimals: int = -1
    """Digits after the point, -1 where the number was no decimal, -2 where they repeat."""


@dataclass(frozen=True, slots=True)
class Constant:
    """`pi`, `e`, `i` or `oo`."""

    name: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """A free variable, with its subscript and primes in the name."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation: `add mul neg inv pow`, a function, or a mark such as `percent degree pm base`.

    `call` applies an unknown function, whose name is a `Symbol` in first place. `sum`, `product`,
    `integral` and `limit` hold their variable, both bounds and the body.
    """

    operation: str
    arguments: tuple["Expression", ...]


Expression: TypeAlias = Number | Constant | Symbol | Apply

ZERO, ONE, TWO, HALF = (Number(Fraction(value)) for value in ("0", "1", "2", "1/2"))
_MAX_PAIRS = 3
BINDERS = ("sum", "product", "integral", "limit")
"""Operations with a bound variable: it, both bounds, the body."""

INFINITY = Constant("oo")


def negate(node: Expression) -> Expression:
    """Minus the node; a number stays a number."""
    if type(node) is Number:
        return Number(-node.value, node.decimals)
    return Apply("neg", (node,))


MINUS_INFINITY = negate(INFINITY)


def quotient(top: Expression, bottom: Expression) -> Expression:
    """Top over bottom."""
    return Apply("mul", (top, Apply("inv", (bottom,))))


def difference(left: Expression, right: Expression) -> Expression:
    """Left minus right."""
    return Apply("add", (left, negate(right)))


def walk(node: Expression) -> Iterator[Expression]:
    """The node and everything below it."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if type(current) is Apply:
            stack.extend(current.arguments)


def traits(node: Expression) -> set[str]:
    """Operations and constants in a tree, and `"."` for a number with a point; in one pass."""
    found, stack = set[str](), [node]
    while stack:
        current = stack.pop()
        kind = type(current)
        if kind is Apply:
            found.add(current.operation)  # type: ignore[union-attr]
            stack += current.arguments  # type: ignore[union-attr]
        elif kind is Constant:
            found.add(current.name)  # type: ignore[union-attr]
        elif kind is Number and current.decimals > 0:  # type: ignore[union-attr]
            found.add(".")
    return found


def symbols(node: Expression) -> frozenset[str]:
    """Names of the free variables; an unknown function counts as `f()`."""
    if type(node) is Symbol:
        return frozenset((node.name,))
    if type(node) is not Apply:
        return frozenset()
    if node.operation == "call":
        head = node.arguments[0]
        assert type(head) is Symbol
        names = {head.name + "()"}
        for argument in node.arguments[1:]:
            names |= symbols(argument)
        return frozenset(names)
    if node.operation in BINDERS:
        variable, low, high, body = node.arguments
        return (symbols(body) - symbols(variable)) | symbols(low) | symbols(high)
    out: frozenset[str] = frozenset()
    for argument in node.arguments:
        out |= symbols(argument)
    return out


def rename(node: Expression, names: dict[str, str]) -> Expression:
    """The tree with free variables renamed."""
    if type(node) is Symbol:
        return Symbol(names.get(node.name, node.name))
    if type(node) is Apply:
        return Apply(node.operation, tuple(rename(child, names) for child in node.arguments))
    return node


def replaced(node: Expression, values: Mapping[Expression, Expression]) -> Expression:
    """The tree with symbols and constants replaced; the name of a called function stays."""
    if node in values:
        return values[node]
    if type(node) is Apply:
        head = node.arguments[:1] if node.operation == "call" else ()
        rest = node.arguments[len(head) :]
        return Apply(node.operation, (*head, *(replaced(part, values) for part in rest)))
    return node


def is_decimal(node: Expression) -> bool:
    """Whether it is one number written with a point (a sign or a percent sign may stand at it)."""
    while type(node) is Apply and node.operation in ("neg", "percent"):
        node = node.arguments[0]
    return type(node) is Number and node.decimals > 0


def decimals(node: Expression) -> int:
    """Digits after the point of such a number."""
    while type(node) is Apply:
        node = node.arguments[0]
    assert type(node) is Number
    return node.decimals


def has_decimal(node: Expression) -> bool:
    """Whether any number in the tree was written with a point."""
    return "." in traits(node)


def choices(node: Expression) -> list[Expression]:
    r"""What `\pm` stands for; one entry without it.

    Sign pairs are independent of each other, unless a `\mp` says that they go together.
    """
    if not traits(node) & {"pm", "mp"}:
        return [node]
    marks = [p.operation for p in walk(node) if type(p) is Apply and p.operation in ("pm", "mp")]
    if "mp" in marks or len(marks) > _MAX_PAIRS:
        return [_choose(node, itertools.repeat(upper)) for upper in (True, False)]
    return [
        _choose(node, iter(signs)) for signs in itertools.product((True, False), repeat=len(marks))
    ]


def _choose(node: Expression, signs: Iterator[bool]) -> Expression:
    if type(node) is not Apply:
        return node
    if node.operation in ("pm", "mp"):
        upper = next(signs)
        inner = _choose(node.arguments[0], signs)
        return inner if upper == (node.operation == "pm") else negate(inner)
    return Apply(node.operation, tuple(_choose(child, signs) for child in node.arguments))


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
