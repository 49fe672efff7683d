"""Units of measurement: which words are units, what they measure, and how they convert."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from rewards.equality.syntax.tokens import NAME, NUMBER, OPERATOR, WORD, Token
from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import Apply, Expression, Number

Dimension: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as a factor to the base unit of its dimension.

    Words that are no unit we know ("apples") have no dimension and agree with everything.
    """

    dimension: Dimension | None
    factor: Fraction = Fraction(1)

    def convert(self, amount: Expression, other: "Unit") -> Expression:
        """An amount in the other unit, as an amount in this one."""
        return Apply("mul", (amount, Number(other.factor / self.factor)))


_LENGTH = {
    "mm": "1/1000",
    "millimeter": "1/1000",
    "millimetre": "1/1000",
    "cm": "1/100",
    "centimeter": "1/100",
    "centimetre": "1/100",
    "dm": "1/10",
    "decimeter": "1/10",
    "m": "1",
    "meter": "1",
    "metre": "1",
    "km": "1000",
    "kilometer": "1000",
    "kilometre": "1000",
    "in": "254/10000",
    "inch": "254/10000",
    "inche": "254/10000",
    "ft": "3048/10000",
    "foot": "3048/10000",
    "feet": "3048/10000",
    "yd": "9144/10000",
    "yard": "9144/10000",
    "mi": "1609344/1000",
    "mile": "1609344/1000",
    "nm": "1/1000000000",
    "nanometer": "1/1000000000",
}
_TIME = {
    "s": "1",
    "sec": "1",
    "second": "1",
    "ms": "1/1000",
    "min": "60",
    "minute": "60",
    "h": "3600",
    "hr": "3600",
    "hour": "3600",
    "day": "86400",
    "week": "604800",
}
_MASS = {
    "mg": "1/1000",
    "milligram": "1/1000",
    "g": "1",
    "gram": "1",
    "kg": "1000",
    "kilogram": "1000",
    "t": "1000000",
    "ton": "1000000",
    "tonne": "1000000",
    "lb": "45359237/100000",
    "pound": "45359237/100000",
    "oz": "45359237/1600000",
    "ounce": "45359237/1600000",
}
_VOLUME = {
    "l": "1/1000",
    "liter": "1/1000",
    "litre": "1/1000",
    "ml": "1/1000000",
    "milliliter": "1/1000000",
    "millilitre": "1/1000000",
}
_MONEY = {"dollar": "1", "usd": "1", "cent": "1/100"}
_ALONE = names(
    "euro sterling yen yuan rupee celsius fahrenheit kelvin n newton j joule w watt v volt "
    "a ampere hz hertz pa pascal k c coulomb mol ev radian rad"
)
_ALIASES = {"newton": "n", "joule": "j", "watt": "w", "volt": "v", "hertz": "hz", "pascal": "pa"}

_UNITS: dict[str, tuple[Dimension, Fraction]] = {
    **{
        word: (((name, power),), Fraction(factor))
        for name, power, table in (
            ("length", 1, _LENGTH),
            ("time", 1, _TIME),
            ("mass", 1, _MASS),
            ("length", 3, _VOLUME),
            ("dollar", 1, _MONEY),
        )
        for word, factor in table.items()
    },
    **{word: (((_ALIASES.get(word, word), 1),), Fraction(1)) for word in _ALONE},
    "mph": ((("length", 1), ("time", -1)), Fraction("1609344/3600000")),
    "kph": ((("length", 1), ("time", -1)), Fraction("1000/3600")),
    "kmh": ((("length", 1), ("time", -1)), Fraction("1000/3600")),
    "mps": ((("length", 1), ("time", -1)), Fraction(1)),
}
_POWERS = {"square": 2, "sq": 2, "cubic": 3}
_POWERS_BEHIND = {"squared": 2, "cubed": 3}
_CASE_MATTERS = names("M C K G T N V W J A")


def read_unit(tokens: Sequence[Token]) -> Unit | None:
    """The unit that these tokens spell, `None` if they are no words at the end of a quantity."""
    if not tokens or not all(_is_unit_token(token) for token in tokens):
        return None
    powers: Counter[str] = Counter()
    factor = Fraction(1)
    sign, prefix, known, index = 1, 1, False, 0
    while index < len(tokens):
        token = tokens[index]
        word = token.text.lower()
        power, index = _exponent(tokens, index + 1)
        entry = _lookup(token.text) if token.kind in (WORD, NAME) else None
        if word in ("/", "per"):
            sign = -1
        elif word in _POWERS:
            prefix = _POWERS[word]
        elif entry is not None:
            known, power, prefix = True, power * prefix * sign, 1
            for name, exponent in entry[0]:
                powers[name] += exponent * power
            factor *= entry[1] ** power
        elif token.kind in (WORD, NAME) and not known and sign > 0:
            return Unit(None)  # behind a unit such words say where or of what
    if not known:
        return Unit(None)
    return Unit(tuple(sorted((name, p) for name, p in powers.items() if p)), factor)


def _is_unit_token(token: Token) -> bool:
    if token.kind == WORD or token.kind == NAME:
        return True
    if token.kind == NUMBER:
        return token.decimals < 0 and len(token.text) == 1
    return token.kind == OPERATOR and token.text in ("/", "^", "*", "-", "{", "}", ".", "(", ")")


def _lookup(word: str) -> tuple[Dimension, Fraction] | None:
    lower = word.lower()
    if len(word) == 1 and word in _CASE_MATTERS and lower in ("m", "g", "t"):
        return None
    for name in (lower, lower.removesuffix("s")):
        if name and name in _UNITS:
            return _UNITS[name]
    return None


def _exponent(tokens: Sequence[Token], index: int) -> tuple[int, int]:
    """The power written after a unit, and where it ends."""
    if index < len(tokens) and tokens[index].text.lower() in _POWERS_BEHIND:
        return _POWERS_BEHIND[tokens[index].text.lower()], index + 1
    if index >= len(tokens) or tokens[index].text != "^":
        return 1, index
    sign, index = 1, index + 1
    while index < len(tokens) and tokens[index].kind == OPERATOR:
        sign = -sign if tokens[index].text == "-" else sign
        index += 1
    if index < len(tokens) and tokens[index].number is not None:
        power = int(tokens[index].number or 1)
        index += 1
        while index < len(tokens) and tokens[index].text == "}":
            index += 1
        return sign * power, index
    return 1, index


BARE_UNITS = names("m s g h N J W V L")
"""Single letters that, written after a number and a space, may be meant as a unit."""


def is_unit_word(word: str) -> bool:
    """Whether a run of letters is a unit of measurement."""
    return _lookup(word) is not None
