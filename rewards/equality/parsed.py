"""An answer, read as far as a comparison needs it."""

import re
from dataclasses import dataclass, field

from rewards.equality.answers.choices import choice
from rewards.equality.answers.sets import Reading
from rewards.equality.answers.times import Date, Time, time_or_date
from rewards.equality.reader import read_value
from rewards.equality.syntax.normalise import normalise
from rewards.equality.syntax.tokenizer import tokenize
from rewards.equality.syntax.tokens import NAME, WORD, Token
from rewards.equality.values.kinds import Value
from rewards.errors import UnreadableError
from rewards.grading_options import GradingOptions


@dataclass(slots=True)
class Parsed:
    """An answer, read as far as it was needed."""

    text: str
    options: GradingOptions
    tokens: tuple[Token, ...]
    letter: str = ""
    """Of a multiple-choice answer."""
    letter_size: int = 0
    joined: bool = False
    """Commas were read as thousands separators."""
    named: bool = False
    """Some letter in it is a name."""
    dated: bool = False
    """It may be a time or a date."""
    _value: Value | None = None
    _reading: Reading = field(default_factory=Reading)

    @property
    def moment(self) -> Time | Date | None:
        """The time or date that the answer is, if it is one."""
        return time_or_date(self.tokens) if self.dated else None

    @property
    def value(self) -> Value:
        """What the answer says. Raises `LimitHitError`."""
        if self._value is None:
            self._value = read_value(self.tokens, self._reading)
        return self._value

    @property
    def conditions(self) -> set[str]:
        """Numbers of the clauses that declare its names."""
        return self._reading.conditions if self.value is not None else set()

    @property
    def parameters(self) -> set[str]:
        """Names that the answer declares to be any integer."""
        return self._reading.parameters if self.value is not None else set()


def read(text: str, options: GradingOptions, join_commas: bool = True) -> Parsed:
    """Cut an answer into tokens.

    Raises:
        UnreadableError: It holds what no answer holds.
        LimitHitError: It is too long.
    """
    spelled = normalise(text, options, join_commas)
    tokens = tokenize(_without_announcement(spelled) if "nswer" in text else spelled)
    if not tokens:
        raise UnreadableError("empty", "nothing but white space and markup")
    letter, size = choice(tokens) if options.choice_letters else ("", 0)
    joined = join_commas and "," in text and normalise(text, options, False) != spelled
    kinds = {token.kind for token in tokens}
    dated = WORD in kinds or _DATED.search(spelled) is not None
    return Parsed(text, options, tokens, letter, size, joined, NAME in kinds, dated)


_DATED = re.compile(r":|\d{4}-|[/.]\d{4}|[ap]\.?\s?m", re.IGNORECASE)


_ANNOUNCED = re.compile(
    r"(?P<opened>\\text\s*\{)?\s*(?:(?:the|our|so|thus|hence|therefore|final|correct),?\s+)*"
    r"answer\s*(?:is|:)\s*:?\s*(?P<closed>\})?(?=\s*\S)",
    re.IGNORECASE,
)


def _without_announcement(text: str) -> str:
    """What follows on `The final answer is`; any other sentence stays whole."""
    found = _ANNOUNCED.match(text)
    if found is None or (found["closed"] and not found["opened"]):
        return text
    return ("\\text{" if found["opened"] and not found["closed"] else "") + text[found.end() :]
