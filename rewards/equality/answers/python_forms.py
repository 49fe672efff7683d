"""Structures as sympy prints them: `Matrix([[1, 2]])`, `Interval.open(0, oo)`, `Eq(x, 2)`."""

from collections.abc import Callable, Sequence

from rewards.equality.answers.piecewise import from_python
from rewards.equality.syntax.tokens import OPERATOR, Token
from rewards.equality.syntax.vocabulary import PYTHON_RELATIONS
from rewards.equality.values.expressions import Symbol
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Matrix,
    Quantity,
    Row,
    SetOperation,
    Value,
    is_ordering,
)

Tokens = Sequence[Token]
_SETS = {"Union": "∪", "Intersection": "∩", "Complement": "setminus"}
_BRACKETS = {"": "[]", "open": "()", "Lopen": "(]", "Ropen": "[)"}

PYTHON_FORMS = frozenset(
    {"Matrix", "ImmutableMatrix", "MutableDenseMatrix", "array", "Interval", "FiniteSet", "tensor"}
    | {"set", "tuple", "list", "Tuple", "Point", "Or", "And", "Piecewise", "frozenset"}
    | set(PYTHON_RELATIONS)
    | set(_SETS)
)

_INFINITY = ("oo", "inf", "\\infty")


def python_form(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Value | None:
    """The value of a printed call that is the whole answer, `None` if it is not ours to read."""
    name = tokens[0].text
    kind, start = "", 1
    if name == "Interval" and len(tokens) > 3 and tokens[1].text == ".":
        kind, start = tokens[2].text, 3
    if start >= len(tokens) or tokens[start].text != "(" or tokens[-1].text != ")":
        return None
    pieces = _arguments(tokens[start + 1 : -1])
    if pieces is None:
        return None
    values = tuple(statement(piece) for piece in pieces)
    if name == "Interval":
        return _interval(values, kind, pieces)
    if name in _RELATING:
        return _related(name, values)
    if name in _MEMBERS:
        return _MEMBERS[name](values)
    return _container(name, values[0] if values else None) if len(values) < 2 else None


_MEMBERS: dict[str, Callable[[tuple[Value, ...]], Value | None]] = {
    "FiniteSet": lambda values: Group(values, braces=True),
    "Tuple": Row,
    "Point": Row,
    "Piecewise": from_python,
}
_RELATING = {*PYTHON_RELATIONS, *_SETS, "Or", "And"}


def _related(name: str, values: tuple[Value, ...]) -> Value | None:
    """`Eq(x, 2)`, `Union(...)`, `Or(x < 0, x > 4)`."""
    if name in PYTHON_RELATIONS:
        return Chain(values, (PYTHON_RELATIONS[name],)) if len(values) == 2 else None
    if name in _SETS:  # in Union({1}, Interval.open(2, 3)) the braces of one number are a set
        sets = tuple(Group((v,), braces=True) if _is_number(v) else v for v in values)
        return SetOperation(_SETS[name], sets) if sets else None
    orderings = all(is_ordering(value) for value in values)
    sign = "∪" if name == "Or" else "∩"
    return SetOperation(sign, values) if orderings and values else Group(values)


def _is_number(value: Value) -> bool:
    return isinstance(value, Quantity) and not isinstance(value.expression, Symbol)


def _container(name: str, value: Value | None) -> Value | None:
    """`set([1, 2])`, `array([3, 5])`, `Matrix([[1, 2], [3, 4]])`."""
    if name in ("set", "tuple", "list", "frozenset"):
        return Group((), braces=True) if value is None else value
    if name in ("array", "tensor") and not isinstance(value, Matrix):
        return value  # of one dimension
    return None if value is None else _matrix(value)


def _interval(values: tuple[Value, ...], kind: str, pieces: list[Tokens]) -> Value | None:
    if kind not in _BRACKETS or not 2 <= len(values) <= 4:
        return None
    brackets = _BRACKETS[kind]
    opening, closing = brackets[0], brackets[1]
    flags = [piece[0].text.lower() == "true" if piece else False for piece in pieces[2:]]
    if flags and flags[0]:
        opening = "("
    if len(flags) > 1 and flags[1]:
        closing = ")"
    # Sympy itself never includes an infinite end, and does not print that.
    if pieces[0] and pieces[0][-1].text in _INFINITY:
        opening = "("
    if pieces[1] and pieces[1][-1].text in _INFINITY:
        closing = ")"
    return Row(values[:2], opening, closing)


def _matrix(value: Value) -> Value:
    if isinstance(value, Row):
        if value.items and all(isinstance(item, Row) for item in value.items):
            return Matrix(tuple(item.items for item in value.items if isinstance(item, Row)))
        return Matrix(tuple((item,) for item in value.items))
    return value


def _arguments(tokens: Tokens) -> list[Tokens] | None:
    """Pieces between commas, `None` if a bracket closes that was not opened here."""
    out: list[Tokens] = []
    depth = start = 0
    for index, token in enumerate(tokens):
        if token.kind == OPERATOR:
            depth += token.text in ("(", "[", "{")
            depth -= token.text in (")", "]", "}")
            if depth < 0:
                return None
            if token.text == "," and depth == 0:
                out.append(tokens[start:index])
                start = index + 1
    if tokens:
        out.append(tokens[start:])
    return out
