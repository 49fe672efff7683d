"""Conditions on numbers, inequalities and sets: by where they hold, else by their parts."""

from collections.abc import Callable, Sequence

from rewards.equality.answers.collections import Compares, compare_ordered, compare_unordered
from rewards.equality.answers.intervals import (
    equal_regions,
    inequality_as_row,
    membership,
    ordering_variable,
    region,
    same_set_algebra,
    statement_of,
)
from rewards.equality.answers.relations import equal_chains, is_shifted_name
from rewards.equality.comparison import Comparison, Outcome, different
from rewards.equality.numbers.sampling import Statement, named_numbers, same_statement
from rewards.equality.values.expressions import Apply, Expression, Symbol, symbols
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Quantity,
    Reals,
    Row,
    SetOperation,
    Value,
    children,
    is_ordering,
)

_NOT_SOLVED = different("not_solved", "the inequality itself, where its solutions are asked for")


def _leaves_work(reference: Value, answer: Value) -> bool:
    """Whether an inequality is handed back that the reference has solved.

    An inequality for an inequality may be one step away: `2x > 6` for `x > 3`.
    """
    by_hand = _one_step if isinstance(reference, Chain) else _distance
    return _is_solved(reference, _bare) and not _is_solved(answer, by_hand)


def _is_solved(value: Value, is_plain: Callable[[Expression], bool]) -> bool:
    """Whether a set of numbers is given by its ends: `(1, 2]`, `x > 1`."""
    if isinstance(value, SetOperation):
        return all(_is_solved(part, is_plain) for part in value.parts)
    if not isinstance(value, Chain):
        return True
    middle = ordering_variable(value)
    return middle is not None and is_plain(middle)


def _bare(node: Expression) -> bool:
    return not isinstance(node, Apply) or node.operation == "call"


def _distance(node: Expression) -> bool:
    """A variable, or how far one is from a number: `|x - 3|`."""
    if isinstance(node, Apply) and node.operation == "abs":
        return is_shifted_name(node.arguments[0])
    return _bare(node)


def _one_step(node: Expression) -> bool:
    if isinstance(node, Apply) and node.operation in ("mul", "neg"):
        moving = [part for part in node.arguments if symbols(part)]
        return len(moving) == 1 and _bare(moving[0])
    return _distance(node) or is_shifted_name(node)


def as_conditions(value: Value) -> Value:
    r"""A list of conditions on one variable: all of them, or, if none can meet, one of them.

    `x \ge 2, x \ne 3` is both; `x < -3, x \ge 5` is either, for nothing is both.
    """
    if not isinstance(value, Group) or value.braces or len(value.items) < 2:
        return value
    parts = value.items
    joined = _regions_and_points(parts)
    if joined is not None:
        return joined
    names = {ordering_variable(part) if isinstance(part, Chain) else None for part in parts}
    bounded = {symbols(name) for name in names if name is not None}
    if None in names or len(bounded) != 1 or not all(is_ordering(part) for part in parts):
        return value
    both = SetOperation("∩", parts)
    spans = region(both)
    if spans is not None:
        return both if spans else SetOperation("∪", parts)
    return (
        both
        if any(
            part.operators == ("!=",) or len(part.operators) == 2
            for part in parts
            if isinstance(part, Chain)
        )
        else value
    )


def _regions_and_points(parts: Sequence[Value]) -> SetOperation | None:
    """`x < 0` or `x = 1`: the union of what is bounded and what is named of one variable."""
    names = set[Expression | None]().union(*map(_bounded, parts))
    name = names.pop() if len(names) == 1 else None
    if not isinstance(name, Symbol) or all(is_ordering(part) for part in parts):
        return None
    sets = list[Value]()
    for part in parts:
        if isinstance(part, Chain) and part.operators == ("=",) and part.parts[0] == Quantity(name):
            sets.append(Group(part.parts[1:], braces=True))
        elif is_ordering(part):
            sets.append(part)
        elif isinstance(part, Quantity) and not symbols(part.expression):
            sets.append(Group((part,), braces=True))
        else:
            return None
    return SetOperation("∪", tuple(sets))


def _bounded(value: Value) -> set[Expression | None]:
    """What the inequalities of a value bound; `None` among it where one bounds nothing."""
    if isinstance(value, SetOperation):
        return set[Expression | None]().union(*map(_bounded, value.parts))
    return {ordering_variable(value)} if is_ordering(value) else set()


def compare_orderings(by: Compares, reference: Value, answer: Value) -> Comparison:
    """Inequalities, as sets of numbers or as statements; what is solved stays solved."""
    if _leaves_work(reference, answer):
        return _NOT_SOLVED
    variables = [ordering_variable(value) for value in (reference, answer)]
    if all(v is not None for v in variables) and variables[0] != variables[1]:
        names = [symbols(v) for v in variables if v is not None]
        if names[0] != names[1]:
            return different("name_differs", "the inequalities bound different variables")
    reference, answer = as_conditions(reference), as_conditions(answer)
    ours, theirs = region(reference), region(answer)
    if ours is not None and theirs is not None:
        return equal_regions(ours, theirs, by.options)
    by_links: Comparison | None = None
    if isinstance(reference, Chain) and isinstance(answer, Chain):
        by_links = equal_chains(by, reference, answer)
        if by_links.equal and by_links.rule != "proportional":
            return by_links
    agreed = _compare_statements(reference, answer)
    if agreed is not None and agreed.outcome is not Outcome.UNDECIDED:
        return agreed
    first, second = inequality_as_row(reference), inequality_as_row(answer)
    if isinstance(first, Row) and isinstance(second, Row) and _same_middle(reference, answer):
        return compare_ordered(by, first, second)
    return by_links or different("type_differs", "an inequality against something else")


def compare_sets(by: Compares, reference: Value, answer: Value) -> Comparison:
    """Unions, intersections and differences."""
    reference, answer = as_conditions(reference), as_conditions(answer)
    if _leaves_work(reference, answer):
        return _NOT_SOLVED
    unmet = [isinstance(v, SetOperation) and region(v) == () for v in (reference, answer)]
    if all(unmet):  # x > 1 and x < -3: nothing is both, so "and" may mean "or"
        return compare_unordered(by, children(reference), children(answer))
    algebra = same_set_algebra(reference, answer)
    if algebra is not None:
        return algebra
    ours, theirs = region(reference), region(answer)
    if ours is not None and theirs is not None:
        return equal_regions(ours, theirs, by.options)
    agreed = _compare_statements(reference, answer)
    if agreed is not None:
        return agreed
    first, second = _union_parts(reference), _union_parts(answer)
    if first and second:
        return compare_unordered(by, first, second)
    return different("set_differs")


def _compare_statements(reference: Value, answer: Value) -> Comparison | None:
    """Where both hold, point by point; an interval is about the one variable there is."""
    ours, theirs = statement_of(reference), statement_of(answer)
    known = ours or theirs
    if known is None or len(known[1]) > 3:
        return None
    closed = [
        {o[-1] == "=" for o in value.operators} if isinstance(value, Chain) else None
        for value in (reference, answer)
    ]
    if len(known[1]) > 1 and closed[0] != closed[1]:
        return different("open_closed_differs", "the border belongs to one of them only")
    sides = list[Statement]()
    nodes = list[Expression]()
    for found, value in ((ours, reference), (theirs, answer)):
        if found is not None:
            if found[1] != known[1]:
                return different("name_differs", "the relations speak of different variables")
            sides.append(found[0])
            nodes += found[2]
            continue
        spans = region(value)
        if spans is None or len(known[1]) != 1:
            return None
        sides.append(membership(spans, next(iter(known[1]))))
        nodes += [node for span in spans for node in (span.low, span.high)]
    return same_statement(sides[0], sides[1], known[1], named_numbers(*nodes))


def _same_middle(reference: Value, answer: Value) -> bool:
    """Whether what two inequalities bound is one variable, so that their ends can be compared."""
    middles = [ordering_variable(value) for value in (reference, answer)]
    plain = [m for m in middles if m is not None]
    chains = sum(isinstance(value, Chain) for value in (reference, answer))
    return len(plain) == chains and all(isinstance(m, Symbol) for m in plain)


def _union_parts(value: Value) -> tuple[Value, ...]:
    if isinstance(value, SetOperation):
        return value.parts if value.operator == "∪" else ()
    if isinstance(value, Group) and not value.braces:
        return value.items
    return (value,) if isinstance(value, Row) else ()


def excluded(parts: Sequence[Value]) -> SetOperation | None:
    r"""`x \ne -2, 2` and all reals except -2 and 2: what follows is left out as well."""
    first, *rest = parts
    others = tuple(part for part in rest if isinstance(part, Quantity))
    if not rest or len(others) < len(rest):
        return None
    if isinstance(first, Chain) and first.operators == ("!=",) and ordering_variable(first):
        name = first.parts[0]
        return SetOperation("∩", (first, *(Chain((name, other), ("!=",)) for other in others)))
    if isinstance(first, SetOperation) and first.operator == "setminus":
        whole, without = first.parts
        if whole == Reals() and isinstance(without, Group):
            return SetOperation("setminus", (whole, Group((*without.items, *others), braces=True)))
    return None
