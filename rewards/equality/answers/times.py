r"""Times of the day and dates: values of their own, with no arithmetic.

| written                              | is                                                      |
| ------------------------------------ | ------------------------------------------------------- |
| `3:45 \text{ p.m.}`, `15:45`         | one time; `3:45` alone may be either half of the day    |
| `12 \text{ noon}`, `12 PM`           | 12:00                                                   |
| `6:30`                               | a time, for ratios are written in lowest terms         |
| `9:16`                               | a ratio or a time, whichever the other side is          |
| `10/12/2020`, `2020-10-12`, `May 5`  | dates                                                   |
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.equality.answers.words import announces
from rewards.equality.comparison import Comparison, different, equal
from rewards.equality.syntax.tokens import Token

_CLOCK = re.compile(
    r"(?:at)?(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?(a\.?m\.?|p\.?m\.?|noon|midnight|o'?clock"
    r"|in ?the ?(?:morning|afternoon|evening)|at ?night)?(?:noon|midnight)?"
)
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_DAY_FIRST = re.compile(r"(?:on)?(?:the)?(\d{1,2})(?:of)?([a-z]+)\.?,?(\d{4})?")
_MONTH_FIRST = re.compile(r"(?:on)?([a-z]+)\.?(\d{1,2})(?:,?(\d{4}))?")
_NUMERIC = re.compile(r"(\d{1,2})([/.])(\d{1,2})\2(\d{4})")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_MINUTES, _HOURS = 60, 24
_SPOKEN_HALVES = {
    "inthemorning": "am", "intheafternoon": "pm", "intheevening": "pm", "atnight": "pm",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Time:
    """A time of the day in seconds; `half` is "" where neither half of the day is named."""

    seconds: int
    half: str


@dataclass(frozen=True, slots=True)
class Date:
    """Parts of a date as written: year, month, day; 0 where there is none."""

    year: int
    month: int
    day: int


def time_or_date(tokens: Sequence[Token]) -> Time | Date | None:
    """What a whole answer says, if that is a time or a date."""
    if not 1 <= len(tokens) <= 16:
        return None
    while len(tokens) > 2 and announces(tokens[:1]):  # the answer is 10:25 PM
        tokens = tokens[1:]
    text = "".join(token.text for token in tokens if token.text not in ("{", "}")).lower()
    if text in ("noon", "midnight"):
        return Time(_HOURS // 2 * 3600 * (text == "noon"), text)
    if len(tokens) == 1 or not any(char.isdigit() for char in text):
        return None
    return _date(text) or _time(text.rstrip("."))


def _time(text: str) -> Time | None:
    match = _CLOCK.fullmatch(text)
    if match is None or not (match[2] or match[4]):
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    said = (match[4] or "").replace(".", "").replace("'", "").replace(" ", "")
    half = _SPOKEN_HALVES.get(said, said)
    if hours >= _HOURS or minutes >= _MINUTES or seconds >= _MINUTES:
        return None
    if half in ("am", "pm", "noon", "midnight"):
        if not 1 <= hours <= _HOURS // 2:
            return None
        afternoon = half in ("pm", "noon")
        hours = hours % (_HOURS // 2) + (_HOURS // 2) * afternoon
    elif half != "oclock" and (hours > _HOURS // 2 or not hours):
        half = "24h"
    seconds += (hours * 60 + minutes) * 60
    return Time(seconds, half.replace("oclock", ""))


def _date(text: str) -> Date | None:
    if match := _ISO.fullmatch(text):
        return Date(int(match[1]), int(match[2]), int(match[3]))
    if match := _NUMERIC.fullmatch(text):
        return Date(int(match[4]), int(match[1]), int(match[3]))
    for pattern, day, month in ((_DAY_FIRST, 1, 2), (_MONTH_FIRST, 2, 1)):
        match = pattern.fullmatch(text)
        if match is not None and (number := _month(match[month])):
            return Date(int(match[3] or 0), number, int(match[day]))
    return None


def _month(word: str) -> int:
    if len(word) < 3:
        return 0
    return next((i for i, name in enumerate(_MONTHS, 1) if name.startswith(word)), 0)


def compare_times(
    reference: Time | Date | None, answer: Time | Date | None, ratio: bool
) -> Comparison | None:
    """Whether two times or dates are one; `None` where a reading as a ratio may still be meant.

    Args:
        reference: Of the reference.
        answer: Of the answer.
        ratio: Whether the reference may be a ratio: its two numbers have no common divisor.
    """
    if isinstance(reference, Date) or isinstance(answer, Date):
        return _compare_dates(reference, answer)
    if isinstance(reference, Time) and isinstance(answer, Time):
        if reference.half == "" or answer.half == "":
            same = (reference.seconds - answer.seconds) % (12 * 3600) == 0
            same = same and (
                reference.half == answer.half or "24h" not in (reference.half, answer.half)
            )
        else:
            same = reference.seconds == answer.seconds
        if same:
            return equal("time")
        return None if ratio else different("time_differs", "another time of the day")
    if reference is None or ratio:
        return None
    return different("time_differs", "a time of the day against something else")


def _compare_dates(reference: Time | Date | None, answer: Time | Date | None) -> Comparison:
    if not isinstance(reference, Date) or not isinstance(answer, Date):
        return different("date_differs", "a date against something else")
    same = (reference.month, reference.day) == (answer.month, answer.day)
    if same and (reference.year == answer.year or 0 in (reference.year, answer.year)):
        return equal("date")
    return different("date_differs", "another day")


def may_be_ratio(tokens: Sequence[Token]) -> bool:
    """Whether `a:b` is in lowest terms, so that it may be a ratio too."""
    numbers = [int(token.number) for token in tokens if token.number is not None]
    plain = all(token.number is not None or token.text == ":" for token in tokens)
    return plain and math.gcd(*numbers) == 1
