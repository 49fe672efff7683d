r"""Read tokens as a value: lists, intervals, relations, matrices, ratios, quantities, words.

Separators bind in this order, weakest first: `;`, "and" and "or", commas, relations, set signs.
A structure is only split where no bracket is open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rewards.equality import limits
from rewards.equality.answers.quantities import quantity, ratio, words
from rewards.equality.syntax.python_forms import PYTHON_FORMS, python_form
from rewards.equality.syntax.token_spans import (
    RELATIONS,
    Tokens,
    builder_bar,
    closes,
    looks_like_union,
    opening_of_last,
    relates,
    resumed,
    says_mathematics,
    split,
    split_relations,
    step,
    trim,
)
from rewards.equality.syntax.tokens import (
    COMMAND,
    NAME,
    NUMBER,
    OPERATOR,
    WORD,
)
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Labelled,
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
from rewards.errors import LimitHitError

_PAIRS = {"(": ")]", "[": ")]", "{": "}", "\\{": ("\\}",), "langle": ("rangle",)}
_OTHER_MARKS = frozenset(
    {",", ";", ":", "∈", "∪", "∩", "setminus", "\\{", "langle", "U", "&", "to"}
)
_QUALIFIERS = frozenset({"for", "where", "with", "when", "whenever", "forall"})
_CONJUNCTIONS = frozenset({"and", "or", "And", "Or", "AND", "OR"})
_STRUCTURAL = RELATIONS | _QUALIFIERS | _CONJUNCTIONS | _OTHER_MARKS
"""Without any of these an answer is one quantity, or words."""
_INTEGERS = frozenset({"mathbbZ", "mathbbN", "Z", "integer", "integers"})
_MATRICES = frozenset(["pmatrix", "bmatrix", "Bmatrix", "matrix", "smallmatrix", "array"])
_LINES = frozenset(["cases", "aligned", "align", "gathered", "split"])
_COPULAS = frozenset({"is", "are", "equals", "was"})


@dataclass(slots=True)
class Reading:
    """What was read besides the value."""

    parameters: set[str] = field(default_factory=set)
    """Names declared to be any integer: `k \\in \\mathbb{Z}`."""
    depth: int = 0


def read_value(tokens: Tokens, reading: Reading) -> Value:
    """The value of an answer; what has no rule is `Text` or `Opaque`. Raises for limits only."""
    depth = 0
    for token in tokens:
        depth += step(token)
        if depth > limits.DEPTH:
            raise LimitHitError("limit_depth", f"nested more than {limits.DEPTH} deep")
    return _Structure(reading).statement(tokens)


class _Structure:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def statement(self, tokens: Tokens) -> Value:
        self.reading.depth += 1
        if self.reading.depth > limits.DEPTH:
            raise LimitHitError("limit_depth", f"nested more than {limits.DEPTH} deep")
        try:
            tokens = _without_open_brace(trim(tokens))
            if _is_plain(tokens):
                return quantity(tokens)
            return self.vector(tokens) or self.split(self.without_qualifiers(tokens))
        finally:
            self.reading.depth -= 1

    def without_qualifiers(self, tokens: Tokens) -> Tokens:
        """Cuts `for all x`, `where k is an integer`; notes which names are integers."""
        depth = 0
        for index, token in enumerate(tokens):
            depth += step(token)
            word = token.text.lower() if token.kind in (WORD, COMMAND) else ""
            if depth == 0 and word in _QUALIFIERS and index > 0:
                end = resumed(tokens, index) if word in ("for", "forall") else len(tokens)
                tail = tokens[index:end]
                if any(part.text in _INTEGERS for part in tail):
                    self.reading.parameters |= {t.text for t in tail if t.kind == NAME} - _INTEGERS
                kept = trim([*trim(tokens[:index]), *tokens[end:]])
                return self.without_qualifiers(kept) if end < len(tokens) else kept
        return tokens

    def split(self, tokens: Tokens) -> Value:
        if not tokens:
            return Text(())
        groups = split(tokens, {";"})
        if len(groups) > 1:
            return self.semicolons(groups)
        groups = split(tokens, _CONJUNCTIONS, words=True)
        if len(groups) > 1:
            return self.conjunction(tokens, groups)
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
        return _group(self.statement(group) for group in groups)

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
        return _group(parts)

    def commas(self, groups: list[Tokens]) -> Value:
        parts = list[Value]()
        for group in map(trim, groups):
            if not group or self.declares(group):
                continue
            parts.append(self.statement(group))
        if len(parts) == 1:
            return parts[0]
        return _group(parts) if parts else words(groups[0])

    def declares(self, tokens: Tokens) -> bool:
        r"""Whether this is `k \in \mathbb{Z}` and no part of the answer."""
        if tokens[0].text == "(" and closes(tokens):
            tokens = tokens[1:-1]
        index = next((i for i, token in enumerate(tokens) if token.text == "∈"), -1)
        if index < 1 or not any(token.text in _INTEGERS for token in tokens[index:]):
            return False
        names = {token.text for token in tokens[:index] if token.kind == NAME}
        self.reading.parameters |= names
        return bool(names)

    def element(self, tokens: Tokens) -> Value:
        tokens = trim(tokens)
        if not tokens:
            return Text(())
        if tokens[-1].text == ")" and len(tokens) > 4:
            start = opening_of_last(tokens)
            if start > 0 and self.declares(tokens[start:]):
                tokens = trim(tokens[:start])
        for rule in (
            self.announced,
            self.relation,
            self.set_operation,
            self.environment,
            self.python,
            self.enclosed,
            self.side_by_side,
            self.special,
            ratio,
        ):
            value = rule(tokens)
            if value is not None:
                return value
        return quantity(tokens)

    def announced(self, tokens: Tokens) -> Value | None:
        """`Minimum: 1`, `Answer = 5`, `Paolo: 18`: words, a colon, a value."""
        for index, token in enumerate(tokens[:8]):
            if index and token.kind == OPERATOR and token.text in (":", "="):
                rest = tokens[index + 1 :]
                if rest and any(t.kind == WORD for t in tokens[:index]):
                    label = " ".join(t.text.lower() for t in tokens[:index])
                    return Labelled(label, self.statement(rest))
                return None
            if (
                token.kind == WORD
                and token.text in _COPULAS
                and says_mathematics(tokens[index + 1 :])
            ):
                return Labelled("", self.statement(tokens[index + 1 :]))
            if token.kind not in (WORD, NAME, NUMBER):
                return None
        return None

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
            return Chain(tuple(self.statement(part) for part in parts), tuple(operators))
        parts, operators = split_relations(tokens, {"∈"})
        if len(operators) == 1 and all(parts):
            return self.statement(parts[1])
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
            if len(parts) > 1 and all(closes(part) and relates(part) for part in parts):
                return SetOperation(operator, tuple(self.statement(part) for part in parts))
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
                return _group(row[0] for row in cells)
            if all(len(row) == len(cells[0]) for row in cells):
                return Matrix(cells)
        if first[6:] in _LINES:
            return _group(
                self.statement([token for token in row if token.text != "&"]) for row in rows
            )
        return None

    def python(self, tokens: Tokens) -> Value | None:
        if tokens[0].kind == WORD and tokens[0].text in PYTHON_FORMS:
            return python_form(tokens, self.statement)
        return None

    def enclosed(self, tokens: Tokens) -> Value | None:
        opening, closing = tokens[0].text, tokens[-1].text
        if opening not in _PAIRS or closing not in _PAIRS[opening] or not closes(tokens):
            return None
        inner = trim(tokens[1:-1])
        if opening in ("\\{", "{"):
            return self.braces(inner, opening == "\\{")
        separator = "," if len(split(inner, {","})) > 1 else ";"
        parts = split(inner, {separator})
        if len(parts) == 1:
            single = self.statement(inner) if inner else Group((), braces=True)
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
        return _group(self.statement(piece) for piece in pieces)

    def braces(self, inner: Tokens, is_set: bool) -> Value | None:
        if not inner:
            return Group((), braces=True)
        bar = builder_bar(inner)
        if bar > 0:
            return self.statement(inner[bar + 1 :])
        parts = split(inner, {",", ";"})
        if not is_set and len(parts) == 1:
            value = self.statement(inner)
            return None if isinstance(value, Quantity | Opaque) else value
        mapped = [split(part, {":"}) for part in parts]
        if not is_set and all(len(pair) == 2 and all(pair) for pair in mapped):
            chains = [
                Chain((self.statement(name), self.statement(value)), ("=",))
                for name, value in mapped
            ]
            return _group(chains)
        value = _group(self.statement(part) for part in parts if trim(part))
        items = value.items if isinstance(value, Group) else (value,)
        return Group(items, braces=True)

    def special(self, tokens: Tokens) -> Value | None:
        if len(tokens) == 1:
            text = tokens[0].text
            if text in ("mathbbR", "Reals"):
                return Reals()
            if text in ("emptyset", "EmptySet"):
                return Group((), braces=True)
        return None


def _without_open_brace(tokens: Tokens) -> Tokens:
    """Lines behind one tall brace, which only an invisible one closes."""
    if len(tokens) > 2 and tokens[0].text == "\\{" and tokens[1].text.startswith("begin "):
        return tokens[1:] if tokens[-1].text == "end" + tokens[1].text[5:] else tokens
    return tokens


def _is_plain(tokens: Tokens) -> bool:
    """Whether no rule but that for quantities can apply: true of most answers, and cheap to see."""
    if not tokens or tokens[0].kind == WORD or tokens[0].text in ("{", "emptyset", "mathbbR"):
        return False
    for token in tokens:
        if token.text in _STRUCTURAL or token.text.startswith("begin "):
            return False
    return True


def _group(values: Iterable[Value]) -> Value:
    items = list[Value]()
    for value in values:
        if isinstance(value, Group) and not value.braces:
            items.extend(value.items)
        else:
            items.append(value)
    if len(items) > limits.ITEMS:
        raise LimitHitError("limit_items", f"more than {limits.ITEMS} members")
    return Group(tuple(items))


def _closing(text: str) -> str:
    return ")" if text in (")", "rangle") else "]"
