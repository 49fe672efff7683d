"""Words around values: `The area is 5`, `f: x -> 2x`, `5-6`, `all real numbers except 1`."""

from rewards.equality.answers.sets import Statements, special
from rewards.equality.answers.words import harmless
from rewards.equality.syntax.tokens import (
    NAME,
    NUMBER,
    OPERATOR,
    WORD,
    Token,
    Tokens,
    closes,
    split,
    split_relations,
)
from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import ONE, TWO, Apply, Expression, Symbol
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Labelled,
    Opaque,
    Quantity,
    Reals,
    Row,
    SetOperation,
    Text,
    Value,
)

_COPULAS = frozenset({"is", "are", "equals", "was", "为", "是", "等于"})
EXTREMES = frozenset({"max", "min"})
_OF_REALS = frozenset({"the", "all", "set", "of", "any", "every", "each"})
_REALS = {
    "real numbers": "mathbbR",
    "real number": "mathbbR",
    "reals": "mathbbR",
    "real values": "mathbbR",
    "positive real numbers": "mathbbR_>0",
    "positive reals": "mathbbR_>0",
    "negative real numbers": "mathbbR_<0",
    "non negative real numbers": "mathbbR_>=0",
    "nonnegative real numbers": "mathbbR_>=0",
    "nonzero real numbers": "mathbbR^*",
    "non zero real numbers": "mathbbR^*",
    "positive integers": "mathbbZ_>0",
    "integers": "mathbbZ",
}
_INTEGER_WORDS: dict[str, Expression] = {
    "odd integers": Apply("add", (Apply("mul", (TWO, Symbol("n"))), ONE)),
    "odd numbers": Apply("add", (Apply("mul", (TWO, Symbol("n"))), ONE)),
    "even integers": Apply("mul", (TWO, Symbol("n"))),
    "even numbers": Apply("mul", (TWO, Symbol("n"))),
    "natural numbers": Symbol("mathbbN"),
    "rational numbers": Symbol("mathbbQ"),
    "complex numbers": Symbol("mathbbC"),
}
"""Sets of integers by name, as families with a whole parameter n."""


def announced(reader: Statements, tokens: Tokens) -> Value | None:
    """`Minimum: 1`, `Answer = 5`, `The area is 5 cm`: harmless words, a mark, a value.

    `never n = 6` and `it is false that x = 6` announce nothing: they deny.
    """
    bare = len(tokens) > 1 and (tokens[1].kind == NUMBER or tokens[1].text in ("-", "frac"))
    if bare and tokens[0].text in EXTREMES:
        return Labelled(tokens[0].text, reader.statement(tokens[1:]))  # max 5, and of nothing
    for index, token in enumerate(tokens[:12]):
        rest = tokens[index + 1 :]
        copula = token.kind == WORD and token.text.lower() in _COPULAS
        if copula or (index and token.kind == OPERATOR and token.text in (":", "=")):
            said = [t for t in tokens[:index] if t.kind in (WORD, NAME)]
            if not rest or not (copula or any(t.kind == WORD for t in said)):
                return None
            if not harmless(said) or not (token.text != "=" or harmless(said, strictly=True)):
                return None
            value = reader.statement(rest)
            if copula and isinstance(value, Text | Opaque):
                return None
            label = " ".join(t.text.lower() for t in tokens[:index])
            return Labelled("" if copula else label, value)
        if token.kind not in (WORD, NAME, NUMBER) or token.text.lower() in ("not", "and", "or"):
            return None
    return None


def named(reader: Statements, tokens: Tokens) -> Value | None:
    """`the point (1, 2)`, `the interval [0, 1]`: what sort of thing it is, and the thing."""
    start = next((i for i, token in enumerate(tokens) if token.kind != WORD), 0)
    words = [token.text.lower() for token in tokens[:start]]
    if not start or not closes(tokens[start:]) or not {*words} <= _SORTS or len(tokens) < start + 4:
        return None
    return reader.statement(tokens[start:])


_SORTS = names(
    "the a an point points pair ordered triple vector interval set coordinates matrix solution "
    "solutions answer is union"
)


def maps_to(reader: Statements, tokens: Tokens) -> Value | None:
    r"""`f: x \mapsto 2x+1` is f(x) = 2x+1."""
    parts, arrows = split_relations(tokens, {"↦"})
    if len(arrows) != 1 or not all(parts):
        return None
    head = split(parts[0], {":"})
    if len(head) == 2 and len(head[0]) == 1 == len(head[1]):
        called = Apply("call", (Symbol(head[0][0].text), Symbol(head[1][0].text)))
        return Chain((Quantity(called), reader.statement(parts[1])), ("=",))
    return reader.statement(parts[1])


def hyphened(reader: Statements, tokens: Tokens) -> Value | None:
    r"""`5\text{-}6` is a range and not -1."""
    for index, token in enumerate(tokens):
        if token.text == "-" and token.prose and 0 < index < len(tokens) - 1:
            ends = (tokens[:index], tokens[index + 1 :])
            if all(end[0].kind == NUMBER and len(end) == 1 for end in ends):
                return Row(tuple(reader.statement(end) for end in ends), "range", "range")
    return None


def all_but(reader: Statements, tokens: Tokens) -> Value | None:
    """`all real numbers x except x = 1` is what is left of the reals; `odd integers`."""
    said = [token.text.lower() for token in tokens]
    plain = " ".join(word for word in said if word not in _OF_REALS and word != "-")
    if plain in _REALS and (said[0] in _OF_REALS or plain.count(" ")):
        return special(reader, (Token(NAME, _REALS[plain]),))
    for phrase, parts in _INTEGER_WORDS.items():
        if [word for word in said if word not in ("the", "all", "set", "of")] == phrase.split():
            reader.reading.parameters.add("n")
            return Quantity(parts)
    if said[:3] != ["all", "real", "numbers"] and said[:2] != ["all", "reals"]:
        return None
    rest = list(tokens[2 if said[1] == "reals" else 3 :])
    if rest and rest[0].kind == NAME:
        del rest[0]
    if not rest:
        return Reals()
    excluding = 2 if [t.text.lower() for t in rest[:2]] == ["other", "than"] else 1
    if rest[0].text.lower() not in ("except", "but", "excluding", "besides") and excluding == 1:
        return None
    left = reader.statement(rest[excluding:])
    items = left.items if isinstance(left, Group) else (left,)
    values = [item.parts[-1] if isinstance(item, Chain) else item for item in items]
    if not all(isinstance(value, Quantity) for value in values):
        return None
    return SetOperation("setminus", (Reals(), Group(tuple(values), braces=True)))
