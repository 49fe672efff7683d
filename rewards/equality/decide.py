"""Read an answer and compare it with a reference: the whole way, in order of cost."""

from dataclasses import dataclass, field

from rewards.equality.answers.quantities import bare_unit_reading
from rewards.equality.answers.relations import answer_of
from rewards.equality.answers.words import choice, names_subject
from rewards.equality.comparer import Comparer
from rewards.equality.comparison import Comparison, Outcome, different, equal, undecided
from rewards.equality.reader import Reading, read_value
from rewards.equality.syntax.normalise import normalise
from rewards.equality.syntax.tokens import Token, same_tokens, tokenize
from rewards.equality.values.expressions import (
    Apply,
    Constant,
    Expression,
    Symbol,
    rename,
    symbols,
    walk,
)
from rewards.equality.values.kinds import (
    Chain,
    Opaque,
    Quantity,
    Value,
    children,
    expressions_of,
    free_symbols,
    mapped,
)
from rewards.errors import LimitHitError, UnreadableError
from rewards.grading_options import GradingOptions

_PRINTED_CONSTANTS = {"E": Constant("e"), "I": Constant("i")}
_INDICES = frozenset(["k", "n", "m", "l", "j", "t"])


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
    def value(self) -> Value:
        """What the answer says. Raises `LimitHitError`."""
        if self._value is None:
            self._value = read_value(self.tokens, self._reading)
        return self._value

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
    tokens = tokenize(normalise(text, options, join_commas))
    if not tokens:
        raise UnreadableError("empty", "nothing but white space and markup")
    letter, size = choice(tokens) if options.choice_letters else ("", 0)
    joined = (
        join_commas and "," in text and normalise(text, options, False) != normalise(text, options)
    )
    return Parsed(text, options, tokens, letter, size, joined)


def compare(reference: Parsed, answer: Parsed, options: GradingOptions) -> Comparison:
    """Whether the answer says what the reference says.

    Raises:
        LimitHitError: Deciding needs more work than is allowed.
    """
    if same_tokens(reference.tokens, answer.tokens):
        return equal("normal_form")
    found = _compare_choices(reference, answer, options)
    if found is not None:
        return found
    if names_subject(reference.tokens, answer.tokens):
        return equal("subject")
    found = _compare_values(reference.value, answer.value, reference, answer, options)
    if found.outcome is Outcome.DIFFERENT:
        for other in _other_readings(reference, answer):
            again = _compare_values(*other, reference, answer, options)
            if again.outcome is Outcome.EQUAL:
                return again
    return found


def _compare_choices(
    reference: Parsed, answer: Parsed, options: GradingOptions
) -> Comparison | None:
    """The rule for letters, where the reference is one."""
    if reference.letter and reference.letter_size == len(reference.tokens):
        if reference.tokens[reference.letter_size // 2].text.isupper() and answer.letter:
            same = reference.letter == answer.letter
            return equal("choice") if same else different("choice_differs")
        return None
    if reference.letter and reference.letter_size > 1:
        if answer.letter and answer.letter_size == len(answer.tokens):
            same = reference.letter == answer.letter
            return equal("choice") if same else different("choice_differs")
        rest = reference.tokens[reference.letter_size :]
        return _compare_values(
            read_value(rest, Reading()), answer.value, reference, answer, options
        )
    return None


def _other_readings(reference: Parsed, answer: Parsed) -> list[tuple[Value, Value]]:
    """Readings that are tried when the first does not fit."""
    out = list[tuple[Value, Value]]()
    if reference.joined != answer.joined:
        first = read(reference.text, reference.options, not reference.joined)
        second = read(answer.text, answer.options, not answer.joined)
        out.append((first.value, second.value))
    value = reference.value
    if isinstance(value, Quantity) and not symbols(value.expression):
        unit = bare_unit_reading(answer.tokens)
        if unit is not None:
            out.append((value, unit))
    if isinstance(answer.value, Quantity) and answer.value.unit is not None:
        unit = bare_unit_reading(reference.tokens)
        if unit is not None:
            out.append((unit, answer.value))
    ours, theirs = free_symbols(value), free_symbols(answer.value)
    if (ours ^ theirs) & _PRINTED_CONSTANTS.keys():
        out.append((mapped(value, _as_printed), mapped(answer.value, _as_printed)))
    if answer.letter and 1 < answer.letter_size < len(answer.tokens):
        out.append((value, read_value(answer.tokens[answer.letter_size :], Reading())))
    return out


def _compare_values(
    ours: Value, theirs: Value, reference: Parsed, answer: Parsed, options: GradingOptions
) -> Comparison:
    names = _renaming(ours, theirs, reference.parameters | answer.parameters)
    if names:
        theirs = mapped(theirs, lambda node: rename(node, names))
    try:
        return Comparer(options).compare(ours, theirs)
    except UnreadableError as error:
        return undecided(error.code, str(error))
    except RecursionError:
        raise LimitHitError("limit_depth", "nested too deep") from None


def _renaming(ours: Value, theirs: Value, declared: set[str]) -> dict[str, str]:
    """How to rename the one integer parameter that the answer calls otherwise."""
    first, second = free_symbols(ours), free_symbols(theirs)
    extra, missing = second - first, first - second
    if len(extra) != 1 or len(missing) != 1:
        return {}
    (theirs_name,), (ours_name,) = extra, missing
    if declared & {theirs_name, ours_name}:
        return {theirs_name: ours_name}
    if {theirs_name, ours_name} <= _INDICES and _has_pi(ours) and _has_pi(theirs):
        return {theirs_name: ours_name}
    return {}


def _has_pi(value: Value) -> bool:
    return any(part == Constant("pi") for node in expressions_of(value) for part in walk(node))


def _as_printed(node: Expression) -> Expression:
    """E and I as sympy prints e and i."""
    if isinstance(node, Symbol):
        return _PRINTED_CONSTANTS.get(node.name, node)
    if isinstance(node, Apply):
        return Apply(node.operation, tuple(_as_printed(part) for part in node.arguments))
    return node


def sole_expression(value: Value, options: GradingOptions) -> Expression | None:
    """The one expression that a value is, or that it gives a name to; else `None`."""
    if isinstance(value, Chain):
        said = answer_of(value, options)
        value = value if said is None else said.value
    return value.expression if isinstance(value, Quantity) else None


def is_readable(value: Value) -> bool:
    """Whether nothing in a value is outside our grammar."""
    return not isinstance(value, Opaque) and all(is_readable(child) for child in children(value))
