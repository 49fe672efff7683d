"""Sets in braces: members, dictionaries, set builders, images; and lists of members."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from rewards.equality import limits
from rewards.equality.answers.families import is_linear
from rewards.equality.answers.intervals import integers_in, naturals_in
from rewards.equality.syntax.tokens import (
    NAME,
    Tokens,
    builder_bar,
    closes,
    split,
    split_relations,
    trim,
)
from rewards.equality.values.expressions import (
    INFINITY,
    MINUS_INFINITY,
    ZERO,
    Expression,
    Symbol,
    replaced,
    symbols,
)
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Opaque,
    Quantity,
    Reals,
    Row,
    SetOperation,
    Value,
    is_ordering,
)
from rewards.errors import LimitHitError

INTEGERS = frozenset({"mathbbZ", "mathbbN", "Z", "integer", "integers"})


@dataclass(slots=True)
class Reading:
    """What was read besides the value."""

    parameters: set[str] = field(default_factory=set)
    """Names declared to be any integer: `k \\in \\mathbb{Z}`."""
    conditions: set[str] = field(default_factory=set)
    """Numbers in what was cut off as a condition: `for n > 3`."""
    depth: int = 0


class Statements(Protocol):
    """What reads the parts of an answer."""

    reading: Reading

    def statement(self, tokens: Tokens) -> Value:
        """The value of a part."""
        ...


def grouped(values: Iterable[Value]) -> Value:
    """A list of these, with lists among them opened."""
    items = list[Value]()
    for value in values:
        if isinstance(value, Group) and not value.braces:
            items.extend(value.items)
        else:
            items.append(value)
    if len(items) > limits.ITEMS:
        raise LimitHitError("limit_items", f"more than {limits.ITEMS} members")
    return Group(tuple(items))


def braces(reader: Statements, inner: Tokens, is_set: bool) -> Value | None:
    r"""`{1, 2}`, `{x: 1}`, a set builder; braces around one value are no set in LaTeX."""
    if not inner:
        return Group((), braces=True)
    bar = builder_bar(inner)
    if bar > 0:
        return builder(reader, inner[:bar], inner[bar + 1 :])
    parts = split(inner, {",", ";"})
    mapped = [split(part, {":"}) for part in parts]
    if not is_set and len(parts) == 1 and len(mapped[0]) == 2 and len(mapped[0][0]) == 1:
        (name, said), *_ = mapped  # {x: 2}
        if name[0].kind == NAME and said:
            return Chain((reader.statement(name), reader.statement(said)), ("=",))
    if not is_set and len(parts) == 1:
        value = reader.statement(inner)
        return None if isinstance(value, Quantity | Opaque) else value
    named = all(len(pair) == 2 and all(pair) and len(pair[0]) == 1 for pair in mapped)
    if (named and all(pair[0][0].kind == NAME for pair in mapped)) or (
        not is_set and all(len(pair) == 2 and all(pair) for pair in mapped)
    ):
        chains = [
            Chain((reader.statement(name), reader.statement(value)), ("=",))
            for name, value in mapped
        ]
        return grouped(chains)
    members = [trim(part) for part in parts if trim(part)]
    value = grouped(
        reader.statement(part)
        if is_set or part[0].text != "{" or not closes(part)
        else braces(reader, part[1:-1], is_set=True) or reader.statement(part)
        for part in members
    )
    items = value.items if isinstance(value, Group) else (value,)
    system = all(isinstance(item, Chain) for item in items)  # {x = 3, y = -2}
    return Group(items, braces=not system)


def builder(reader: Statements, head: Tokens, condition: Tokens) -> Value | None:
    r"""`\{x \mid x>2\}`, `\{x \in \mathbb{Z} : 0<x<5\}`, `\{2k\pi : k \in \mathbb{Z}\}`."""
    sides, signs = split_relations(head, {"∈"})
    whole = len(signs) == 1 and any(token.text in INTEGERS for token in sides[1])
    if len(sides[0]) > 1 and sides[0][0].text != "(":  # the image of a map
        over, signs = split_relations(condition, {"∈"})
        if len(signs) != 1:
            return None
        if any(token.text in INTEGERS for token in over[1]):
            reader.reading.parameters |= {t.text for t in over[0] if t.kind == NAME}
            return reader.statement(sides[0])
        value = reader.statement(sides[0])
        listed = _image(value, reader.statement(over[1]))
        if listed is not None:
            return listed
        reals = any(token.text == "mathbbR" for token in over[1])
        linear = isinstance(value, Quantity) and is_linear(value.expression)
        return Reals() if reals and linear else None
    over, signs = split_relations(condition, {"∈"})
    if sides[0] and sides[0][0].text == "(" and len(signs) == 1 and len(over[0]) == 1:
        return reader.statement(sides[0])  # {(t, 2t) : t in R} is the line (t, 2t)
    value = reader.statement(condition)
    if isinstance(value, Group) and all(is_ordering(item) for item in value.items):
        value = SetOperation("∩", value.items)  # x >= 2, x != 3
    if whole and any(token.text == "mathbbN" for token in sides[1]):
        return naturals_in(value)
    return integers_in(value) if whole else value


def _image(value: Value, domain: Value) -> Group | None:
    r"""`\{2k : k \in \{1,2,3\}\}` is 2, 4, 6."""
    if not isinstance(value, Quantity) or not isinstance(domain, Group) or not domain.braces:
        return None
    names, members = symbols(value.expression), list[Expression]()
    members = [item.expression for item in domain.items if isinstance(item, Quantity)]
    if len(names) != 1 or len(members) < len(domain.items):
        return None
    name = Symbol(*names)
    images = (Quantity(replaced(value.expression, {name: member})) for member in members)
    return Group(tuple(images), braces=True)


def special(reader: Statements, tokens: Tokens) -> Value | None:
    r"""Sets by their signs: `\mathbb{R}`, `\emptyset`, `\mathbb{R}^+`, `\mathbb{Z}`."""
    if len(tokens) > 6 or tokens[0].text[:4] not in ("math", "Real", "empt", "Empt", "Inte"):
        return None
    spelled = "".join(token.text for token in tokens if token.text not in ("{", "}"))
    if spelled in ("emptyset", "EmptySet"):
        return Group((), braces=True)
    if spelled in ("mathbbZ", "Integers"):
        return whole_numbers(reader)
    if spelled in _NAMED_SETS:
        return Quantity(Symbol(_NAMED_SETS[spelled]))
    return _NAMED_REGIONS.get(spelled)


_NAMED_REGIONS: dict[str, Value] = {
    "mathbbR": Reals(),
    "Reals": Reals(),
    "mathbbR^*": SetOperation("setminus", (Reals(), Group((Quantity(ZERO),), braces=True))),
}
for _sign, _opening, _ends in (
    ("+", "(", (ZERO, INFINITY)),
    (">0", "(", (ZERO, INFINITY)),
    (">=0", "[", (ZERO, INFINITY)),
    ("-", "(", (MINUS_INFINITY, ZERO)),
    ("<0", "(", (MINUS_INFINITY, ZERO)),
):
    _interval = Row(tuple(Quantity(end) for end in _ends), _opening, ")")
    _NAMED_REGIONS[f"mathbbR^{_sign}"] = _NAMED_REGIONS[f"mathbbR_{_sign}"] = _interval
_NAMED_SETS = {
    f"mathbb{letter}{mark}": "positive integers"
    for letter, marks in (("Z", ("^+", "_+", "_>0")), ("N", ("^*", "^+", "_+")))
    for mark in marks
}


def whole_numbers(reader: Statements) -> Value:
    """All integers: the progression of step one."""
    reader.reading.parameters.add(WHOLE)
    return Quantity(Symbol(WHOLE))


WHOLE = "any integer"
"""A name that no answer can write, so that `n` is not the set of its values."""
