"""Read an answer and compare it with a reference: the whole way, in order of cost."""

from collections.abc import Sequence
from fractions import Fraction

from rewards.equality.answers.choices import compare_choices, letters
from rewards.equality.answers.collections import flatten
from rewards.equality.answers.families import compare_progressions
from rewards.equality.answers.python_forms import PYTHON_FORMS
from rewards.equality.answers.relations import answer_of
from rewards.equality.answers.sets import WHOLE, Reading
from rewards.equality.answers.times import compare_times, may_be_ratio
from rewards.equality.answers.words import names_subject
from rewards.equality.comparer import Comparer
from rewards.equality.comparison import Comparison, Outcome, different, equal, undecided
from rewards.equality.parsed import Parsed, other_readings
from rewards.equality.reader import read_value
from rewards.equality.syntax.tokens import BASED, CONSTANT, NAME, NUMBER, OPERATOR, Token
from rewards.equality.values.expressions import (
    ONE,
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    rename,
    symbols,
    traits,
    walk,
)
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Matrix,
    Opaque,
    Quantity,
    Ratio,
    Row,
    Text,
    Value,
    children,
    expressions_of,
    free_symbols,
    mapped,
)
from rewards.errors import LimitHitError, UnreadableError
from rewards.grading_options import GradingOptions

_CURVE_PARAMETERS = frozenset({"t", "s", "u", "theta", "phi", "lambda", "mu", "tau"})
_INDICES = frozenset(["k", "n", "m", "l", "j", "t"])


_DENIALS = frozenset({"not", "never", "wrong", "false", "incorrect", "isn't"})


def compare(reference: Parsed, answer: Parsed, options: GradingOptions) -> Comparison:
    """Whether the answer says what the reference says, and denies nothing of it.

    What `compare_spelling` decides is not asked again.

    Raises:
        LimitHitError: Deciding needs more work than is allowed.
    """
    found = _compare(reference, answer, options)
    if not found.equal or isinstance(reference.value, Text):
        return found
    if answer.tokens[0].text in PYTHON_FORMS:  # Interval(0, 1, True, False)
        return found
    known = {token.text for token in reference.tokens} | {"0", "1", "2"} | reference.conditions
    if answer.conditions - known:
        return different("condition_differs", "it holds under a condition of its own")
    said = [{t.text.lower() for t in parsed.tokens} & _DENIALS for parsed in (reference, answer)]
    return different("denied", "it denies what it says") if said[0] != said[1] else found


def _compare(reference: Parsed, answer: Parsed, options: GradingOptions) -> Comparison:
    for rule in _BEFORE_VALUES:
        early = rule(reference, answer, options)
        if early is not None:
            return early
    found = _compare_values(reference.value, answer.value, reference, answer, options)
    if found.outcome is Outcome.DIFFERENT:
        for other in other_readings(reference, answer):
            again = _compare_values(*other, reference, answer, options)
            if again.outcome is Outcome.EQUAL:
                return again
    return found


def compare_spelling(reference: Parsed, answer: Parsed) -> Comparison | None:
    """The same tokens, or the same letters: the word cat, and the symbols c, a, t."""
    if _same_tokens(reference.tokens, answer.tokens):
        return equal("normal_form")
    if reference.tokens[0].kind in (NUMBER, OPERATOR):
        return None
    alike = _spelled(reference.tokens) == _spelled(answer.tokens) != ""
    return equal("spelled_alike") if alike else None


def _same_tokens(ours: Sequence[Token], theirs: Sequence[Token]) -> bool:
    """Whether two answers differ in spelling only."""
    if len(ours) != len(theirs):
        return False
    return all(
        a.text == b.text and (a.kind == b.kind or not {a.kind, b.kind} <= {NAME, CONSTANT})
        for a, b in zip(ours, theirs, strict=True)
    )


def _spelled(tokens: tuple[Token, ...]) -> str:
    r"""The letters of an answer that has nothing else, `""` for any other; `\mathrm{CO_2}`."""
    text = ""
    for index, token in enumerate(tokens):
        indexed = index and tokens[index - 1].text == "_"
        if token.kind in (NUMBER, BASED) and not indexed:
            return ""
        text += token.text
    return text if len(text) > 1 and text.replace("_", "a").isalnum() else ""


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


def _compare_letters(reference: Parsed, answer: Parsed, _: GradingOptions) -> Comparison | None:
    """Several letters of which all are asked for: `A, C`, but not the segment `AC`."""
    if not reference.lettered:
        return None
    several, said = letters(reference.tokens), letters(answer.tokens)
    if several is None or len(several) == len(reference.tokens):
        return None
    if said is not None:
        return equal("choices") if said == several else different("choice_differs")
    if any(token.text.lower() == "or" for token in answer.tokens):
        return different("several_choices", "one of the letters, where all are asked for")
    return None


def _compare_moments(reference: Parsed, answer: Parsed, _: GradingOptions) -> Comparison | None:
    """Times of the day and dates, where at least one side is one."""
    if reference.moment is None and answer.moment is None:
        return None
    ratio = reference.moment is None or may_be_ratio(reference.tokens)
    return compare_times(reference.moment, answer.moment, ratio)


def _compare_subject(reference: Parsed, answer: Parsed, _: GradingOptions) -> Comparison | None:
    one_word = len(answer.tokens) == 1
    return equal("subject") if one_word and names_subject(reference.tokens, answer.tokens) else None


_BEFORE_VALUES = (
    _compare_choices,
    _compare_letters,
    _compare_moments,
    _compare_subject,
)
"""Rules that look at tokens; the first that has an opinion decides."""


def _compare_values(
    ours: Value, theirs: Value, reference: Parsed, answer: Parsed, options: GradingOptions
) -> Comparison:
    if reference.named or answer.named:
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
    if WHOLE in (theirs_name, ours_name):
        return {}  # the set of integers is no name
    if {theirs_name, ours_name} <= _CURVE_PARAMETERS and is_curve(ours) and is_curve(theirs):
        return {theirs_name: ours_name}  # (1 + s, 2 - s) runs through (1 + t, 2 - t)
    if declared & {theirs_name, ours_name}:
        return {theirs_name: ours_name}
    if {theirs_name, ours_name} <= _INDICES and _has_pi(ours) and _has_pi(theirs):
        return {theirs_name: ours_name}
    return {}


def is_curve(value: Value) -> bool:
    """Whether a value gives points by a parameter: a tuple, or an equation for each coordinate."""
    if isinstance(value, Row | Matrix):
        return True
    return isinstance(value, Group) and all(
        isinstance(item, Chain) and item.operators == ("=",) for item in value.items
    )


def _has_pi(value: Value) -> bool:
    return any(part == Constant("pi") for node in expressions_of(value) for part in walk(node))


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
    r"""Whether a reference is one written number: `12`, `\frac12`, `2.5 cm`."""
    value = parsed.value
    if not isinstance(value, Quantity) or not _is_worked_out(value.expression):
        return False
    return not symbols(value.expression) and not traits(value.expression) & {"pow", "pi"}


def copies(parsed: Parsed) -> bool:
    r"""Whether an answer holds what is work to do: `\sum_{k=1}^{10} k`, `2^{2024} \bmod 10`."""
    value = parsed.value
    while isinstance(value, Chain) and value.parts:
        value = value.parts[-1]
    nodes = expressions_of(value)
    return any(isinstance(p, Apply) and p.operation in _UNWORKED for n in nodes for p in walk(n))


def leaves_work(value: Value) -> bool:
    r"""Whether an answer is no written number: `\log_2 16`, `5!`, `3 \cdot 4`, but not `2^{10}`.

    A chain is as good as its best part: `\binom{5}{2} = 10` is worked out.
    """
    if isinstance(value, Quantity):
        return not _is_worked_out(value.expression)
    if isinstance(value, Chain):  # in 3 \cdot 4 = ? the mark is no part that is worked out
        said = [part for part in value.parts if expressions_of(part)]
        return bool(said) and all(map(leaves_work, said))
    if isinstance(value, Ratio):
        return not all(map(_is_worked_out, value.parts))
    if isinstance(value, Row) and len(value.items) > 1:
        return True  # C(16, 5) reads as a point, and equals a number as a binomial only
    return any(map(leaves_work, children(value)))


def _is_worked_out(node: Expression) -> bool:
    """A number, its power, a quotient of such, or so many times a power of ten; signs, units."""
    if not isinstance(node, Apply):
        return isinstance(node, Number)
    if node.operation == "base":
        return True
    if node.operation in ("neg", "percent", "degree"):
        return _is_worked_out(node.arguments[0])
    if node.operation == "pow":
        base, power = node.arguments
        whole = isinstance(power, Number) and power.value.denominator == 1
        return whole and "pow" not in traits(base) and _is_worked_out(base)
    if node.operation == "add":
        return all(map(_is_remainder, node.arguments[1:])) and _is_worked_out(node.arguments[0])
    if node.operation != "mul":
        return False
    factors = [part for part in node.arguments if not _is_letter(part)]
    if len(factors) < len(node.arguments) and not all(map(_is_worked_out, factors[:1])):
        factors.insert(0, ONE)
    first, *others = factors or (ONE,)
    return _is_worked_out(first) and len(others) < 2 and all(map(_scales, others))


def _is_letter(node: Expression) -> bool:
    r"""What may be a unit of a written number: `5 m`, `3 m/s`, `\frac{\pi}{6}` for an angle."""
    if isinstance(node, Apply) and node.operation in ("inv", "pow"):
        return _is_letter(node.arguments[0])
    if isinstance(node, Apply) and node.operation == "mul":
        return all(map(_is_letter, node.arguments))
    return isinstance(node, Symbol) or node == Constant("pi")


def _is_remainder(node: Expression) -> bool:
    r"""The minutes of `30^\circ 15'` and of 1 hour 20 minutes: fractions that nobody writes.

    `2\frac13` and `0.\overline{3}` are written.
    """
    if isinstance(node, Apply) and node.operation == "mul" and len(node.arguments) == 2:
        node = node.arguments[1]
    return isinstance(node, Number) and node.decimals == -1 and 0 < node.value < 1


def _scales(node: Expression) -> bool:
    """A division by a written number, or a power of ten."""
    if not isinstance(node, Apply):
        return False
    if node.operation == "inv":
        return _is_worked_out(node.arguments[0])
    return node.operation == "pow" and node.arguments[0] == Number(Fraction(10))


def is_readable(value: Value) -> bool:
    """Whether nothing in a value is outside our grammar."""
    return not isinstance(value, Opaque) and all(is_readable(child) for child in children(value))
