r"""Lists, sets and tuples: what `\pm` stands for, and which members answer which."""

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

from rewards.equality import limits
from rewards.equality.comparison import Comparison, Outcome, all_of, different, equal
from rewards.equality.values.expressions import (
    ONE,
    Apply,
    Expression,
    Symbol,
    choices,
    quotient,
    traits,
)
from rewards.equality.values.kinds import Chain, Group, Quantity, Ratio, Row, Value
from rewards.errors import LimitHitError
from rewards.grading_options import GradingOptions


class Compares(Protocol):
    """What compares the members."""

    options: GradingOptions

    def compare(self, reference: Value, answer: Value) -> Comparison:
        """Whether one member says what the other says."""
        ...


def expand(value: Value) -> list[Value]:
    r"""The values that one with `\pm` in it stands for; the value itself where there is none."""
    if isinstance(value, Quantity):
        found = choices(value.expression)
        return [value] if len(found) == 1 else [Quantity(node, value.unit) for node in found]
    if isinstance(value, Row) and any(_has_sign_pair(item) for item in value.items):
        columns = [expand(item) for item in value.items]
        if math.prod(map(len, columns)) > limits.ITEMS:
            raise LimitHitError("limit_items", f"stands for more than {limits.ITEMS} tuples")
        rows = itertools.product(*columns)
        return [Row(items, value.opening, value.closing) for items in rows]
    if isinstance(value, Chain) and any(_has_sign_pair(part) for part in value.parts):
        columns = [expand(part) for part in value.parts]  # y = ±2x, 2x ± y = 0
        return [Chain(parts, value.operators) for parts in itertools.product(*columns)]
    return [value]


def in_order(value: Row | Group) -> tuple[Value, ...]:
    """Members in the order of a point: `y = 4, x = -1` is (-1, 4), for letters that follow on."""
    names = [
        item.parts[0].expression.name
        if isinstance(item, Chain)
        and isinstance(item.parts[0], Quantity)
        and isinstance(item.parts[0].expression, Symbol)
        else ""
        for item in value.items
    ]
    neighbours = "".join(sorted(names))
    if len({*names}) < len(names) or "" in names or neighbours not in _ALPHABET:
        return value.items
    return tuple(item for _, item in sorted(zip(names, value.items, strict=True), key=_by_name))


def _by_name(pair: tuple[str, Value]) -> str:
    return pair[0]


_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def flatten(value: Value) -> tuple[Value, ...]:
    r"""Members of a list with every `\pm` written out; a set inside a list of one is opened."""
    items = value.items if isinstance(value, Group) else (value,)
    nested = isinstance(value, Group) and value.braces
    if len(items) == 1 and isinstance(items[0], Group) and not (nested and items[0].braces):
        return flatten(items[0])
    if len(items) == 1 and isinstance(items[0], Chain) and isinstance(items[0].parts[-1], Group):
        return flatten(items[0].parts[-1])
    out = [part for item in items for part in expand(item)]
    if len(out) > limits.ITEMS:
        raise LimitHitError("limit_items", f"more than {limits.ITEMS} members")
    return tuple(out)


def compare_ordered(by: Compares, reference: Row, answer: Row) -> Comparison:
    """Tuples and intervals: same brackets, same members in the same order."""
    ours, theirs = expand(reference), expand(answer)
    if len(ours) > 1 or len(theirs) > 1:
        return compare_unordered(by, tuple(ours), tuple(theirs))
    if len(reference.items) != len(answer.items):
        return different("count_differs", f"{len(reference.items)} against {len(answer.items)}")
    brackets = [(row.opening, row.closing) for row in (reference, answer)]
    if brackets[0] != brackets[1] and len(reference.items) == 2:  # only two ends make an interval
        return different("open_closed_differs", "the brackets differ")
    pairs = zip(reference.items, answer.items, strict=True)
    return all_of((by.compare(a, b) for a, b in pairs), "tuple")


def compare_unordered(
    by: Compares, reference: tuple[Value, ...], answer: tuple[Value, ...]
) -> Comparison:
    """Lists and sets: a one-to-one matching of members, in any order; repetitions count."""
    if len(reference) != len(answer):
        return different("count_differs", f"{len(answer)} members for {len(reference)}")
    if _sets_among(reference) != _sets_among(answer):
        return different("nesting_differs", "a set against its member")
    if by.options.ordered_lists or _named_apart(reference) != _named_apart(answer):
        pairs = zip(reference, answer, strict=True)
        return all_of((by.compare(a, b) for a, b in pairs), "list")
    return _match(by, list(reference), list(answer))


def _sets_among(items: Sequence[Value]) -> int:
    return sum(isinstance(item, Group) and item.braces for item in items)


def _match(by: Compares, reference: list[Value], answer: list[Value]) -> Comparison:
    doubt: Comparison | None = None
    for item in list(reference):
        if item in answer:
            answer.remove(item)
            reference.remove(item)
    for item in reference:
        for index, candidate in enumerate(answer):
            if _sets_among([item]) != _sets_among([candidate]):
                continue  # in {1, {2}}, no {1} is 1
            found = by.compare(item, candidate)
            if found.outcome is Outcome.EQUAL:
                del answer[index]
                break
            if found.outcome is Outcome.UNDECIDED:
                doubt = found
        else:
            return doubt or different("element_differs", "a member has no counterpart")
    return equal("list")


def _named_apart(items: Sequence[Value]) -> bool:
    """Whether every member has a name of its own, as in `x = 1, y = 2`: their order then counts.

    `x_1 = 1, x_2 = 2` only counts the solutions for one x.
    """
    if len(items) < 2:
        return False
    names = list[object]()
    for item in items:
        if not isinstance(item, Chain) or not set(item.operators) <= {"="}:
            return False
        if not _is_worked_out(item.parts[0]):  # 3x + 4y = 0 has no name
            names.append(item.parts[0])
        else:
            return False
    letters = {_letter(name) for name in names}
    return all(names.count(name) == 1 for name in names) and (len(letters) > 1 or None in letters)


def _letter(name: object) -> str | None:
    """What stands before the index of a name that has one."""
    if isinstance(name, Quantity) and isinstance(name.expression, Symbol):
        letter, mark, _ = name.expression.name.partition("_")
        return letter if mark else None
    return None


def _is_worked_out(value: Value) -> bool:
    return (
        isinstance(value, Quantity)
        and isinstance(value.expression, Apply)
        and (value.expression.operation in ("add", "mul", "neg", "pow"))
    )


def _has_sign_pair(value: Value) -> bool:
    return isinstance(value, Quantity) and _has_pair(value.expression)


def _has_pair(node: Expression) -> bool:
    return bool(traits(node) & {"pm", "mp"})


def reordered(reference: Chain, answer: Chain) -> Chain | None:
    """The answer with its members in the order of the reference's names.

    `(n, m) = (4, 2)` is `(m, n) = (2, 4)`, and `y : x = 2 : 3` is `x : y = 3 : 2`. `None` where
    the names are not the same ones, or a part has not as many members.
    """
    ours, theirs = _heads(reference), _heads(answer)
    if not ours or ours == theirs or sorted(ours) != sorted(theirs) or len(set(ours)) < len(ours):
        return None
    order = [theirs.index(name) for name in ours]
    parts = list[Value]()
    for part in answer.parts:
        if isinstance(part, Row) and len(part.items) == len(order):
            parts.append(Row(tuple(part.items[i] for i in order), part.opening, part.closing))
        elif isinstance(part, Ratio) and len(part.parts) == len(order):
            parts.append(Ratio(tuple(part.parts[i] for i in order)))
        elif isinstance(part, Quantity) and isinstance(answer.parts[0], Ratio) and len(order) == 2:
            parts.append(Quantity(quotient(ONE, part.expression)))
        else:
            return None
    return Chain(tuple(parts), answer.operators)


def _heads(chain: Chain) -> list[str]:
    """The letters of the tuple or ratio that a chain begins with."""
    head = chain.parts[0]
    members: list[Expression] = list(head.parts) if isinstance(head, Ratio) else []
    if isinstance(head, Row):
        members = [item.expression for item in head.items if isinstance(item, Quantity)]
    return [member.name for member in members if isinstance(member, Symbol)]
