r"""Sums, products, integrals, limits and determinants.

In `1+2+\cdots+n`, `a_k+a_{k-1}+\ldots+a_0` or `(v-a_1)\cdots(v-a_n)`, what the dots leave out
follows from the terms that are written: the last one as a function of its index, an arithmetic
progression, or (from three terms on) a geometric one.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from rewards.equality import limits
from rewards.equality.numbers.canonical import NoFormError, canonical
from rewards.equality.numbers.exact import exact
from rewards.equality.syntax.applications import Parser
from rewards.equality.syntax.tokens import COMMAND, CONSTANT, END, NAME
from rewards.equality.values.expressions import (
    ONE,
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    negate,
    replaced,
    symbols,
)
from rewards.errors import LimitHitError, UnreadableError


def big_operator(parser: Parser, operation: str) -> Expression:
    """A sum or product over one variable from a lower to an upper bound."""
    parser.expect("_")
    parser.expect("{")
    variable = parser.next()
    if variable.kind not in (NAME, CONSTANT):
        raise UnreadableError("syntax", "no summation variable")
    parser.expect("=")
    low = parser.sum()
    parser.expect("}")
    parser.expect("^")
    high = parser.argument(exponent=True)
    name, body = Symbol(variable.text), parser.product()
    if variable.kind == CONSTANT:  # in \sum_{i=1}^n i, the i counts
        body = replaced(body, {Constant(variable.text): name})
    return Apply(operation, (name, low, high, body))


def integral(parser: Parser) -> Expression:
    """A definite integral; its variable is the one behind the last d."""
    bounds = list[Expression]()
    for mark in ("_", "^"):
        parser.expect(mark)
        bounds.append(parser.argument() if parser.at("{") else _signed_atom(parser))
    end, inside = parser.position, 1
    while end < len(parser.tokens):
        inside += parser.tokens[end].kind == COMMAND and parser.tokens[end].text == "int"
        inside -= _is_differential(parser, end)
        if inside == 0:
            break
        end += 1
    if end >= len(parser.tokens):
        raise UnreadableError("syntax", "an integral without its variable")
    variable = Symbol(parser.tokens[end + 1].text)
    inner = type(parser)(parser.tokens[parser.position : end])
    inner.depth = parser.depth
    body = inner.sum() if end > parser.position else ONE
    if inner.position < end - parser.position:
        raise UnreadableError("syntax", "an integrand that does not end at its variable")
    parser.position = end + 2
    return Apply("integral", (variable, *bounds, body))


def _is_differential(parser: Parser, index: int) -> bool:
    """Whether `dx` stands at this index."""
    following = parser.tokens[index + 1] if index + 1 < len(parser.tokens) else END
    return parser.tokens[index].text == "d" and following.kind == NAME


def limit(parser: Parser) -> Expression:
    r"""A limit; `\to` stands between the variable and the point."""
    parser.expect("_")
    parser.expect("{")
    variable = parser.next()
    arrow = parser.next()
    if variable.kind != NAME or arrow.text not in ("to", "rightarrow", "->"):
        raise UnreadableError("syntax", "a limit without a variable and a point")
    point = parser.sum()
    if parser.at("^"):
        raise UnreadableError("syntax", "a one-sided limit")
    parser.expect("}")
    return Apply("limit", (Symbol(variable.text), point, point, parser.product()))


def determinant(parser: Parser, environment: str) -> Expression:
    """The value of a small matrix between bars."""
    if environment not in ("vmatrix", "Vmatrix"):
        raise UnreadableError("syntax", "a matrix inside an expression")
    rows: list[list[Expression]] = [[]]
    while True:
        rows[-1].append(parser.sum())
        text = parser.next().text
        if text == "newline":
            rows.append([])
        elif text != "&":
            break
    if text != f"end {environment}" or any(len(row) != len(rows) for row in rows):
        raise UnreadableError("syntax", "a determinant that is not square")
    if len(rows) > 4:
        raise LimitHitError("limit_determinant", "a determinant larger than four by four")
    return _determinant_of(rows)


def _signed_atom(parser: Parser) -> Expression:
    """A bound that is not in braces."""
    if parser.at("-"):
        parser.next()
        return negate(parser.atom())
    return parser.atom()


def _determinant_of(rows: list[list[Expression]]) -> Expression:
    """The determinant of a square matrix, by its first row."""
    if len(rows) == 1:
        return rows[0][0]
    terms: list[Expression] = []
    for column, entry in enumerate(rows[0]):
        minor = [row[:column] + row[column + 1 :] for row in rows[1:]]
        term: Expression = Apply("mul", (entry, _determinant_of(minor)))
        terms.append(negate(term) if column % 2 else term)
    return Apply("add", tuple(terms))


_COUNTER = Symbol("dots")


def series(operation: str, terms: Sequence[Expression], last: Expression) -> Expression:
    """The sum or product that its first terms, dots and its last term stand for.

    Raises:
        UnreadableError: What the dots leave out does not follow from the terms.
    """
    for start in range(len(terms)):  # in v (1 - a_1/v) ... (1 - a_n/v), the v stands before
        found = _indexed(operation, terms[start:], last)
        if found is not None:
            joined = "add" if operation == "sum" else "mul"
            return Apply(joined, (*terms[:start], found)) if start else found
    found = _by_last(operation, terms, last) or _progression(operation, terms, last)
    if found is None:
        raise UnreadableError("syntax", "dots that may stand for anything")
    return found


def _over(operation: str, low: Expression, high: Expression, body: Expression) -> Expression:
    return Apply(operation, (_COUNTER, low, high, body))


def _indexed(operation: str, terms: Sequence[Expression], last: Expression) -> Expression | None:
    """`a_1 + a_2 + ... + a_n`, in either direction: the first and last term differ in an index."""
    for name in sorted(symbols(last) - symbols(terms[0])):
        base, mark, end = name.partition("_")
        for other in sorted(symbols(terms[0]) - symbols(last)):
            start = other.removeprefix(base + "_")
            if not mark or start == other or not _is_index(start) or not _is_index(end):
                continue
            called = Apply("call", (Symbol(base), _COUNTER))
            body = replaced(last, {Symbol(name): called})
            if replaced(terms[0], {Symbol(other): called}) == body:
                low, high = (start, end) if start.isdigit() else (end, start)
                return _over(operation, _index(low), _index(high), body)
    return None


def _is_index(text: str) -> bool:
    return text.isdigit() or len(text) == 1


def _index(text: str) -> Expression:
    return Number(Fraction(int(text))) if text.isdigit() else Symbol(text)


def _by_last(operation: str, terms: Sequence[Expression], last: Expression) -> Expression | None:
    """`1^2 + 2^2 + ... + n^2`: the last term at 1, 2, ... (or 0, 1, ...) gives the first ones."""
    known = frozenset[str]().union(*map(symbols, terms))
    names = symbols(last) - known
    if len(terms) < 2 or len(names) != 1:
        return None
    name = Symbol(*names)
    for start in (1, 0, 2):
        at = [replaced(last, {name: Number(Fraction(start + i))}) for i in range(len(terms))]
        if all(_alike(term, value) for term, value in zip(terms, at, strict=True)):
            body = replaced(last, {name: _COUNTER})
            return _over(operation, Number(Fraction(start)), name, body)
    return None


def _alike(ours: Expression, theirs: Expression) -> bool:
    try:
        return canonical(ours) == canonical(theirs)
    except (NoFormError, UnreadableError):
        return False


def _progression(
    operation: str, terms: Sequence[Expression], last: Expression
) -> Expression | None:
    """`1 + 2 + ... + 20`, `2 + 4 + 8 + ... + 1024`: numbers with one step or one ratio."""
    values = [None if symbols(term) else exact(term) for term in (*terms, last)]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or len(numbers) < 3:
        return None
    step, end = numbers[1] - numbers[0], numbers[-1]
    steps = [b - a for a, b in pairwise(numbers[:-1])]
    count = (end - numbers[0]) / step if step else Fraction(-1)
    first = Number(numbers[0])
    if len({*steps}) == 1 and count.denominator == 1 and 0 <= count < limits.SUMMANDS:
        body = Apply("add", (first, Apply("mul", (Number(step), _COUNTER))))
        return _over(operation, Number(Fraction(0)), Number(count), body)
    if len(numbers) < 4 or not numbers[0] or not numbers[1]:
        return None
    ratio, power = numbers[1] / numbers[0], Fraction(0)
    if any(b != a * ratio for a, b in pairwise(numbers[:-1])):
        return None
    value = numbers[0]
    while value != end:
        value, power = value * ratio, power + 1
        if power > limits.SUMMANDS:
            return None
    body = Apply("mul", (first, Apply("pow", (Number(ratio), _COUNTER))))
    return _over(operation, Number(Fraction(0)), Number(power), body)
