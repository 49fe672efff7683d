"""Units of measurement: which words are units, what they measure, and how they convert.

A dimension is a product of powers of base quantities, so that `N/kg` and `m/s^2` are one. Months
and days do not convert into each other, and neither do two currencies: no fixed rate exists.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from rewards.equality.answers.number_words import is_number_word
from rewards.equality.syntax.tokens import CONSTANT, NAME, NUMBER, OPERATOR, WORD, Token
from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import Apply, Expression, Number

Dimension: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as a factor to the base unit of its dimension.

    What is counted ("12 people") has no dimension but a noun, and agrees with the bare number.
    """

    dimension: Dimension | None
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    """Where its zero lies, in base units: 0 but for Celsius and Fahrenheit."""
    noun: str = ""

    @property
    def is_generic(self) -> bool:
        """Whether it is `units` or `square units` of whatever is measured."""
        return self.noun.startswith("units")

    def convert(self, amount: Expression, other: "Unit") -> Expression:
        """An amount in the other unit, as an amount in this one."""
        scaled = Apply("mul", (amount, Number(other.factor / self.factor)))
        shift = (other.offset - self.offset) / self.factor
        return Apply("add", (scaled, Number(shift))) if shift else scaled


_PREFIXES = {
    "p": "1e-12", "n": "1e-9", "u": "1e-6", "m": "1e-3", "c": "1e-2", "d": "1e-1",
    "h": "1e2", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12",
}  # fmt: skip
_PREFIX_WORDS = {
    "pico": "p", "nano": "n", "micro": "u", "milli": "m", "centi": "c", "deci": "d",
    "hecto": "h", "kilo": "k", "mega": "M", "giga": "G", "tera": "T",
}  # fmt: skip
_METRIC = {  # symbol: words, factor, dimension; these take prefixes
    "m": ("meter metre", "1", "L"),
    "g": ("gram gramme", "1/1000", "M"),
    "s": ("second sec", "1", "T"),
    "A": ("ampere amp", "1", "I"),
    "mol": ("mole", "1", "N"),
    "N": ("newton", "1", "L M T-2"),
    "J": ("joule", "1", "L2 M T-2"),
    "W": ("watt", "1", "L2 M T-3"),
    "Pa": ("pascal", "1", "L-1 M T-2"),
    "V": ("volt", "1", "L2 M T-3 I-1"),
    "Omega": ("ohm", "1", "L2 M T-3 I-2"),
    "C": ("coulomb", "1", "T I"),
    "F": ("farad", "1", "L-2 M-1 T4 I2"),
    "Hz": ("hertz", "1", "T-1"),
    "eV": ("electronvolt", "1602176634/10000000000000000000000000000", "L2 M T-2"),
    "L": ("liter litre", "1/1000", "L3"),
    "l": ("", "1/1000", "L3"),
    "K": ("kelvin", "1", "temperature"),
    "cal": ("calorie", "4184/1000", "L2 M T-2"),
    "bit": ("", "1", "bit"),
    "byte": ("", "8", "bit"),
}
_PLAIN = {  # words, factor, dimension
    "inch inche in": ("254/10000", "L"),
    "foot feet ft": ("3048/10000", "L"),
    "yard yd": ("9144/10000", "L"),
    "mile mi": ("1609344/1000", "L"),
    "min minute": ("60", "T"),
    "h hr hour": ("3600", "T"),
    "day": ("86400", "T"),
    "week": ("604800", "T"),
    "month": ("1", "month"),
    "year yr": ("12", "month"),
    "decade": ("120", "month"),
    "century centurie": ("1200", "month"),
    "t ton tonne": ("1000", "M"),
    "gm": ("1/1000", "M"),
    "lb pound": ("45359237/100000000", "M"),
    "oz ounce": ("45359237/1600000000", "M"),
    "gallon": ("3785411784/1000000000000", "L3"),
    "quart": ("946352946/1000000000000", "L3"),
    "pint": ("473176473/1000000000000", "L3"),
    "acre": ("40468564224/10000000", "L2"),
    "hectare ha": ("10000", "L2"),
    "mph": ("1609344/3600000", "L T-1"),
    "kph kmh kmph": ("1000/3600", "L T-1"),
    "mps": ("1", "L T-1"),
    "fps": ("3048/10000", "L T-1"),
    "rpm": ("1/60", "T-1"),
    "atm": ("101325", "L-1 M T-2"),
    "celsius": ("1", "temperature"),
    "fahrenheit": ("5/9", "temperature"),
    "dollar usd buck": ("1", "dollar"),
    "cent": ("1/100", "dollar"),
    "euro eur": ("1", "euro"),
    "sterling gbp": ("1", "sterling"),
    "pence": ("1/100", "sterling"),
    "yen jpy": ("1", "yen"),
    "yuan rmb cny 元": ("1", "yuan"),
    "rupee inr": ("1", "rupee"),
    "peso": ("1", "peso"),
    "aud": ("1", "aud"),
    "cad": ("1", "cad"),
    "bc bce": ("1", "before"),
    "ad ce": ("1", "after"),
    "radian rad": ("1", "radian"),
    "米": ("1", "L"),
    "厘米": ("1/100", "L"),
    "千米 公里": ("1000", "L"),
    "平方米": ("1", "L2"),
    "平方厘米": ("1/10000", "L2"),
    "立方米": ("1", "L3"),
    "立方厘米": ("1/1000000", "L3"),
    "秒": ("1", "T"),
    "分钟": ("60", "T"),
    "小时": ("3600", "T"),
    "天": ("86400", "T"),
    "年": ("12", "month"),
    "千克 公斤": ("1", "M"),
    "克": ("1/1000", "M"),
}
_OFFSETS = {"celsius": Fraction("273.15"), "fahrenheit": Fraction("459.67") * Fraction(5, 9)}
_CLASSIFIERS = names("个 次 种 人 只 条 张 件 位 名 本 辆 棵 块 项 组 对 岁 倍")
"""Chinese words for what is counted."""


def _dimension(spelled: str) -> Dimension:
    powers = Counter[str]()
    for part in spelled.split():
        letter = part.rstrip("-0123456789")
        powers[letter] += int(part[len(letter) :] or 1)
    return tuple(sorted((name, power) for name, power in powers.items() if power))


_SYMBOLS: dict[str, tuple[Dimension, Fraction]] = {}
_WORDS: dict[str, tuple[Dimension, Fraction]] = {}
for _symbol, (_words, _factor, _spelled) in _METRIC.items():
    _entry = _dimension(_spelled), Fraction(_factor)
    _SYMBOLS[_symbol] = _entry
    for _word in _words.split():
        _WORDS[_word] = _entry
    for _prefix, _power in _PREFIXES.items():
        _SYMBOLS[_prefix + _symbol] = _entry[0], _entry[1] * Fraction(_power)
    for _prefix, _short in _PREFIX_WORDS.items():
        for _word in _words.split():
            _WORDS[_prefix + _word] = _entry[0], _entry[1] * Fraction(_PREFIXES[_short])
for _words, (_factor, _spelled) in _PLAIN.items():
    for _word in _words.split():
        _WORDS[_word] = _dimension(_spelled), Fraction(_factor)

_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_POWERS_BEHIND = {"squared": 2, "cubed": 3}
_GENERIC = names("unit units")
_IRREGULAR = names(
    "people men women children dice mice sheep fish geese teeth way solution person pair apiece"
)
_NO_NOUNS = names(
    "is was are were be been has have had does do did isn't not no never none nor neither or and "
    "but plus minus times divided over per than more less fewer most least about above below "
    "under versus vs against to from until till through by of on at in as if unless except "
    "without else otherwise maybe perhaps wrong false incorrect right true correct choose "
    "squared cubed mod modulo remainder remainders percents tenths hundredths always sometimes "
    "this its his hers theirs yes equals gives makes means plus/minus bc ad am pm"
)
"""Words that compare, deny, combine or hedge: whoever writes one behind a number says more."""


def read_unit(tokens: Sequence[Token]) -> Unit | None:  # noqa: C901 - one branch a kind of word
    r"""The unit that all these tokens spell, `None` if any of them is something else.

    `cm`, `\text{m/s}^2`, `square feet`, `km per hour`, `cm^2`; `people`, `right triangles`.
    """
    if not tokens or not all(_is_unit_token(token) for token in tokens):
        return None
    powers: Counter[str] = Counter()
    factor, offset, generic, size = Fraction(1), Fraction(0), False, 1
    sign, prefix, index = 1, 1, 0
    while index < len(tokens):
        token = tokens[index]
        word = token.text.lower()
        power, behind = _exponent(tokens, index + 1)
        if word in ("/", "per"):
            sign, index = -1, index + 1
            continue
        if word in ("*", ".", "(", ")", "{", "}", "-") and token.kind == OPERATOR:
            index += 1
            continue
        if word in _POWERS:
            prefix, index = _POWERS[word], index + 1
            continue
        entry = _lookup(token.text)
        if entry is None and word not in _GENERIC:
            return counted(tokens)
        index = behind
        if entry is None:
            generic, size, prefix = True, abs(power * prefix), 1
            continue
        power, prefix = power * prefix * sign, 1
        for name, exponent in entry[0]:
            powers[name] += exponent * power
        factor *= entry[1] ** power
        offset = _OFFSETS.get(word, Fraction(0))
    if generic:
        return Unit(None, noun="units" if size == 1 else f"units^{size}")
    dimension = tuple(sorted((name, p) for name, p in powers.items() if p))
    if not dimension:
        return None
    return Unit(dimension, factor, offset if dimension == (("temperature", 1),) else Fraction(0))


def counted(tokens: Sequence[Token]) -> Unit | None:
    """What is counted, `None` if the words say more than that.

    `people`, `right triangles` and `ways` are nouns; `is wrong`, `more`, `thirds` are none.
    """
    said = [token.text.lower() for token in tokens if token.text not in (".", "(", ")")]
    if not 1 <= len(said) <= 3 or not all(word.isalpha() for word in said):
        return None
    if any(word in _NO_NOUNS or is_number_word(word) for word in said):
        return None
    noun = said[-1]
    plural = noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and len(noun) > 3
    if not (plural or noun in _IRREGULAR or noun in _CLASSIFIERS):
        return None
    return Unit(None, noun=noun)


def _is_unit_token(token: Token) -> bool:
    if token.kind in (WORD, NAME):
        return True
    if token.kind == CONSTANT:
        return False
    if token.kind == NUMBER:
        return token.decimals < 0 and len(token.text) == 1
    return token.kind == OPERATOR and token.text in ("/", "^", "*", "-", "{", "}", ".", "(", ")")


def _lookup(word: str) -> tuple[Dimension, Fraction] | None:
    if word in _SYMBOLS:
        return _SYMBOLS[word]
    lower = word.lower()
    for name in (lower, lower.removesuffix("s")):
        if name in _WORDS and (len(name) > 1 or word == name):
            return _WORDS[name]
    if len(word) > 1 and lower in _SYMBOLS and not lower.startswith("m"):
        return _SYMBOLS[lower]  # CM is a centimetre, but MG is no milligram
    return None


def _exponent(tokens: Sequence[Token], index: int) -> tuple[int, int]:
    """The power written after a unit, and where it ends: `^2`, `^{-1}`, `squared`, `m2`."""
    if index >= len(tokens):
        return 1, index
    if tokens[index].text.lower() in _POWERS_BEHIND:
        return _POWERS_BEHIND[tokens[index].text.lower()], index + 1
    if tokens[index].kind == NUMBER and not tokens[index].spaced and index == len(tokens) - 1:
        return int(tokens[index].number or 1), index + 1
    if tokens[index].text != "^":
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


def is_unit_word(word: str) -> bool:
    """Whether a run of letters is a unit of measurement."""
    return _lookup(word) is not None or word.lower() in _POWERS or word.lower() in _GENERIC
