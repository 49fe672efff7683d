"""Numbers in words: `forty-five`, `two thirds`, `three million`, `a dozen`, `2.5 thousand`."""

from collections.abc import Sequence
from fractions import Fraction

from rewards.equality.syntax.tokens import NUMBER, OPERATOR, Token
from rewards.equality.syntax.vocabulary import NUMERALS

_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2
    )
}
_SCALES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_COUNTS = {"dozen": 12, "score": 20, "gross": 144}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12,
    "twentieth": 20, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20,
}  # fmt: skip
_NEGATIVE = frozenset({"negative", "minus"})
_CJK = {word: value for value, word in enumerate("零一二三四五六七八九十")}
_MAX_WORDS = 16


def is_number_word(word: str) -> bool:
    """Whether a word says a number or scales one."""
    word = word.lower()
    return (
        word in NUMERALS
        or word in _TENS
        or _scale(word) is not None
        or _part(word) is not None
        or word in _NEGATIVE
    )


def number_in_words(tokens: Sequence[Token]) -> Fraction | None:
    """The number that all these tokens say, `None` if they say anything else.

    `three million` is 3000000, `3.5 billion` too has a value, `two and a half` is 5/2.
    """
    if not 1 <= len(tokens) <= _MAX_WORDS:
        return None
    words = list[str | Fraction]()
    for token in tokens:
        if token.kind == NUMBER and token.number is not None:
            words.append(token.number)
        elif token.kind != OPERATOR:
            words.append(token.text.lower())
        elif token.text != "-":
            return None
    if words and words[0] in _NEGATIVE:
        value = _unsigned(words[1:])
        return None if value is None else -value
    return _unsigned(words)


def ordinal(tokens: Sequence[Token]) -> Fraction | None:
    """The place that words name: `fifteenth` is 15, `the twenty-first` 21."""
    said = [token.text.lower() for token in tokens if token.text not in ("-", "the")]
    place = _ORDINALS.get(said[-1]) if said else None
    if place is None or len(said) > 2 or (len(said) == 2 and (place > 9 or said[0] not in _TENS)):
        return None
    return Fraction(place + (_TENS[said[0]] if len(said) == 2 else 0))


def _unsigned(words: list[str | Fraction]) -> Fraction | None:
    if "and" in words and isinstance(words[-1], str) and _part(words[-1]) is not None:
        cut = len(words) - 1 - words[::-1].index("and")  # two and a half, three and two thirds
        whole, rest = _whole(words[:cut]), _unsigned(words[cut + 1 :])
        return whole + rest if whole is not None and rest is not None and rest < 1 else None
    if words and isinstance(words[-1], str):
        last = words[-1]
        part = _part(last)
        if part is not None:  # two thirds, one half, half
            alone = words[:-1] in (["a"], ["one"]) or words == ["half"]
            top = Fraction(1) if alone else _whole(words[:-1])
            return None if top is None else top / part
        if len(words) == 1 and last in _CJK:
            return Fraction(_CJK[last])
    return _whole(words)


def _whole(words: list[str | Fraction]) -> Fraction | None:  # noqa: C901 - one branch a kind of word
    """Hundreds, thousands and so on: each scale multiplies what stands before it."""
    if not words or words == ["and"]:
        return None
    total, group, said = Fraction(0), Fraction(0), False
    for index, word in enumerate(words):
        if isinstance(word, Fraction):
            if index:
                return None
            group, said = word, True
        elif word in ("a", "an") and index == 0 and len(words) > 1:
            group, said = Fraction(1), True
        elif word in NUMERALS or word in _TENS:
            value = NUMERALS.get(word, _TENS.get(word, 0))
            fits = group % 100 == 0 or (group % 10 == 0 and group % 100 >= 20 and value < 10)
            if said and not fits:
                return None
            group, said = group + value, True
        elif (scale := _scale(word)) is not None and said:
            if scale == 100 or word.removesuffix("s") in _COUNTS:
                group *= scale
            else:
                total, group = total + group * scale, Fraction(0)
        elif (
            word != "and" or not said or index == len(words) - 1 or not _is_scale(words[index - 1])
        ):
            return None  # three hundred and five, but twenty and five are two numbers
    return total + group if said else None


def _is_scale(word: str | Fraction) -> bool:
    return isinstance(word, str) and _scale(word) is not None


def _scale(word: str) -> int | None:
    for name in (word, word.removesuffix("s")):
        if name in _SCALES or name in _COUNTS:
            return _SCALES.get(name) or _COUNTS[name]
    return None


def _part(word: str) -> int | None:
    return _PARTS.get(word) or _PARTS.get(word.removesuffix("s"))
