r"""Equations, assignments, chains of equalities, inequalities in several variables.

| written                  | read as                                                         |
| ------------------------ | --------------------------------------------------------------- |
| `x = 5`, `f(x) = 2x`     | 5, 2x: the left side is a name                                  |
| `AB = 4`, `\sin A = 1/2` | 4, 1/2: names of segments, functions of names                   |
| `2 + 3 = 5`              | 5: both sides agree                                             |
| `41 = 42`                | nothing: an inconsistent chain answers no question              |
| `\sqrt2 \approx 1.41`    | the square root; the approximation must be right to two percent |
| `2x + 4y = 3`            | an equation: equal to its multiples                             |
"""

from dataclasses import dataclass
from typing import Any

from rewards.equality.answers.collections import Compares
from rewards.equality.answers.families import compare_families
from rewards.equality.answers.words import denies
from rewards.equality.comparison import Comparison, Outcome, all_of, different, equal, undecided
from rewards.equality.numbers.arithmetic import (
    ImpreciseError,
    NoValueError,
    long_arithmetic,
)
from rewards.equality.numbers.identity import AGREEMENTS, same
from rewards.equality.numbers.numeric import (
    POINTS,
    STEPPED_POINTS,
    Evaluator,
    bends,
    has_kinks,
    probe,
)
from rewards.equality.numbers.sampling import named_numbers, same_zeros
from rewards.equality.numbers.scalars import equal_scalars, number
from rewards.equality.syntax.tokens import FLIPPED
from rewards.equality.values.expressions import (
    ZERO,
    Apply,
    Expression,
    Symbol,
    difference,
    quotient,
    rename,
    symbols,
    walk,
)
from rewards.equality.values.kinds import (
    Chain,
    Matrix,
    Opaque,
    Quantity,
    Ratio,
    Row,
    Text,
    Value,
)
from rewards.errors import UnreadableError
from rewards.grading_options import GradingOptions

_OF_NAMES = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "ln", "abs"])
_CHANGES = (Symbol("Delta"), Symbol("delta"))
_INDICES = frozenset("nkmijl")
_VARIABLES = frozenset("xyztsuvwnkmr")
"""Arguments of a function; of P(A), f(a), others are given."""
_APPROXIMATION = 50
"""An approximation may be off by one part in this many."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chain of equalities says: a value, and the name it gives it."""

    value: Value
    name: Expression | None = None


def is_name(value: Value) -> bool:
    """Whether a left side only names what is asked for."""
    if isinstance(value, Quantity):
        return value.unit is None and _is_name(value.expression)
    if isinstance(value, Row):
        return all(is_name(item) for item in value.items)
    if isinstance(value, Ratio):
        return all(_is_name(part) for part in value.parts)
    numbered = isinstance(value, Text) and any(
        not word.isalpha() or word == "or" for word in value.words
    )
    return isinstance(value, Text) and not numbered and not denies(value.words)


def _is_name(node: Expression) -> bool:
    if isinstance(node, Symbol):
        return True
    if not isinstance(node, Apply):
        return False
    if node.operation == "call":
        return True
    if node.operation in _OF_NAMES:
        inner = node.arguments[0]
        if node.operation == "abs" and isinstance(inner, Symbol) and len(inner.name) == 1:
            return inner.name.isupper() or inner.name in "zw"  # |x| = 5 does not name 5
        return _is_name(inner)
    if node.operation == "mul":
        if len(node.arguments) == 2 and node.arguments[0] in _CHANGES:
            return isinstance(node.arguments[1], Symbol)
        parts = [
            part.arguments[0] if isinstance(part, Apply) and part.operation == "inv" else part
            for part in node.arguments
        ]
        return all(
            (isinstance(part, Symbol) and (part.name[0].isupper() or part.name == "m"))
            or (len(parts) == 2 and isinstance(part, Apply) and _is_name(part))
            for part in parts
        )
    return False


def answer_of(chain: Chain, options: GradingOptions) -> Answer | None:
    """What a chain of `=` and `≈` gives; `None` if it is an equation or contradicts itself."""
    if not options.assignment or not set(chain.operators) <= {"=", "≈"}:
        return None
    parts, operators = list(chain.parts), list(chain.operators)
    name: Expression | None = None
    while len(parts) > 1 and is_name(parts[0]) and not _only_name_last(parts):
        head = parts.pop(0)
        operators.pop(0)
        if isinstance(head, Quantity):
            name = head.expression
    if len(parts) == 2 and is_name(parts[1]) and not _free(parts[0]):
        head = parts.pop()
        operators.pop()
        name = head.expression if isinstance(head, Quantity) else name
    if options.consistent_chains and not _consistent(parts, operators):
        return None
    value = parts[operators.index("≈")] if "≈" in operators else parts[-1]
    return Answer(value, name)


def combined(chain: Chain, options: GradingOptions) -> Value | None:
    r"""The constant that a combination of names is: `m + n = 2 + 111 = 113`, `\det A = 113`.

    An equation in one name, `2x = 5`, gives the name another value than the one it mentions.
    """
    parts, operators = list(chain.parts), list(chain.operators)
    if len(parts) == 2 and not _free(parts[0]):
        parts.reverse()
    head, *constants = parts
    if not set(operators) <= {"=", "≈"} or any(map(_free, constants)) or not _combines(head):
        return None
    said = answer_of(Chain((Quantity(Symbol("_")), *constants), chain.operators), options)
    return None if said is None else said.value


def named_matrix(chain: Chain) -> Value | None:
    r"""The matrix or vector that is called `A^{-1}`, `A^T`, `A^{10}`, `a + b`."""
    head, *rest = chain.parts
    if chain.operators != ("=",) or not isinstance(rest[0], Matrix | Row):
        return None
    node = head.expression if isinstance(head, Quantity) else None
    if isinstance(node, Apply) and node.operation == "pow" and len(symbols(node.arguments[0])) == 1:
        return rest[0]
    return rest[0] if _combines(head) else None


def _combines(value: Value) -> bool:
    """Whether a side has two names at least, or is an operation of which we know nothing.

    `x + y - 5 = 0` is an equation for what it adds to them.
    """
    if isinstance(value, Opaque):
        return not any(character.isdigit() for character in value.spelling)
    if not isinstance(value, Quantity) or len(_names(value.expression)) < 2:
        return False
    sums = [p for p in walk(value.expression) if isinstance(p, Apply) and p.operation == "add"]
    return all(symbols(term) for node in sums for term in node.arguments)


def _names(node: Expression) -> set[Expression]:
    if isinstance(node, Apply) and node.operation != "call":
        return set().union(*map(_names, node.arguments))
    return {node} if symbols(node) else set()


def is_contradiction(chain: Chain, options: GradingOptions) -> bool:
    """Whether numbers without variables are called equal that are not."""
    return (
        options.consistent_chains
        and set(chain.operators) <= {"=", "≈"}
        and not any(_free(part) for part in chain.parts)
        and answer_of(chain, options) is None
    )


def _only_name_last(parts: list[Value]) -> bool:
    return len(parts) == 2 and is_name(parts[1]) and not is_name(parts[0])


def _free(value: Value) -> bool:
    return not isinstance(value, Quantity) or bool(symbols(value.expression))


def _consistent(parts: list[Value], operators: list[str]) -> bool:
    parts = [as_quotient(part) for part in parts]
    for left, right, operator in zip(parts, parts[1:], operators, strict=False):
        if not isinstance(left, Quantity) or not isinstance(right, Quantity):
            return False
        if same(left.expression, right.expression).equal:
            continue
        if symbols(left.expression) or symbols(right.expression):
            return False
        options = GradingOptions()
        if equal_scalars(left.expression, right.expression, options).equal:
            continue
        if equal_scalars(right.expression, left.expression, options).equal:
            continue
        if operator != "≈":
            return False
        a, b = number(left.expression), number(right.expression)
        if a is None or b is None or abs(a - b) * _APPROXIMATION > abs(a):
            return False
    return True


def as_quotient(value: Value) -> Value:
    """`3:4` as three quarters; any other value as it is."""
    if isinstance(value, Ratio) and len(value.parts) == 2:
        return Quantity(quotient(*value.parts))
    return value


def flipped(chain: Chain) -> Chain | None:
    """The chain read from its other end: `4 > x` for `x < 4`."""
    if not set(chain.operators) <= {*FLIPPED, "=", "!="}:
        return None
    operators = tuple(FLIPPED.get(o, o) for o in reversed(chain.operators))
    return Chain(tuple(reversed(chain.parts)), operators)


def equal_chains(by: Compares, reference: Chain, answer: Chain) -> Comparison:
    """Two chains link by link, in either direction; two inequalities by their ratio."""
    for theirs in (answer, flipped(answer)):
        if theirs is not None and reference.operators == theirs.operators:
            parts = zip(reference.parts, theirs.parts, strict=True)
            same = all_of((by.compare(a, b) for a, b in parts), "same_relations")
            if same.outcome is Outcome.EQUAL:
                return same
    return equal_equations(reference, answer, by.options)


def equal_equations(ours: Chain, theirs: Chain, options: GradingOptions) -> Comparison:
    """Whether two equations, or two inequalities, say the same."""
    if len(ours.parts) == 2 == len(theirs.parts) and _quantities(ours) and _quantities(theirs):
        a, b = _as_function(ours), _as_function(theirs)
        kinds = [_kind(chain.operators[0]) for chain in (ours, theirs)]
        if kinds[0] != kinds[1]:
            return different("relation_differs")
        if kinds[0] == "=" and _is_solved(ours) and not _is_solved(theirs):
            return different("not_solved", "the equation itself, where its solution is asked for")
        found = _proportional(a, b, positive=kinds[0] in ("<", "<="))
        if found.outcome is Outcome.DIFFERENT and kinds[0] == "=" and bends(a, b):
            found = same_zeros(a, b, symbols(a) | symbols(b), named_numbers(a, b))
        if found.outcome is not Outcome.DIFFERENT:
            return found
    first, second = answer_of(ours, options), answer_of(theirs, options)
    if first is not None and second is not None:
        return equal_answers(first, second, options)
    return different("equation_differs")


def compare_solutions(
    reference: Value, ours: list[Value], theirs: list[Value]
) -> Comparison | None:
    r"""An equation against its solved forms: `|x| = 3` is `x = \pm 3`, `|x| = |y|` is `x = \pm y`.

    Only this way round: the answer `x^2 = 9` to the question x^2 = 9 has solved nothing.
    """
    equations = [v for v in theirs if isinstance(v, Chain) and v.operators == ("=",)]
    if len(ours) != 1 or len(theirs) < 2 or len(equations) < len(theirs):
        return None
    if not isinstance(reference, Chain) or reference.operators != ("=",):
        return None
    if any(is_name(part) for part in reference.parts[:1]) or not _quantities(reference):
        return None
    if not all(_quantities(equation) for equation in equations):
        return None
    ours_node = _as_function(reference)
    theirs_node: Expression = Apply("mul", tuple(_as_function(equation) for equation in equations))
    if symbols(ours_node) != symbols(theirs_node):
        return None
    centres = named_numbers(ours_node, theirs_node)
    return same_zeros(ours_node, theirs_node, symbols(ours_node), centres)


def equal_answers(ours: Answer, theirs: Answer, options: GradingOptions) -> Comparison:
    """Whether two named values agree, in name too unless one of them is a function."""
    if not isinstance(ours.value, Quantity) or not isinstance(theirs.value, Quantity):
        return undecided("structured")
    a, b = ours.value.expression, theirs.value.expression
    left, right = ours.name, theirs.name
    if left is not None and right is not None and left != right:
        names = _renaming(left, right)
        free = symbols(b)
        if names and not free and not _VARIABLES.issuperset({*names, *names.values()}):
            return different("name_differs", "two values of one function")  # P(A), P(B)
        if names is None or any(new in free and new not in names for new in names.values()):
            return different("name_differs", "the two sides name different quantities")
        b = rename(b, names)
    return compare_families(a, b) or equal_scalars(a, b, options)


def _renaming(left: Expression, right: Expression) -> dict[str, str] | None:
    """How to rename the bound variable of the right function, `None` if the names are unlike."""
    ours, theirs = _arguments(left), _arguments(right)
    if ours and theirs:
        if len(ours) != len(theirs) or _head(left) != _head(right):
            return None
        return dict(zip(theirs, ours, strict=True))
    plain, called = (right, left) if ours else (left, right)
    if ours or theirs:
        head = _head(called)
        primes = head.name.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        if plain == Symbol("y" + primes.strip("^-1")):
            return {}  # f(x) = 2x is y = 2x, f'(x) = 2x is y' = 2x
        if isinstance(plain, Symbol) and plain.name == f"{head.name}_{(ours or theirs)[0]}":
            return {}  # a(n) = 2n is a_n = 2n
        return None
    if isinstance(left, Symbol) and isinstance(right, Symbol):
        (name, _, index), (other, _, place) = left.name.partition("_"), right.name.partition("_")
        if name == other and {index, place} <= _INDICES:
            return {place: index}  # a_k = 2k is a_n = 2n
    return None


def _head(node: Expression) -> Symbol:
    head = node.arguments[0] if isinstance(node, Apply) else node
    return head if isinstance(head, Symbol) else Symbol("")


def _arguments(node: Expression) -> list[str]:
    if isinstance(node, Apply) and node.operation == "call":
        names = [part.name for part in node.arguments[1:] if isinstance(part, Symbol)]
        return names if len(names) == len(node.arguments) - 1 else []
    return []


def _quantities(chain: Chain) -> bool:
    return all(isinstance(part, Quantity) and part.unit is None for part in chain.parts)


def _kind(operator: str) -> str:
    return operator.replace(">", "<").replace("≈", "=")


def _as_function(chain: Chain) -> Expression:
    """The side that is greater minus the other."""
    left, right = (part.expression for part in chain.parts if isinstance(part, Quantity))
    return difference(right, left) if chain.operators[0][0] == "<" else difference(left, right)


def _is_solved(equation: Chain) -> bool:
    """Whether a name stands alone, and a number on the other side: `x = 3`, `x - 3 = 0`."""
    for name, constant in (equation.parts, reversed(equation.parts)):
        if not _free(constant):
            shifted = isinstance(name, Quantity) and is_shifted_name(name.expression)
            return is_name(name) or (shifted and constant == Quantity(ZERO))
    return False


def is_shifted_name(node: Expression) -> bool:
    """Whether a name stands there, with its sign and a number added at most: `x - 3`."""
    terms = node.arguments if isinstance(node, Apply) and node.operation == "add" else (node,)
    moving = [term for term in terms if symbols(term)]
    if len(moving) != 1:
        return False
    name = moving[0]
    if isinstance(name, Apply) and name.operation == "neg":
        name = name.arguments[0]
    return _is_name(name)


def _proportional(a: Expression, b: Expression, positive: bool) -> Comparison:
    """Whether a is a constant multiple of b, not zero, and above zero if `positive`."""
    names = symbols(a)
    if not names or names != symbols(b):
        return different("symbols_differ")
    centres = tuple(named_numbers(a, b)) if has_kinks(a, b) else ()
    ratios = list[Any]()
    stepped = bool(centres)
    field = long_arithmetic(is_complex=False)
    tiny = field.module.mpf(10) ** -20
    try:
        for index in range(STEPPED_POINTS if stepped else POINTS):
            point = probe(names, index, centres)
            try:
                x, y = (Evaluator(point, field).value(node) for node in (a, b))
            except (NoValueError, ImpreciseError):
                continue
            if abs(x) < tiny and abs(y) < tiny:
                continue
            if abs(x) < tiny or abs(y) < tiny:
                return different("equation_differs")
            ratios.append(x / y)
            if abs(ratios[-1] - ratios[0]) > tiny * abs(ratios[0]):
                return different("equation_differs")
            if positive and ratios[-1] < 0:
                return different("direction_differs")
            if len(ratios) >= AGREEMENTS and not stepped:
                break
    except UnreadableError as error:
        return undecided(error.code)
    return equal("proportional") if len(ratios) >= AGREEMENTS else undecided("no_value")
