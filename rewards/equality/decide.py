"""Read an answer and compare it with a reference: the whole way, in order of cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rewards.equality.answers.choices import choice, compare_choices
from rewards.equality.answers.collections import flatten
from rewards.equality.answers.families import compare_progressions
from rewards.equality.answers.quantities import unit_reading
from rewards.equality.answers.relations import answer_of
from rewards.equality.answers.sets import Reading
from rewards.equality.answers.times import Date, Time, compare_times, may_be_ratio, time_or_date
from rewards.equality.answers.words import names_subject
from rewards.equality.comparer import Comparer
from rewards.equality.comparison import Comparison, Outcome, different, equal, undecided
from rewards.equality.reader import read_value
from rewards.equality.syntax.normalise import normalise
from rewards.equality.syntax.parser import parse
from rewards.equality.syntax.tokens import CONSTANT, NAME, Token, tokenize
from rewards.equality.values.expressions import (
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    rename,
    replaced,
    symbols,
    walk,
)
from rewards.equality.values.kinds import (
    Chain,
    Opaque,
    Quantity,
    Text,
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


_DENIALS = frozenset({"not", "never", "wrong", "false", "incorrect", "isn't"})


def compare(reference: Parsed, answer: Parsed, options: GradingOptions) -> Comparison:
    """Whether the answer says what the reference says, and denies nothing of it.

    Raises:
        LimitHitError: Deciding needs more work than is allowed.
    """
    found = _compare(reference, answer, options)
    if not found.equal or isinstance(reference.value, Text):
        return found
    said = [{t.text.lower() for t in parsed.tokens} & _DENIALS for parsed in (reference, answer)]
    return different("denied", "it denies what it says") if said[0] != said[1] else found


def _compare(reference: Parsed, answer: Parsed, options: GradingOptions) -> Comparison:
    if _same_tokens(reference.tokens, answer.tokens):
        return equal("normal_form")
    if _spelled(reference.tokens) == _spelled(answer.tokens) != "":
        return equal("spelled_alike")  # the word cat, and the letters c, a, t
    found = _compare_choices(reference, answer, options)
    if found is not None:
        return found
    if reference.moment is not None or answer.moment is not None:
        ratio = reference.moment is None or may_be_ratio(reference.tokens)
        found = compare_times(reference.moment, answer.moment, ratio)
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


def _same_tokens(ours: Sequence[Token], theirs: Sequence[Token]) -> bool:
    """Whether two answers differ in spelling only."""
    if len(ours) != len(theirs):
        return False
    return all(
        a.text == b.text and (a.kind == b.kind or not {a.kind, b.kind} <= {NAME, CONSTANT})
        for a, b in zip(ours, theirs, strict=True)
    )


def _spelled(tokens: tuple[Token, ...]) -> str:
    """The letters of an answer that has nothing else, `""` for any other."""
    text = "".join(token.text for token in tokens)
    return text if len(text) > 1 and text.isalpha() else ""


def _compare_choices(
    reference: Parsed, answer: Parsed, options: GradingOptions
) -> Comparison | None:
    """The rule for letters, where the reference is one: `B`, or `(B) 12` with its text."""
    ours, theirs = (reference.letter, reference.letter_size), (answer.letter, answer.letter_size)
    if not reference.letter or reference.letter == "?":
        return None
    if reference.letter_size == len(reference.tokens):
        named = (
            reference.tokens[reference.letter_size // 2].text.isupper() or len(reference.tokens) > 1
        )
        return compare_choices(ours, theirs) if named and answer.letter else None
    if answer.letter and answer.letter_size == len(answer.tokens):
        return compare_choices(ours, theirs)
    rest = read_value(reference.tokens[reference.letter_size :], Reading())
    found = _compare_values(rest, answer.value, reference, answer, options)
    if found.equal or not answer.letter or answer.letter_size == len(answer.tokens):
        return found
    text = read_value(answer.tokens[answer.letter_size :], Reading())
    if answer.letter != reference.letter:
        return different("choice_differs")
    return _compare_values(rest, text, reference, answer, options)


def _other_readings(reference: Parsed, answer: Parsed) -> list[tuple[Value, Value]]:
    """Readings that are tried when the first does not fit."""
    out = list[tuple[Value, Value]]()
    if reference.joined != answer.joined:
        first = read(reference.text, reference.options, not reference.joined)
        second = read(answer.text, answer.options, not answer.joined)
        out.append((first.value, second.value))
    value = reference.value
    if isinstance(value, Quantity) and not symbols(value.expression):
        unit = unit_reading(answer.tokens)
        if unit is not None:
            out.append((value, unit))
    if isinstance(answer.value, Quantity) and not symbols(answer.value.expression):
        unit = unit_reading(reference.tokens)
        if unit is not None:
            out.append((unit, answer.value))
    chosen = [_chosen(parsed.tokens) for parsed in (reference, answer)]
    if any(chosen):
        out.append((chosen[0] or value, chosen[1] or answer.value))
    if printed_constants(answer, value):
        out.append((value, mapped(answer.value, _as_printed)))
    if printed_constants(reference, answer.value) and "*" in reference.text:
        out.append((mapped(value, _as_printed), answer.value))
    if answer.letter and 1 < answer.letter_size < len(answer.tokens):
        out.append((value, read_value(answer.tokens[answer.letter_size :], Reading())))
    return out


def _chosen(tokens: tuple[Token, ...]) -> Value | None:
    """`C(10, 3)` as a binomial, where a point called C does not fit."""
    texts = [token.text for token in tokens]
    if len(texts) != 6 or texts[:2] != ["C", "("] or texts[3] != "," or texts[5] != ")":
        return None
    try:
        return Quantity(Apply("binomial", (parse(tokens[2:3]), parse(tokens[4:5]))))
    except UnreadableError:
        return None


def _compare_values(
    ours: Value, theirs: Value, reference: Parsed, answer: Parsed, options: GradingOptions
) -> Comparison:
    parameters = reference.parameters | answer.parameters
    found = _compare_progressions(ours, theirs, parameters, options)
    if found is not None:
        return found
    names = _renaming(ours, theirs, parameters)
    if names:
        theirs = mapped(theirs, lambda node: rename(node, names))
    try:
        return Comparer(options).compare(ours, theirs)
    except UnreadableError as error:
        return undecided(error.code, str(error))
    except RecursionError:
        raise LimitHitError("limit_depth", "nested too deep") from None


def _compare_progressions(
    ours: Value, theirs: Value, parameters: set[str], options: GradingOptions
) -> Comparison | None:
    r"""`x = 2k\\pi \\pm 1, k \\in \\mathbb{Z}` and the like, as sets of numbers."""
    undeclared: frozenset[str] = frozenset()
    if _has_pi(ours) and _has_pi(theirs):  # 2k\\pi needs no "k is whole"
        undeclared = ((free_symbols(ours) | free_symbols(theirs)) & _INDICES) - parameters
    if not parameters and not undeclared:
        return None
    lists = list[list[Expression]]()
    for value in (ours, theirs):
        nodes = list[Expression]()
        for item in flatten(value):
            node = sole_expression(item, options)
            if node is None or not symbols(node):
                return None
            nodes.append(node)
        lists.append(nodes)
    return compare_progressions(lists[0], lists[1], parameters, set(undeclared))


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


def printed_constants(parsed: Parsed, other: Value) -> bool:
    """Whether an E or I may be Python's e or i: no LaTeX, and no other letter makes it a name.

    `E**2` is e^2, and `2*I` is 2i; in `V = IR` and against `E^2` they are names.
    """
    names = free_symbols(parsed.value)
    if "\\" in parsed.text or not names & _PRINTED_CONSTANTS.keys():
        return False
    others = {name for name in names | free_symbols(other) if name not in _PRINTED_CONSTANTS}
    constants = {
        p.name for node in expressions_of(other) for p in walk(node) if type(p) is Constant
    }
    wanted = {_PRINTED_CONSTANTS[name].name for name in names & _PRINTED_CONSTANTS.keys()}
    return wanted <= constants and not any(name[0].isupper() for name in others)


def _as_printed(node: Expression) -> Expression:
    return replaced(node, {Symbol(name): constant for name, constant in _PRINTED_CONSTANTS.items()})


def sole_expression(value: Value, options: GradingOptions) -> Expression | None:
    """The one expression that a value is, or that it gives a name to; else `None`."""
    if isinstance(value, Chain):
        said = answer_of(value, options)
        value = value if said is None else said.value
    return value.expression if isinstance(value, Quantity) else None


_CALCULUS = frozenset({"sum", "product", "integral", "limit"})
_UNWORKED = _CALCULUS | {"mod", "gcd", "lcm"}


def needs_calculus(node: Expression) -> bool:
    """Whether a tree holds what only computer algebra works out."""
    return any(isinstance(part, Apply) and part.operation in _CALCULUS for part in walk(node))


def is_plain_number(parsed: Parsed) -> bool:
    """Whether a reference is one written number."""
    value = parsed.value
    return isinstance(value, Quantity) and isinstance(value.expression, Number)


def leaves_work(parsed: Parsed) -> bool:
    r"""Whether an answer is left to work out: `\\sum_{k=1}^{10} k`, `2^{2024} \\bmod 10`."""
    value = parsed.value
    while isinstance(value, Chain) and value.parts:
        value = value.parts[-1]
    nodes = expressions_of(value)
    return any(isinstance(p, Apply) and p.operation in _UNWORKED for n in nodes for p in walk(n))


def is_readable(value: Value) -> bool:
    """Whether nothing in a value is outside our grammar."""
    return not isinstance(value, Opaque) and all(is_readable(child) for child in children(value))
