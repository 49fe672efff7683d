"""Sets in braces: members, dictionaries, set builders, images; and lists of members."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from rewards.equality import limits
from rewards.equality.answers.families import is_linear
from rewards.equality.answers.intervals import integers_in
from rewards.equality.syntax.token_spans import Tokens, builder_bar, split, split_relations, trim
from rewards.equality.syntax.tokens import NAME
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Opaque,
    Quantity,
    Reals,
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
    if not is_set and all(len(pair) == 2 and all(pair) for pair in mapped):
        chains = [
            Chain((reader.statement(name), reader.statement(value)), ("=",))
            for name, value in mapped
        ]
        return grouped(chains)
    value = grouped(reader.statement(part) for part in parts if trim(part))
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
        reals = any(token.text == "mathbbR" for token in over[1])
        linear = isinstance(value, Quantity) and is_linear(value.expression)
        return Reals() if reals and linear else None
    over, signs = split_relations(condition, {"∈"})
    if sides[0] and sides[0][0].text == "(" and len(signs) == 1 and len(over[0]) == 1:
        return reader.statement(sides[0])  # {(t, 2t) : t in R} is the line (t, 2t)
    value = reader.statement(condition)
    if isinstance(value, Group) and all(is_ordering(item) for item in value.items):
        value = SetOperation("∩", value.items)  # x >= 2, x != 3
    return integers_in(value) if whole else value


def special(reader: Statements, tokens: Tokens) -> Value | None:
    r"""The reals and the empty set by their signs."""
    if len(tokens) == 1:
        text = tokens[0].text
        if text in ("mathbbR", "Reals"):
            return Reals()
        if text in ("emptyset", "EmptySet"):
            return Group((), braces=True)
    return None
