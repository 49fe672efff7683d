"""Decide with sympy, in a limited child, what our own rules leave open: integrals, limits, series.

sympy objects are built node by node; no text of an answer is ever parsed by it.
"""

from typing import Any

import sympy

from rewards.equality.syntax.vocabulary import names
from rewards.equality.values.expressions import (
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    from_plain,
)

_DIGITS = 30
_AGREED = 1e-20
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}
_FUNCTIONS: dict[str, Any] = {
    "add": sympy.Add,
    "mul": sympy.Mul,
    "pow": sympy.Pow,
    "neg": lambda value: -value,
    "inv": lambda value: 1 / value,
    "percent": lambda value: value / 100,
    "degree": lambda value: value * sympy.pi / 180,
    "abs": sympy.Abs,
    "ln": sympy.log,
    "log": sympy.log,
    "floor": sympy.floor,
    "ceil": sympy.ceiling,
    "factorial": sympy.factorial,
    "binomial": sympy.binomial,
    "max": sympy.Max,
    "min": sympy.Min,
    "gcd": sympy.gcd,
    "lcm": sympy.lcm,
    "mod": sympy.Mod,
    "sgn": sympy.sign,
    "re": sympy.re,
    "im": sympy.im,
    **{
        name: getattr(sympy, name)
        for name in names("sin cos tan sec csc cot sinh cosh tanh sech csch coth")
    },
    **{
        "arc" + name: getattr(sympy, "a" + name)
        for name in ("sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh")
    },
}


def decide(request: list[Any]) -> bool | None:
    """Whether two trees are equal; `None` where sympy cannot say either."""
    try:
        ours, theirs = (_build(from_plain(plain)) for plain in request)
        return _same(ours.doit(), theirs.doit())
    except Exception:  # noqa: BLE001  # sympy fails on odd input with anything: no machine's fault
        return None


def _same(ours: Any, theirs: Any) -> bool | None:
    gap = ours - theirs
    if gap == 0:
        return True
    if gap.has(sympy.nan, sympy.zoo, sympy.Integral, sympy.Limit) and gap.free_symbols:
        return None
    points = [{}] if not gap.free_symbols else _points(gap)
    agreed = 0
    for point in points:
        values = [side.subs(point).evalf(_DIGITS) for side in (ours, theirs)]
        if not all(value.is_number and value.is_finite for value in values):
            continue
        difference = abs(complex(values[0] - values[1]))
        if difference > _AGREED * max(1.0, *(abs(complex(value)) for value in values)):
            return False
        agreed += 1
    return True if agreed == len(points) else None


def _points(gap: Any) -> list[dict[Any, Any]]:
    names = sorted(gap.free_symbols, key=str)
    return [
        {name: sympy.Rational(7 * start + 3 * index + 2, 5) for index, name in enumerate(names)}
        for start in range(1, 5)
    ]


def _build(node: Expression) -> Any:
    if isinstance(node, Number):
        return sympy.Rational(node.value.numerator, node.value.denominator)
    if isinstance(node, Constant):
        return _CONSTANTS[node.name]
    if isinstance(node, Symbol):
        return sympy.Symbol(node.name, real=True)
    assert isinstance(node, Apply)
    parts = [_build(part) for part in node.arguments]
    if node.operation == "sum":
        return sympy.Sum(parts[3], (parts[0], parts[1], parts[2]))
    if node.operation == "product":
        return sympy.Product(parts[3], (parts[0], parts[1], parts[2]))
    if node.operation == "integral":
        return sympy.Integral(parts[3], (parts[0], parts[1], parts[2]))
    if node.operation == "limit":
        return sympy.Limit(parts[3], parts[0], parts[1], "+-" if parts[1].is_finite else "-")
    return _FUNCTIONS[node.operation](*parts)
