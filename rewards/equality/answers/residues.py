r"""Residue classes: `2 \pmod 7`, `x \equiv 1, 3 \pmod 8`; `17 \bmod 5` is a number."""

from collections.abc import Callable

from rewards.equality.comparison import Comparison, different, equal, undecided
from rewards.equality.numbers.exact import exact
from rewards.equality.syntax.parser import parse
from rewards.equality.syntax.token_spans import Tokens
from rewards.equality.values.expressions import Expression
from rewards.equality.values.kinds import Chain, Group, Quantity, Residue, Value
from rewards.errors import UnreadableError


def read_residue(tokens: Tokens, statement: Callable[[Tokens], Value]) -> Residue | None:
    r"""`... \\pmod{7}`, `... (mod 7)` at the end of an answer."""
    mark = next((i for i, token in enumerate(tokens) if token.text in ("pmod", "mod")), 0)
    head, tail = tokens[:mark], tokens[mark + 1 :]
    if tokens[mark].text == "mod":
        if not head or head[-1].text != "(" or not tail or tail[-1].text != ")":
            return None
        head, tail = head[:-1], tail[:-1]
    if not head or not tail:
        return None
    try:
        modulus = parse(tail)
    except UnreadableError:
        return None
    value = statement(head)
    items = value.items if isinstance(value, Group) else (value,)
    return Residue(tuple(_said(item) for item in items), modulus)


def _said(value: Value) -> Value:
    return value.parts[-1] if isinstance(value, Chain) and set(value.operators) == {"="} else value


def compare_residues(reference: Value, answer: Value) -> Comparison:
    """Same modulus, same classes; a plain number stands for itself only."""
    if not isinstance(reference, Residue) or not isinstance(answer, Residue):
        ours, theirs = _sole(reference), _sole(answer)
        if ours is None or theirs is None:
            return different("type_differs", "a residue class against something else")
        same = _whole(ours) == _whole(theirs)
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
