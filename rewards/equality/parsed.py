"""An answer, read as far as a comparison needs it, and the other ways to read it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rewards.equality.answers.choices import choice
from rewards.equality.answers.permutations import read_permutation
from rewards.equality.answers.quantities import quantity, unit_reading
from rewards.equality.answers.sets import Reading
from rewards.equality.answers.times import Date, Time, time_or_date
from rewards.equality.numbers.exact import exact
from rewards.equality.reader import read_value
from rewards.equality.syntax.normalise import normalise
from rewards.equality.syntax.parser import parse
from rewards.equality.syntax.tokenizer import tokenize
from rewards.equality.syntax.tokens import CONSTANT, NAME, WORD, Token
from rewards.equality.values.expressions import (
    Apply,
    Constant,
    Expression,
    Symbol,
    has_decimal,
    is_decimal,
    replaced,
    symbols,
    walk,
)
from rewards.equality.values.kinds import (
    Permutation,
    Quantity,
    Value,
    expressions_of,
    free_symbols,
    mapped,
)
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
    lettered: bool = False
    """Some letter in it is a name or a constant: without one it is no multiple choice."""
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
    tokens = tokenize(_without_announcement(spelled) if _SAID.search(text) else spelled)
    if not tokens:
        raise UnreadableError("empty", "nothing but white space and markup")
    kinds = {token.kind for token in tokens}
    lettered = NAME in kinds or CONSTANT in kinds
    letter, size = choice(tokens) if options.choice_letters and lettered else ("", 0)
    joined = join_commas and "," in text and normalise(text, options, False) != spelled
    dated = WORD in kinds or _DATED.search(spelled) is not None
    return Parsed(text, options, tokens, letter, size, joined, NAME in kinds, lettered, dated)


_DATED = re.compile(r":|\d{4}-|[/.]\d{4}|[ap]\.?\s?m", re.IGNORECASE)


_SAID = re.compile("nswer|答案")
_ANNOUNCED = re.compile(
    r"(?P<opened>\\text\s*\{)?\s*(?:(?:the|our|so|thus|hence|therefore|final|correct),?\s+)*"
    r"(?:answer\s*(?:is|:)|答案\s*[是为:])\s*:?\s*(?P<closed>\})?(?=\s*\S)",
    re.IGNORECASE,
)


def _without_announcement(text: str) -> str:
    """What follows on `The final answer is`; any other sentence stays whole."""
    found = _ANNOUNCED.match(text)
    if found is None or (found["closed"] and not found["opened"]):
        return text
    return ("\\text{" if found["opened"] and not found["closed"] else "") + text[found.end() :]


_PRINTED_CONSTANTS = {"E": Constant("e"), "I": Constant("i")}


def other_readings(reference: Parsed, answer: Parsed) -> Iterator[tuple[Value, Value]]:
    """Pairs of values that the two may mean as well."""
    yield from _other_commas(reference, answer)
    yield from _as_cycles(reference, answer)
    for one in (_as_measured, _as_money, _as_binomial, _as_rewritten):
        ours, theirs = one(reference, answer.value), one(answer, reference.value)
        if ours is not None or theirs is not None:
            yield ours or reference.value, theirs or answer.value
    yield from _as_printed_constants(reference, answer)
    if answer.letter and 1 < answer.letter_size < len(answer.tokens):  # (A) 7, where 7 is asked for
        yield reference.value, read_value(answer.tokens[answer.letter_size :], Reading())


def _other_commas(reference: Parsed, answer: Parsed) -> Iterator[tuple[Value, Value]]:
    """`1,234` as a number on one side, and as the list 1, 234 on the other."""
    if reference.joined != answer.joined:
        first = read(reference.text, reference.options, not reference.joined)
        yield first.value, read(answer.text, answer.options, not answer.joined).value


def _as_cycles(reference: Parsed, answer: Parsed) -> Iterator[tuple[Value, Value]]:
    """`(12)(345)` and `(1, 2)(3, 4, 5)`, where the reference is a permutation."""
    if isinstance(reference.value, Permutation):
        cycles = read_permutation(answer.tokens, loosely=True)
        if cycles is not None:
            yield reference.value, cycles


def _as_measured(parsed: Parsed, other: Value) -> Value | None:
    """`5 m`, against a number or an amount: metres, and no symbol m."""
    if isinstance(other, Quantity) and not symbols(other.expression):
        return unit_reading(parsed.tokens)
    return None


def _as_money(parsed: Parsed, _: Value) -> Value | None:
    """`12.99 pounds` as money, where the mass does not fit."""
    if len(parsed.tokens) != 2 or parsed.tokens[1].text not in ("pounds", "pound"):
        return None
    return quantity([parsed.tokens[0], parsed.tokens[1]._replace(text="sterling")])


def _as_binomial(parsed: Parsed, _: Value) -> Value | None:
    return _chosen(parsed.tokens)


def _as_rewritten(parsed: Parsed, _: Value) -> Value | None:
    r"""`\frac12 (0.5)` is no product: the brackets say the same as a decimal."""
    tokens = parsed.tokens
    if len(tokens) < 4 or tokens[-3].text != "(" or tokens[-1].text != ")":
        return None
    value, again = quantity(tokens[:-3]), quantity(tokens[-2:-1])
    if not isinstance(value, Quantity) or not isinstance(again, Quantity):
        return None
    if has_decimal(value.expression) or not is_decimal(again.expression):
        return None
    return value if exact(value.expression) == exact(again.expression) else None


def _as_printed_constants(reference: Parsed, answer: Parsed) -> Iterator[tuple[Value, Value]]:
    if printed_constants(answer, reference.value):
        yield reference.value, mapped(answer.value, _as_printed)
    if printed_constants(reference, answer.value) and "*" in reference.text:
        yield mapped(reference.value, _as_printed), answer.value


def _chosen(tokens: tuple[Token, ...]) -> Value | None:
    """`C(10, 3)` as a binomial, where a point called C does not fit."""
    texts = [token.text for token in tokens]
    if len(texts) != 6 or texts[:2] != ["C", "("] or texts[3] != "," or texts[5] != ")":
        return None
    try:
        return Quantity(Apply("binomial", (parse(tokens[2:3]), parse(tokens[4:5]))))
    except UnreadableError:
        return None


def printed_constants(parsed: Parsed, other: Value) -> bool:
    """Whether an E or I may be Python's e or i: no LaTeX, and no other letter makes it a name.

    `E**2` is e^2, and `2*I` is 2i; in `V = IR` and against `E^2` they are names.
    """
    if "\\" in parsed.text or not ("E" in parsed.text or "I" in parsed.text):
        return False
    names = free_symbols(parsed.value)
    if not names & _PRINTED_CONSTANTS.keys():
        return False
    others = {name for name in names | free_symbols(other) if name not in _PRINTED_CONSTANTS}
    constants = {
        p.name for node in expressions_of(other) for p in walk(node) if type(p) is Constant
    }
    wanted = {_PRINTED_CONSTANTS[name].name for name in names & _PRINTED_CONSTANTS.keys()}
    return wanted <= constants and not any(name[0].isupper() for name in others)


def _as_printed(node: Expression) -> Expression:
    return replaced(node, {Symbol(name): constant for name, constant in _PRINTED_CONSTANTS.items()})
