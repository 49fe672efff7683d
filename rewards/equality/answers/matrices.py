r"""Matrices and vectors: sums and multiples of them, unit vectors, comparison cell by cell."""

from collections.abc import Callable

from rewards.equality.comparison import Comparison, all_of, different
from rewards.equality.numbers.identity import same
from rewards.equality.syntax.parser import parse
from rewards.equality.syntax.tokens import (
    COMMAND,
    FUNCTION,
    NAME,
    WORD,
    Token,
    Tokens,
    closes,
    split,
    step,
)
from rewards.equality.values.expressions import (
    ONE,
    ZERO,
    Apply,
    Constant,
    Expression,
    Symbol,
    difference,
    negate,
    replaced,
    symbols,
)
from rewards.equality.values.kinds import Matrix, Quantity, Row, Value
from rewards.errors import UnreadableError

_BASES = (
    tuple(Symbol(f"hat {name}") for name in "ijk"),
    tuple(Symbol(f"vec {name}") for name in "ijk"),
    (Constant("i"), Symbol("j"), Symbol("k")),
)
r"""`\\mathbf{i}`, `\\hat{i}`, `\\vec{i}`; plain letters too, where the reference is a vector."""

_TRANSPOSES = frozenset({"T", "top", "intercal"})


def read_combination(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Matrix | None:
    r"""`\\frac13 \\begin{pmatrix}...`, `2(1,2)`, `A + tB`: one matrix with its cells worked out."""
    if not any(token.text.startswith("begin ") or token.text == "," for token in tokens):
        return None
    if closes(tokens):
        return None  # a bare matrix or tuple has its own rule
    terms = _terms(tokens)
    total: Matrix | None = None
    plain = len(terms) == 1
    for sign, term in terms:
        found = _factors(term, statement)
        if found is None:
            return None
        matrix, factors = found
        if plain and not factors and sign > 0:
            return None  # a bare matrix has its own rule
        scaled = _scaled(matrix, factors, sign)
        total = scaled if total is None else _sum(total, scaled)
        if total is None:
            return None
    return total


def _terms(tokens: Tokens) -> list[tuple[int, Tokens]]:
    terms, start, depth, sign = list[tuple[int, Tokens]](), 0, 0, 1
    for index, token in enumerate(tokens):
        depth += step(token)
        if depth == 0 and token.text in ("+", "-"):
            if index > start:
                terms.append((sign, tokens[start:index]))
                sign = 1
            sign = -sign if token.text == "-" else sign
            start = index + 1
    terms.append((sign, tokens[start:]))
    return terms


def _factors(  # noqa: C901 - one pass over a term
    term: Tokens, statement: Callable[[Tokens], Value]
) -> tuple[Matrix, list[Expression]] | None:
    """The one matrix of a term, and what it is multiplied by."""
    matrix: Matrix | None = None
    pieces, start, depth = list[Tokens](), 0, 0
    for index, token in enumerate(term):
        depth += step(token)
        opened = index
        if depth == 1 and step(token) == 1:
            opened, inner = index, 1
            while inner and opened + 1 < len(term):
                opened += 1
                inner += step(term[opened])
            piece = term[index : opened + 1]
            called = index and not _multiplies(term[index - 1])
            if _is_matrix(piece) and not called:
                if matrix is not None:
                    return None
                value = statement(piece)
                matrix = _as_matrix(value)
                if matrix is None:
                    return None
                pieces += [term[start:index]]
                start = opened + 1
    pieces.append(term[start:])
    if matrix is None:
        return None
    factors = list[Expression]()
    for between in pieces:
        piece = between
        while piece and piece[0].text == "*":
            piece = piece[1:]
        while piece and piece[-1].text == "*":
            piece = piece[:-1]
        divided = bool(piece) and piece[0].text == "/"
        if piece:
            try:
                node = parse(piece[1:] if divided else piece)
            except UnreadableError:
                return None
            factors.append(Apply("inv", (node,)) if divided else node)
    return matrix, factors


def _multiplies(token: Token) -> bool:
    """Whether a tuple behind it is multiplied: `2(1,2)`, `t(1,2)`; in `f(1,2)` it is not."""
    if token.kind == NAME:
        return token.text in ("t", "s", "k", "lambda", "mu")
    return token.kind not in (FUNCTION, WORD, COMMAND)


def _is_matrix(piece: Tokens) -> bool:
    first = piece[0].text
    if first.startswith("begin "):
        return not first.endswith(("vmatrix", "Vmatrix", "cases"))
    if first in ("(", "[") and piece[1].text.startswith("begin ") and closes(piece[1:-1]):
        return True  # \left[\begin{matrix}...\end{matrix}\right], as sympy prints it
    return closes(piece) and first == "(" and len(split(piece[1:-1], {","})) > 1


def _as_matrix(value: Value) -> Matrix | None:
    if isinstance(value, Row):
        value = Matrix(tuple((item,) for item in value.items))
    if not isinstance(value, Matrix):
        return None
    return value if all(isinstance(c, Quantity) for row in value.rows for c in row) else None


def _scaled(matrix: Matrix, factors: list[Expression], sign: int) -> Matrix:
    def cell(value: Value) -> Value:
        assert isinstance(value, Quantity)
        node = value.expression
        node = Apply("mul", (*factors, node)) if factors else node
        return Quantity(negate(node) if sign < 0 else node)

    return Matrix(tuple(tuple(cell(value) for value in row) for row in matrix.rows))


def _sum(ours: Matrix, theirs: Matrix) -> Matrix | None:
    if [len(row) for row in ours.rows] != [len(row) for row in theirs.rows]:
        return None

    def cell(a: Value, b: Value) -> Value:
        assert isinstance(a, Quantity)
        assert isinstance(b, Quantity)
        return Quantity(Apply("add", (a.expression, b.expression)))

    rows = zip(ours.rows, theirs.rows, strict=True)
    return Matrix(tuple(tuple(map(cell, row, other)) for row, other in rows))


def compare_matrices(
    reference: Value, answer: Value, compare: Callable[[Value, Value], Comparison]
) -> Comparison:
    """Matrices cell by cell; a single row or column is also a vector."""
    if isinstance(reference, Matrix) and isinstance(answer, Matrix):
        ours, theirs = reference.rows, answer.rows
        if (len(ours), len(ours[0])) == (len(theirs), len(theirs[0])):
            cells = [
                (a, b)
                for row, other in zip(ours, theirs, strict=True)
                for a, b in zip(row, other, strict=True)
            ]
            return all_of((compare(a, b) for a, b in cells), "matrix")
        return different("shape_differs")
    nested = [_nested(value) for value in (reference, answer)]  # ((2, 0), (1, -1))
    if any(nested):
        return compare_matrices(nested[0] or reference, nested[1] or answer, compare)
    first, second = _vector(reference), _vector(answer)
    if first is None and second is not None:
        first = _components(reference, len(second))
    elif second is None and first is not None:
        second = _components(answer, len(first))
    if first is None or second is None or len(first) != len(second):
        return different("type_differs", "a matrix against something else")
    return all_of((compare(a, b) for a, b in zip(first, second, strict=True)), "vector")


def _nested(value: Value) -> Matrix | None:
    """A tuple of tuples of one length: Python writes matrices so."""
    if not isinstance(value, Row) or not value.items:
        return None
    rows = tuple(item.items for item in value.items if isinstance(item, Row))
    square = len(rows) == len(value.items) and len({len(row) for row in rows}) == 1
    return Matrix(rows) if square else None


def transposed(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Matrix | None:
    r"""`(1,2,3)^T`, `\begin{pmatrix}...\end{pmatrix}^{\top}`: rows and columns change places."""
    texts = [token.text for token in tokens[-5:]]
    size = next((n for n in (4, 2) if "".join(texts[-n:]).strip("^{}") in _TRANSPOSES), 0)
    if (
        not size
        or len(tokens) < size + 4
        or tokens[-size].text != "^"
        or not closes(tokens[:-size])
    ):
        return None
    value = statement(tokens[:-size])
    if isinstance(value, Row):
        return Matrix(tuple((item,) for item in value.items))
    if not isinstance(value, Matrix):
        return None
    return Matrix(tuple(zip(*value.rows, strict=True)))


def _vector(value: Value) -> tuple[Value, ...] | None:
    if isinstance(value, Matrix):
        if len(value.rows[0]) == 1:
            return tuple(row[0] for row in value.rows)
        return value.rows[0] if len(value.rows) == 1 else None
    return value.items if isinstance(value, Row) and value.opening in "([" else None


def with_unit_vectors(a: Expression, b: Expression) -> tuple[Expression, Expression]:
    r"""Plain i, j, k of one side as unit vectors, where the other side writes `\hat{i}`."""
    both = symbols(a) | symbols(b)
    if not any(" " in name for name in both):
        return a, b
    for basis in _BASES[:2]:
        names = {unit.name for unit in basis if isinstance(unit, Symbol)}
        plain = dict[Expression, Expression](zip(_BASES[2], basis, strict=True))
        if symbols(a) & names and not symbols(b) & names:
            return a, replaced(b, plain)
        if symbols(b) & names and not symbols(a) & names:
            return replaced(a, plain), b
    return a, b


def _components(value: Value, size: int) -> tuple[Value, ...] | None:
    r"""Coefficients of `\\mathbf{i} - 2\\mathbf{j} + 3\\mathbf{k}`."""
    if not isinstance(value, Quantity) or value.unit is not None:
        return None
    node = value.expression
    for basis in _BASES:
        if not any(isinstance(unit, Symbol) and unit.name in symbols(node) for unit in basis):
            continue
        out = list[Expression]()
        for unit in basis:
            values: dict[Expression, Expression] = dict.fromkeys(basis, ZERO)
            out.append(replaced(node, {**values, unit: ONE}))
        terms: list[Expression] = [
            Apply("mul", (part, basis[place])) for place, part in enumerate(out)
        ]
        rebuilt = Apply("add", tuple(terms))
        if same(difference(node, rebuilt), ZERO).equal and (size == 3 or same(out[2], ZERO).equal):
            return tuple(Quantity(part) for part in out[:size])
    return None
