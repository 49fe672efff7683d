"""Trees for functions as they are written: powers and inverses, logarithms and their bases."""

from fractions import Fraction

from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import (
    Apply,
    Constant,
    Expression,
    Number,
    negate,
    quotient,
)
from rewards.errors import UnreadableError

_TRIGONOMETRIC = names("sin cos tan cot sec csc sinh cosh tanh")


def apply_function(
    name: str,
    arguments: tuple[Expression, ...],
    base: Expression | None,
    exponent: Expression | None,
) -> Expression:
    """The tree of a function with its subscript and exponent, where it has them."""
    first = arguments[0]
    node: Expression
    if name == "exp":
        node = Apply("pow", (Constant("e"), first))
    elif name == "cbrt":
        node = Apply("pow", (first, Number(Fraction(1, 3))))
    elif name in ("log", "ln", "lg", "log2"):
        node = _logarithm(name, arguments, base)
    elif base is not None:
        raise UnreadableError("syntax", f"a subscript under {name}")
    else:
        node = Apply(name, arguments)
    if exponent is None:
        return node
    if exponent == Number(Fraction(-1)) and name in _TRIGONOMETRIC:
        return Apply("arc" + name, arguments)
    return Apply("pow", (node, exponent))


def _logarithm(name: str, arguments: tuple[Expression, ...], base: Expression | None) -> Expression:
    if base is None and len(arguments) == 2:
        base = arguments[1]
    if base is None and name in ("lg", "log2"):
        base = Number(Fraction(10 if name == "lg" else 2))
    if base is None and name == "log":
        return Apply("log", arguments)
    node = Apply("ln", arguments[:1])
    return node if base is None else quotient(node, Apply("ln", (base,)))


def determinant(rows: list[list[Expression]]) -> Expression:
    """The determinant of a square matrix, by its first row."""
    if len(rows) == 1:
        return rows[0][0]
    terms: list[Expression] = []
    for column, entry in enumerate(rows[0]):
        minor = [row[:column] + row[column + 1 :] for row in rows[1:]]
        term: Expression = Apply("mul", (entry, determinant(minor)))
        terms.append(negate(term) if column % 2 else term)
    return Apply("add", tuple(terms))
