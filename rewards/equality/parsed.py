"""An answer, read as far as a comparison needs it."""

from dataclasses import dataclass, field

from rewards.equality.answers.choices import choice
from rewards.equality.answers.sets import Reading
from rewards.equality.answers.times import Date, Time, time_or_date
from rewards.equality.reader import read_value
from rewards.equality.syntax.normalise import normalise
from rewards.equality.syntax.tokens import Token, tokenize
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
    _value: Value | None = None
    _reading: Reading = field(default_factory=Reading)

    @property
    def moment(self) -> Time | Date | None:
        """The time or date that the answer is, if it is one."""
        return time_or_date(self.tokens)

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
    tokens = _without_announcement(tokenize(normalise(text, options, join_commas)))
    if not tokens:
        raise UnreadableError("empty", "nothing but white space and markup")
    letter, size = choice(tokens) if options.choice_letters else ("", 0)
    joined = (
        join_commas and "," in text and normalise(text, options, False) != normalise(text, options)
    )
    return Parsed(text, options, tokens, letter, size, joined)


_ANNOUNCING = frozenset({"the", "our", "so", "thus", "hence", "therefore", "final", "correct"})


def _without_announcement(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """What follows on `The final answer is`; any other sentence stays whole."""
    said = [token.text.lower() for token in tokens[:6]]
    if "answer" not in said[:5]:
        return tokens
    start = said.index("answer")
    announced = set(said[:start]) <= _ANNOUNCING and said[start + 1 : start + 2] in (["is"], [":"])
    return tokens[start + 2 :] if announced and len(tokens) > start + 2 else tokens
