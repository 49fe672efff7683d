"""Read tokens as one quantity with its unit, as a ratio, or as words."""

from fractions import Fraction

from rewards.equality.answers.units import BARE_UNITS, read_unit
from rewards.equality.syntax.parser import PYTHON_NUMBERS, parse
from rewards.equality.syntax.token_spans import Tokens, split, unit_start
from rewards.equality.syntax.tokens import CONSTANT, FUNCTION, NAME, NUMBER, WORD
from rewards.equality.syntax.vocabulary import NUMERALS
from rewards.equality.values.expressions import Apply, Expression, Number, symbols
from rewards.equality.values.kinds import Opaque, Quantity, Ratio, Text, Value
from rewards.errors import UnreadableError

_CURRENCIES = frozenset({"dollar", "euro", "sterling", "yen"})
_ARTICLES = frozenset({"a", "an", "the"})


def quantity(tokens: Tokens) -> Value:
    """One expression with its unit; words or opaque mathematics where there is none."""
    reason = ""
    if len(tokens) == 1 and tokens[0].text == "…":
        return Text(("…",))
    if len(tokens) == 1 and tokens[0].text.lower() in NUMERALS:
        return Quantity(Number(Fraction(NUMERALS[tokens[0].text.lower()])))
    cut = unit_start(tokens)
    if cut:
        unit = read_unit(tokens[cut:])
        if unit is not None:
            try:
                return Quantity(_with_marks(parse(tokens[:cut]), tokens[cut:]), unit)
            except UnreadableError as error:
                reason = str(error)
    if all(token.kind != WORD or token.text in PYTHON_NUMBERS for token in tokens):
        try:
            return Quantity(parse(tokens))
        except UnreadableError as error:
            reason = str(error)
    if len(tokens) > 1 and tokens[0].text in _CURRENCIES and tokens[1].kind != WORD:
        value = quantity([*tokens[1:], tokens[0]])
        if isinstance(value, Quantity):
            return value
    return words(tokens, reason)


def bare_unit_reading(tokens: Tokens) -> Quantity | None:
    """`5 m` as five metres: a number, a space and one letter that is a unit."""
    if len(tokens) < 2 or not tokens[-1].spaced or tokens[-1].text not in BARE_UNITS:
        return None
    unit = read_unit(tokens[-1:])
    try:
        value = parse(tokens[:-1])
    except UnreadableError:
        return None
    return None if symbols(value) or unit is None else Quantity(value, unit)


def ratio(tokens: Tokens) -> Value | None:
    """`a:b` and `a to b`."""
    parts = split(tokens, {":"})
    if len(parts) < 2:
        parts = split(tokens, {"to"}, words=True)
    if len(parts) < 2 or not all(parts):
        return None
    if len(parts) == 2 and len(parts[1]) == 1 and parts[1][0].text[:1] == "0":
        return None  # a time of day
    try:
        return Ratio(tuple(parse(part) for part in parts))
    except UnreadableError:
        return None


def words(tokens: Tokens, reason: str = "") -> Value:
    """Tokens as words; as opaque mathematics where there are none."""
    if any(token.kind == WORD or token.prose for token in tokens):
        said = tuple(
            token.text.lower()
            for token in tokens
            if token.kind in (WORD, NAME, NUMBER, CONSTANT, FUNCTION)
            or token.text in ("+", "-", "=", "<", ">", "/", "^")
        )
        return Text(said[1:] if len(said) > 1 and said[0] in _ARTICLES else said)
    return Opaque("".join(token.text for token in tokens), reason or "no rule reads it")


def _with_marks(node: Expression, tail: Tokens) -> Expression:
    words_said = {token.text.lower() for token in tail if token.kind == WORD}
    if words_said & {"percent", "pct", "percentage"}:
        return Apply("percent", (node,))
    if words_said & {"degree", "degrees", "deg"} and not words_said & {"celsius", "fahrenheit"}:
        return Apply("degree", (node,))
    return node
