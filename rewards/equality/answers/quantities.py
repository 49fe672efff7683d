r"""Read tokens as one quantity: an expression with its unit, a number in words, an amount of money.

Behind a number only a unit, a scale or what is counted may follow. `12 \text{ million}` is
12000000, `12 \text{ people}` is 12, and `12 \text{ is wrong}` is no quantity at all.
"""

from rewards.equality.answers.number_words import is_number_word, number_in_words, ordinal
from rewards.equality.answers.units import Unit, is_unit_word, read_unit
from rewards.equality.syntax.parser import parse
from rewards.equality.syntax.tokens import (
    CONSTANT,
    FUNCTION,
    NAME,
    NUMBER,
    WORD,
    Tokens,
    closes,
    split,
    unit_start,
)
from rewards.equality.syntax.vocabulary import CURRENCY_CODES, PYTHON_NUMBERS
from rewards.equality.values.expressions import Apply, Expression, Number, negate, symbols
from rewards.equality.values.kinds import Opaque, Quantity, Ratio, Text, Value
from rewards.errors import UnreadableError

_CURRENCIES = CURRENCY_CODES | {"dollar", "euro", "sterling", "yen"}
_ARTICLES = frozenset({"a", "an", "the"})
_HEDGES = frozenset(
    {"about", "approximately", "approx", "roughly", "around", "exactly", "just", "only", "simply"}
)
"""Words around a number that change nothing: the number still has to be right."""
_SUMMING = (("in", "total"), ("in", "all"), ("altogether",), ("total",), ("old",))
"""Words behind an amount that change nothing: `18 in total`, `18 years old`."""
_PERCENT = frozenset({"percent", "pct", "percentage"})
_DEGREE = frozenset({"degree", "degrees", "deg", "度"})


def quantity(tokens: Tokens) -> Value:
    """One expression with its unit; words or opaque mathematics where there is none."""
    reason = ""
    if len(tokens) == 1 and tokens[0].text == "…":
        return Text(("…",))
    if tokens[0].text == "Poly" or all(
        not (token.prose and token.kind == NAME)
        if token.kind != WORD
        else token.text in PYTHON_NUMBERS
        for token in tokens
    ):
        try:
            return Quantity(parse(tokens))
        except UnreadableError as error:
            reason = str(error)
    value = (
        _spoken(tokens)
        or _unhedged(tokens)
        or _money(tokens)
        or _compound(tokens)
        or _measured(tokens)
    )
    return words(tokens, reason) if value is None else value


def _spoken(tokens: Tokens) -> Quantity | None:
    """`forty-five`, `negative 5`, `2.5 thousand`, `3 million dollars`."""
    if tokens[0].text.lower() in ("negative", "minus", "positive") and tokens[1:2]:
        rest = quantity(tokens[1:])
        if isinstance(rest, Quantity) and tokens[1].text not in "+-":
            positive = tokens[0].text.lower() == "positive"
            return rest if positive else Quantity(negate(rest.expression), rest.unit)
    end = len(tokens)
    while end and tokens[end - 1].kind in (WORD, NAME) and not is_number_word(tokens[end - 1].text):
        end -= 1
    place = ordinal(tokens)
    number, end = (number_in_words(tokens[:end]), end) if place is None else (place, len(tokens))
    if number is None or not any(token.kind == WORD for token in tokens[:end]):
        return None
    unit = read_unit(tokens[end:]) if end < len(tokens) else None
    return None if end < len(tokens) and unit is None else Quantity(Number(number), unit)


def _unhedged(tokens: Tokens) -> Value | None:
    """`approximately 5`, `5 (approximately)`; `about 50` is 50 and not 5."""
    if tokens[0].text.lower() in _HEDGES and len(tokens) > 1:
        return quantity(tokens[1:])
    for behind in _SUMMING:
        if [token.text.lower() for token in tokens[-len(behind) :]] == list(behind) != []:
            return quantity(tokens[: -len(behind)]) if len(tokens) > len(behind) else None
    inner = [token for token in tokens[-3:] if token.text not in ("(", ")")]
    size = 3 if tokens[-1].text == ")" else 1
    if len(inner) >= 1 and inner[-1].text.lower() in _HEDGES and len(tokens) > size:
        return quantity(tokens[:-size])
    return None


def _money(tokens: Tokens) -> Value | None:
    r"""`\$5`, `-\$5`, `\$-5`, `{\$18.90}`, `USD 29`: the sign or code stands before the amount."""
    if closes(tokens) and tokens[0].text in "{(":
        return quantity(tokens[1:-1]) if len(tokens) > 2 else None
    negative = tokens[0].text == "-" and len(tokens) > 2
    start = 1 if tokens[0].text in ("-", "+") and len(tokens) > 2 else 0
    if tokens[start].text not in _CURRENCIES or len(tokens) < start + 2:
        return None
    if tokens[start + 1].kind == WORD and tokens[start + 1].text not in PYTHON_NUMBERS:
        return None
    value = quantity([*tokens[start + 1 :], tokens[start]._replace(spaced=True)])
    if not isinstance(value, Quantity):
        return None
    return Quantity(negate(value.expression), value.unit) if negative else value


def _measured(tokens: Tokens) -> Quantity | None:
    r"""`5 \text{ cm}^2`: words that are all unit behind an expression."""
    cut = unit_start(tokens)
    if not cut:
        return None
    if tokens[cut - 1].text in "({" and tokens[-1].text in ")}" and cut > 1:  # 5 (apples)
        tokens, cut = [*tokens[: cut - 1], *tokens[cut:-1]], cut - 1
    tail = tokens[cut:]
    said = {token.text.lower() for token in tail if token.kind in (WORD, NAME)}
    if [token.text for token in tail] == ["per", "cent"]:
        said, tail = {"percent"}, tail[:1]
    mark = "percent" if said & _PERCENT else "degree" if said <= _DEGREE else ""
    unit = Unit(None) if mark else read_unit(tail)
    if unit is None:
        return None
    try:
        node = parse(tokens[:cut])
    except UnreadableError:
        return None
    if mark and len(tail) > 1:
        return None
    return Quantity(Apply(mark, (node,)) if mark else node, unit)


def spoken_amount(tokens: Tokens) -> Value | None:
    """One amount with an "and" in it: `three hundred and five`, `2 dollars and 50 cents`."""
    return _spoken(tokens) or _compound(tokens)


def _compound(tokens: Tokens) -> Quantity | None:
    """`5 feet 6 inches`, `2 h 30 min`, `2 hours and 30 minutes`: one amount in two units."""
    starts = [
        i
        for i, token in enumerate(tokens)
        if token.kind == NUMBER and (not i or _unit_before(tokens, i))
    ]
    if len(starts) not in (2, 3) or starts[0]:
        return None
    pieces = [tokens[a:b] for a, b in zip(starts, [*starts[1:], len(tokens)], strict=True)]
    total: Expression | None = None
    first: Unit | None = None
    last: Unit | None = None
    for piece in pieces:
        part = unit_reading(piece[:-1] if piece[-1].text.lower() == "and" else piece)
        if part is None or part.unit is None or not part.unit.dimension:
            return None
        if first is None or total is None:
            first, total = part.unit, part.expression
        elif last is not None and (
            part.unit.dimension != first.dimension or part.unit.factor >= last.factor
        ):
            return None
        else:
            total = Apply("add", (total, first.convert(part.expression, part.unit)))
        last = part.unit
    assert total is not None
    return Quantity(total, first)


def _unit_before(tokens: Tokens, index: int) -> bool:
    before = tokens[index - 1]
    return before.kind in (WORD, NAME) and (
        is_unit_word(before.text) or before.text.lower() == "and"
    )


def unit_reading(tokens: Tokens) -> Quantity | None:
    """`5 m`, `20 m/s`: letters behind a number and a space, read as a unit and not as symbols."""
    for index in range(1, len(tokens)):
        if tokens[index].kind in (NAME, WORD):
            unit = read_unit(tokens[index:])
            glued = not tokens[index].spaced and tokens[index].kind == NAME
            glued = glued and tokens[index].text.isascii() and tokens[index].text != "Omega"
            if unit is None or unit.dimension is None or glued:
                return None
            try:
                value = parse(tokens[:index])
            except UnreadableError:
                return None
            return None if symbols(value) else Quantity(value, unit)
    return None


def ratio(tokens: Tokens) -> Value | None:
    """`a:b`, `a to b` and `a out of b`."""
    texts = [token.text for token in tokens]
    if "out" in texts[1:-2] and texts[texts.index("out") + 1] == "of":
        cut = texts.index("out")
        ends = [quantity(part) for part in (tokens[:cut], tokens[cut + 2 :])]
        if all(isinstance(end, Quantity) and end.unit is None for end in ends):
            return Ratio(tuple(end.expression for end in ends if isinstance(end, Quantity)))
    parts = split(tokens, {":"})
    if len(parts) < 2:
        parts = split(tokens, {"to"}, words=True)
    if len(parts) < 2 or not all(parts):
        return None
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
