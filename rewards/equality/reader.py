r"""Read tokens as a value: lists, intervals, relations, matrices, ratios, quantities, words.

Separators bind in this order, weakest first: `;`, "and" and "or", commas, relations, set signs.
A structure is only split where no bracket is open.
"""

from contextlib import suppress
from functools import partial

from rewards.equality import limits
from rewards.equality.answers.conditions import excluded
from rewards.equality.answers.declarations import (
    QUALIFIERS,
    bounds_index,
    declares,
    ranges_over_reals,
    without_qualifiers,
)
from rewards.equality.answers.matrices import read_combination, transposed
from rewards.equality.answers.permutations import read_permutation
from rewards.equality.answers.phrases import EXTREMES, all_but, announced, hyphened, maps_to, named
from rewards.equality.answers.piecewise import read_pieces
from rewards.equality.answers.python_forms import PYTHON_FORMS, python_form
from rewards.equality.answers.quantities import quantity, ratio, spoken_amount, words
from rewards.equality.answers.residues import read_residue
from rewards.equality.answers.sets import Reading, braces, grouped, special
from rewards.equality.answers.words import announces, denies
from rewards.equality.numbers.exact import exact
from rewards.equality.syntax.tokens import (
    NAME,
    RELATIONS,
    WORD,
    Tokens,
    closes,
    looks_like_union,
    opening_of_last,
    relates,
    split,
    split_relations,
    step,
    trim,
)
from rewards.equality.syntax.vocabulary import PYTHON_RELATIONS
from rewards.equality.values.expressions import Apply, Expression, Symbol
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Matrix,
    Opaque,
    Quantity,
    Reals,
    Row,
    SetOperation,
    Text,
    Value,
    is_open_pair,
    is_ordering,
    is_region,
)
from rewards.errors import LimitHitError, UnreadableError

_PAIRS = {"(": ")]", "[": ")]", "{": "}", "\\{": ("\\}",), "langle": ("rangle",)}
_OTHER_MARKS = frozenset(
    {",", ";", ":", "∈", "∪", "∩", "setminus", "\\{", "langle", "U", "&", "to", "out", "↦"}
    | {"pmod", "mod"}
)
_CONJUNCTIONS = frozenset({"and", "or", "And", "Or", "AND", "OR"})
_STRUCTURAL = RELATIONS | QUALIFIERS | _CONJUNCTIONS | _OTHER_MARKS
"""Without any of these an answer is one quantity, or words."""
_MATRICES = frozenset(["pmatrix", "bmatrix", "Bmatrix", "matrix", "smallmatrix", "array"])
_LINES = frozenset(["cases", "aligned", "align", "gathered", "split"])


def read_value(tokens: Tokens, reading: Reading) -> Value:
    """The value of an answer; what has no rule is `Text` or `Opaque`. Raises for limits only."""
    depth = 0
    for token in tokens:
        depth += step(token)
        if depth > limits.DEPTH:
            raise LimitHitError("limit_depth", f"nested more than {limits.DEPTH} deep")
    return _Reader(reading).statement(tokens)


class _Reader:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def statement(self, tokens: Tokens) -> Value:
        self.reading.depth += 1
        if self.reading.depth > limits.DEPTH:
            raise LimitHitError("limit_depth", f"nested more than {limits.DEPTH} deep")
        try:
            tokens = _without_open_brace(trim(tokens))
            if not tokens:
                return Text(())
            if len(tokens) == 2 and tokens[0].text + tokens[1].text in ("[]", "()"):
                return Group((), braces=True)
            permutation = read_permutation(tokens) if tokens[0].text == "(" else None
            if permutation is not None:
                return permutation
            return quantity(tokens) if _is_plain(tokens) else self.structure(tokens)
        finally:
            self.reading.depth -= 1

    def structure(self, tokens: Tokens) -> Value:
        """What is more than one quantity, or may be."""
        if any(token.text in ("pmod", "mod") for token in tokens):
            residue = read_residue(tokens, self.statement)
            if residue is not None:
                return residue
        printed = self.python(tokens)
        if printed is not None:
            return printed
        if len(tokens) > 3 and tokens[0].text == "lambda" and tokens[2].text == ":":
            return self.statement(tokens[3:])  # lambda x: x**2
        return self.vector(tokens) or self.split(without_qualifiers(tokens, self.reading))

    def split(self, tokens: Tokens) -> Value:
        if not tokens:
            return Text(())
        groups = split(tokens, {";"})
        if len(groups) > 1:
            return self.semicolons(groups)
        groups = split(tokens, _CONJUNCTIONS, words=True)
        if len(groups) > 1:
            return spoken_amount(tokens) or self.conjunction(tokens, groups)
        groups = split(tokens, {","})
        if len(groups) > 1:
            return self.commas(groups)
        return self.element(groups[0])

    def semicolons(self, groups: list[Tokens]) -> Value:
        inner = [split(group, {","}) for group in groups]
        width = len(inner[0])
        if width > 1 and all(len(parts) == width for parts in inner):
            return Group(
                tuple(Row(tuple(self.statement(part) for part in parts)) for parts in inner)
            )
        return grouped(self.statement(group) for group in groups)

    def conjunction(self, tokens: Tokens, groups: list[Tokens]) -> Value:
        parts = [self.statement(trim(group)) for group in groups if trim(group)]
        if not parts:
            return words(tokens)
        if len(parts) == 1:
            return parts[0]
        either = any(token.kind == WORD and token.text.lower() == "or" for token in tokens)
        if all(is_ordering(part) for part in parts):
            return SetOperation("∪" if either else "∩", tuple(parts))
        if all(is_region(part) for part in parts) and not all(is_open_pair(p) for p in parts):
            return SetOperation("∪", tuple(parts))
        without = excluded(parts)
        if without is not None:
            return without
        if either:
            parts = _distinct(parts)
        return grouped(parts) if len(parts) > 1 else parts[0]

    def commas(self, groups: list[Tokens]) -> Value:
        parts = list[Value]()
        for index, group in enumerate(map(trim, groups)):
            if not group or declares(group, self.reading) or (index and ranges_over_reals(group)):
                continue
            if not index and announces(group):
                continue  # therefore, x = 9
            parts.append(self.statement(group))
        if len(parts) == 2 and isinstance(parts[0], Chain) and bounds_index(parts[1]):
            parts = parts[:1]  # a_n = 2n - 1, n >= 1
        if len(parts) == 1:
            return parts[0]
        without = excluded(parts) if parts else None
        if without is not None:
            return without
        if parts and parts[0] == Reals() and any(token.text == "∈" for token in groups[0]):
            conditions = tuple(parts[1:])  # x in R, x != 1
            if all(is_ordering(part) for part in conditions):
                return SetOperation("∩", conditions) if len(conditions) > 1 else conditions[0]
        return grouped(parts) if parts else words(groups[0])

    def element(self, tokens: Tokens) -> Value:
        tokens = trim(tokens)
        if not tokens:
            return Text(())
        if tokens[-1].text == ")" and len(tokens) > 4:
            start = opening_of_last(tokens)
            if start > 0 and declares(tokens[start:], self.reading):
                tokens = trim(tokens[:start])
        for rule in (
            partial(announced, self),
            partial(named, self),
            partial(maps_to, self),
            partial(all_but, self),
            self.relation,
            self.set_operation,
            partial(read_combination, statement=self.statement),
            partial(transposed, statement=self.statement),
            self.environment,
            self.enclosed,
            self.side_by_side,
            partial(special, self),
            partial(hyphened, self),
            ratio,
        ):
            value = rule(tokens)
            if value is not None:
                return value
        return quantity(tokens)

    def vector(self, tokens: Tokens) -> Value | None:
        """`<1, 2, 3>`."""
        if tokens and tokens[0].text == "<" and tokens[-1].text == ">" and len(tokens) > 4:
            parts = split(tokens[1:-1], {","})
            if len(parts) > 1 and all(parts) and not any(relates(part) for part in parts):
                return Row(tuple(self.statement(part) for part in parts))
        return None

    def relation(self, tokens: Tokens) -> Value | None:
        parts, operators = split_relations(tokens, RELATIONS)
        if operators and all(parts):
            sequence = _called(parts[0]) if operators[0] == "=" else None
            if sequence is not None:
                rest = [self.statement(part) for part in parts[1:]]
                return Chain((sequence, *rest), tuple(operators))
            signs = tuple("=" if sign == "≡" else sign for sign in operators)
            return Chain(tuple(self.statement(_lettered(part)) for part in parts), signs)
        parts, operators = split_relations(tokens, {"∈"})
        if len(operators) == 1 and all(parts):
            if denies([token.text.lower() for token in parts[0] if token.kind == WORD]):
                return None
            inside, left = self.statement(parts[1]), self.statement(parts[0])
            if isinstance(left, Quantity) and not _varies(left.expression):
                return Chain((left, inside), ("∈",))  # 2x in (1,4) does not bound x by 1 and 4
            return inside
        return None

    def set_operation(self, tokens: Tokens) -> Value | None:
        for operator in ("∪", "∩", "setminus"):
            parts = split(tokens, {operator, "U"} if operator == "∪" else {operator})
            if len(parts) > 1 and all(parts):
                if operator == "∪" and not looks_like_union(tokens):
                    return None
                return SetOperation(operator, tuple(self.statement(part) for part in parts))
        for operator, sign in (("∪", "|"), ("∩", "&")):
            parts = split(tokens, {sign})
            if len(parts) > 1 and all(_bracketed(part) for part in parts):
                values = [self.statement(part) for part in parts]
                if all(is_ordering(value) for value in values):
                    return SetOperation(operator, tuple(values))
                return grouped(values)
        parts = split(tokens, {"-"})
        if len(parts) == 2 and all(closes(part) and part[0].text == "\\{" for part in parts):
            return SetOperation("setminus", tuple(self.statement(part) for part in parts))
        if len(parts) == 2 and parts[0] and parts[0][0].text == "mathbbR" and closes(parts[1]):
            return SetOperation("setminus", tuple(self.statement(part) for part in parts))
        return None

    def environment(self, tokens: Tokens) -> Value | None:
        first, last = tokens[0].text, tokens[-1].text
        if first in ("(", "[") and len(tokens) > 3 and closes(tokens):
            inner = tokens[1:-1]
            bracketed = inner[0].text.startswith("begin ")
            return self.environment(inner) if bracketed else None
        if not first.startswith("begin ") or last != "end" + first[5:]:
            return None
        rows = split(tokens[1:-1], {"newline"})
        rows = [row for row in rows if row]
        if first[6:] in _MATRICES and rows:
            cells = tuple(tuple(self.statement(cell) for cell in split(row, {"&"})) for row in rows)
            if all(len(row) == 1 and isinstance(row[0], Chain) for row in cells):
                return grouped(row[0] for row in cells)
            if all(len(row) == len(cells[0]) for row in cells):
                return Matrix(cells)
        if first[6:] in _LINES:
            pieces = read_pieces(rows, self.statement) if first[6:] == "cases" else None
            if pieces is not None:
                return pieces
            return grouped(
                self.statement([token for token in row if token.text != "&"]) for row in rows
            )
        return None

    def python(self, tokens: Tokens) -> Value | None:
        called = len(tokens) > 2 and tokens[1].text in ("(", ".")
        if called and tokens[0].kind == WORD and tokens[0].text in PYTHON_FORMS:
            return python_form(tokens, self.statement)
        return None

    def enclosed(self, tokens: Tokens) -> Value | None:
        opening, closing = tokens[0].text, tokens[-1].text
        if opening not in _PAIRS or closing not in _PAIRS[opening] or not closes(tokens):
            return None
        inner = trim(tokens[1:-1])
        if opening == "[" and not inner:
            return Group((), braces=True)
        if opening in ("\\{", "{"):
            return braces(self, inner, opening == "\\{")
        separator = "," if len(split(inner, {","})) > 1 else ";"
        parts = split(inner, {separator})
        if len(parts) == 1:
            single = self.statement(inner) if inner else Group((), braces=True)
            if tokens[-2].text == ",":
                return single  # Python's (5,)
            return None if isinstance(single, Quantity | Opaque | Text) else single
        if not all(parts):
            return None
        items = tuple(self.statement(part) for part in parts)
        if all(isinstance(item, Row) and item.opening == "[" for item in items) and opening == "[":
            rows = tuple(item.items for item in items if isinstance(item, Row))
            if all(len(row) == len(rows[0]) for row in rows):
                return Matrix(rows)
        return Row(items, "(" if opening in ("(", "langle") else "[", _closing(closing))

    def side_by_side(self, tokens: Tokens) -> Value | None:
        """`(1, 2)(3, 4)`: tuples without a comma between them."""
        pieces = list[Tokens]()
        if tokens[0].kind == NAME and tokens[0].text.isupper() and closes(tokens[1:]):
            point = self.enclosed(tokens[1:])  # A(2, 3) is a point called A
            return point if isinstance(point, Row) else None
        depth = start = 0
        for index, token in enumerate(tokens):
            depth += step(token)
            if depth == 0:
                pieces.append(tokens[start : index + 1])
                start = index + 1
        if len(pieces) < 2 or not all(closes(p) and len(split(p[1:-1], {","})) > 1 for p in pieces):
            return None
        return grouped(self.statement(piece) for piece in pieces)


def _distinct(parts: list[Value]) -> list[Value]:
    r"""Alternatives of which none is another again: `\frac12` or 0.5 is one number."""
    found = dict[object, Value]()
    for index, part in enumerate(parts):
        known: object = index
        named = not index and isinstance(part, Chain) and set(part.operators) == {"="}
        said = part.parts[-1] if named and isinstance(part, Chain) else part  # x = 1/2 or 0.5
        if isinstance(said, Quantity):
            with suppress(UnreadableError, LimitHitError):
                value = exact(said.expression)
                known = index if value is None else (value, said.unit)
        found.setdefault(known, part)
    return list(found.values())


def _varies(node: Expression) -> bool:
    """Whether a set may hold all values of it: `x`, `f(x)`."""
    return isinstance(node, Symbol) or (isinstance(node, Apply) and node.operation == "call")


def _lettered(tokens: Tokens) -> Tokens:
    r"""A letter alone beside a relation is a name, in `\text{x < 2}` too."""
    if len(tokens) == 1 and tokens[0].kind == NAME and len(tokens[0].text) == 1:
        return [tokens[0]._replace(prose=False)]
    return tokens


def _called(tokens: Tokens) -> Quantity | None:
    """`a(n)` on the left of an equation names a function, whatever its letter."""
    texts = [token.text for token in tokens]
    if len(texts) != 4 or texts[1] != "(" or texts[3] != ")":
        return None
    if tokens[0].kind != NAME or tokens[2].kind != NAME:
        return None
    return Quantity(Apply("call", (Symbol(texts[0]), Symbol(texts[2]))))


def _bracketed(tokens: Tokens) -> bool:
    """`(x < 0)`, `(-1 < x) & (x < 0)`, `Ne(x, 9)`: what Python joins by signs of its own."""
    if not tokens or tokens[-1].text != ")":
        return False
    called = any(token.text in PYTHON_RELATIONS for token in tokens)
    return called or (tokens[0].text == "(" and relates(tokens))


def _without_open_brace(tokens: Tokens) -> Tokens:
    """Lines behind one tall brace, which only an invisible one closes."""
    if len(tokens) > 2 and tokens[0].text == "\\{" and tokens[1].text.startswith("begin "):
        return tokens[1:] if tokens[-1].text == "end" + tokens[1].text[5:] else tokens
    return tokens


def _is_plain(tokens: Tokens) -> bool:
    """Whether no rule but that for quantities can apply: true of most answers, and cheap to see."""
    if not tokens or tokens[0].kind == WORD or tokens[0].text in _NOT_PLAIN:
        return False
    for token in tokens:
        if token.text in _STRUCTURAL or token.text.startswith("begin "):
            return False
    return True


_NOT_PLAIN = frozenset({"{", "emptyset", "mathbbR", "mathbbZ", "mathbbN"}) | EXTREMES


def _closing(text: str) -> str:
    return ")" if text in (")", "rangle") else "]"
