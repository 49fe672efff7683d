r"""Residue classes: `2 \pmod 7`, `x \equiv 1, 3 \pmod 8`; `17 \bmod 5` is a number."""

from collections.abc import Callable
from fractions import Fraction

from rewards.equality.answers.words import denies
from rewards.equality.comparison import Comparison, different, equal, undecided
from rewards.equality.numbers.exact import exact
from rewards.equality.syntax.parser import parse
from rewards.equality.syntax.tokens import WORD, Tokens
from rewards.equality.values.expressions import Expression, Number, Symbol, replaced, symbols
from rewards.equality.values.kinds import Chain, Group, Labelled, Quantity, Residue, Value
from rewards.errors import UnreadableError


def read_residue(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Residue | None:
    r"""`... \\pmod{7}`, `... (mod 7)` at the end of an answer."""
    marks = [i for i, token in enumerate(tokens) if token.text in ("pmod", "mod")]
    if len(marks) > 1:
        return None  # one statement for each
    mark = marks[0]
    head, tail = tokens[:mark], tokens[mark + 1 :]
    congruent = any(token.text == "≡" for token in head)  # in n = 17 mod 5, mod is an operation
    if tokens[mark].text == "mod" and not congruent:
        if not head or head[-1].text != "(" or not tail or tail[-1].text != ")":
            return None
        head, tail = head[:-1], tail[:-1]
    if not head or not tail or denies([token.text for token in head if token.kind == WORD]):
        return None
    try:
        modulus = parse(tail)
    except UnreadableError:
        return None
    value = statement(head)
    items = value.items if isinstance(value, Group) else (value,)
    return Residue(tuple(_said(item) for item in items), modulus)


def _said(value: Value) -> Value:
    if isinstance(value, Labelled):
        return _said(value.value)
    return value.parts[-1] if isinstance(value, Chain) and set(value.operators) == {"="} else value


def compare_residues(reference: Value, answer: Value) -> Comparison:
    """Same modulus, same classes; a plain number stands for itself only."""
    reference, answer = _joined(reference), _joined(answer)
    for value, other in ((reference, answer), (answer, reference)):
        if isinstance(value, Residue) and not isinstance(other, Residue):
            steps = _as_residue(other, value.modulus)
            if steps is not None:
                return compare_residues(*((value, steps) if value is reference else (steps, value)))
    if not isinstance(reference, Residue) or not isinstance(answer, Residue):
        ours, theirs = _sole(reference), _sole(answer)
        if ours is None or theirs is None:
            return different("type_differs", "a residue class against something else")
        number = _whole(ours)
        same = number is not None and number == _whole(theirs)
        return equal("residue") if same else different("residue_differs")
    moduli = [_whole(reference.modulus), _whole(answer.modulus)]
    if moduli[0] is None or moduli[1] is None:
        same = reference == answer
        return equal("residue") if same else undecided("symbolic_modulus")
    if moduli[0] != moduli[1]:
        return different("modulus_differs", f"modulo {moduli[1]} against {moduli[0]}")
    classes = [_classes(value, abs(moduli[0])) for value in (reference, answer)]
    if None in classes or not moduli[0]:
        return different("residue_differs")
    return equal("residue") if classes[0] == classes[1] else different("residue_differs")


def _joined(value: Value) -> Value:
    r"""`n \equiv 1 \pmod 8` or `n \equiv 3 \pmod 8` as one statement."""
    if isinstance(value, Group) and value.items and not value.braces:
        parts = [item for item in value.items if isinstance(item, Residue)]
        if len(parts) == len(value.items) and len({part.modulus for part in parts}) == 1:
            return Residue(tuple(item for part in parts for item in part.items), parts[0].modulus)
    return value


def _as_residue(value: Value, modulus: Expression) -> Residue | None:
    """`x = 7k + 3`, `{7k + 3}`, `8k + 1, 8k + 3`: what steps by the modulus."""
    items = list[Value]()
    for item in value.items if isinstance(value, Group) else (value,):
        said = _said(item)
        if not isinstance(said, Quantity) or len(symbols(said.expression)) != 1:
            return None
        name = Symbol(*symbols(said.expression))
        at = [exact(replaced(said.expression, {name: Number(Fraction(n))})) for n in (0, 1, 2)]
        if at[0] is None or at[1] is None or at[2] is None or at[2] - at[1] != at[1] - at[0]:
            return None
        if abs(at[1] - at[0]) != exact(modulus):
            return None
        items.append(Quantity(Number(at[0])))
    return Residue(tuple(items), modulus)


def _classes(value: Residue, modulus: int) -> set[int] | None:
    numbers = [_whole(i.expression) if isinstance(i, Quantity) else None for i in value.items]
    if any(number is None for number in numbers) or not modulus:
        return None
    return {number % modulus for number in numbers if number is not None}


def _whole(node: Expression) -> int | None:
    value = exact(node)
    return None if value is None or value.denominator != 1 else value.numerator


def _sole(value: Value) -> Expression | None:
    if isinstance(value, Residue):
        value = value.items[0] if len(value.items) == 1 else value
    return value.expression if isinstance(value, Quantity) else None
