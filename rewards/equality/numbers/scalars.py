r"""Equality of single quantities, with the options_list on percent, degrees and decimals.

| reference     | answer               | equal | rule                                           |
| ------------- | -------------------- | ----- | ---------------------------------------------- |
| `28\%`        | `28`, `0.28`         | yes   | percent: exactly one side has the sign         |
| `30^\circ`    | `30`, `\pi/6`        | yes   | degrees                                        |
| `41.4\%`      | `\sqrt{2}-1`         | yes   | an exact value rounds to the decimal reference |
| `30.52`       | `\frac{1587}{52}`    | yes   | the same                                       |
| `30.52`       | `30.5193`            | no    | two decimals are equal as written              |
| `30.52`       | `30.519230769230770` | yes   | a printed double is an exact value             |
| `\frac{1}{3}` | `0.33`               | no    | an exact reference wants seven digits          |
| `\frac{1}{3}` | `0.33333333`         | yes   | the same                                       |
"""

from fractions import Fraction
from typing import Any

from rewards.equality.comparison import Comparison, any_of, different, equal
from rewards.equality.numbers.arithmetic import (
    COMPLEX,
    REAL,
    ImpreciseError,
    NoValueError,
    long_arithmetic,
)
from rewards.equality.numbers.exact import exact
from rewards.equality.numbers.identity import same
from rewards.equality.numbers.numeric import (
    POINTS,
    Evaluator,
    is_complex,
    probe,
)
from rewards.equality.values.expressions import (
    Apply,
    Expression,
    Number,
    Symbol,
    decimals,
    has_decimal,
    is_decimal,
    symbols,
)
from rewards.errors import LimitHitError, UnreadableError
from rewards.grading_options import Bases, Degrees, GradingOptions, Percent

_PRINTED_DOUBLE = 12
"""Significant digits from which a decimal is taken for a printed double."""
_SAFE_INTEGER = Fraction(1, 10**6)


def equal_scalars(reference: Expression, answer: Expression, options: GradingOptions) -> Comparison:
    """Whether an answer is the quantity asked for."""
    if not (_based(reference) and _based(answer)):  # 0x400 is 1024, 0b1001 is 1001_2
        reference, answer = _printed(reference) or reference, _printed(answer) or answer
    if _based(reference) or _based(answer):
        if options.bases is Bases.REQUIRED or (_based(reference) and _based(answer)):
            return _equal_based(reference, answer)
        reference, answer = _without_base(reference), _without_base(answer)
    results = [same(reference, answer, options.real_odd_roots)]
    if not results[0].equal:
        results += [
            same(a, b, options.real_odd_roots) for a, b in _marked(reference, answer, options)
        ]
    verdict = any_of(results, results[0])
    if verdict.equal or not (has_decimal(reference) or has_decimal(answer)):
        return verdict
    for a, b in [(reference, answer), *_marked(reference, answer, options)]:
        if _equal_decimals(a, b, options):
            return equal("value_decimal")
    return verdict


def _printed(node: Expression) -> Expression | None:
    """The plain number that Python writes as `0x400`, or that is written in base ten."""
    if type(node) is not Apply or node.operation != "base":
        return None
    if len(node.arguments) == 3:
        return node.arguments[2]
    return node.arguments[0] if node.arguments[1] == Number(Fraction(10)) else None


def _based(node: Expression) -> bool:
    while type(node) is Apply and node.operation == "neg":
        node = node.arguments[0]
    return type(node) is Apply and node.operation == "base"


def _without_base(node: Expression) -> Expression:
    if type(node) is Apply and node.operation == "neg":
        return Apply("neg", (_without_base(node.arguments[0]),))
    return node.arguments[0] if type(node) is Apply and node.operation == "base" else node


def _equal_based(reference: Expression, answer: Expression) -> Comparison:
    values = [_based_value(node) for node in (reference, answer)]
    if reference == answer or (None not in values and values[0] == values[1]):
        return equal("base")
    return different("base_differs", "digits and base must both be the same")


def _based_value(node: Expression) -> tuple[Fraction, Fraction] | None:
    """The value and base of `1001_2`, and of Python's `0b1001`."""
    sign = 1
    while type(node) is Apply and node.operation == "neg":
        sign, node = -sign, node.arguments[0]
    if type(node) is not Apply or node.operation != "base" or type(node.arguments[1]) is not Number:
        return None
    digits, base = node.arguments[0], node.arguments[1].value
    if type(digits) is Number and digits.value.denominator != 1:
        return None
    spelled = (
        digits.name
        if type(digits) is Symbol
        else str(digits.value)
        if type(digits) is Number
        else ""
    )
    try:
        return Fraction(sign * int(spelled, int(base))), base
    except ValueError:
        return None


def _marked(
    reference: Expression, answer: Expression, options: GradingOptions
) -> list[tuple[Expression, Expression]]:
    """The readings of a percent or degree sign that stands on one side only."""
    out: list[tuple[Expression, Expression]] = []
    for mark, wanted in (
        ("percent", options.percent is not Percent.FRACTION),
        ("degree", options.degrees is not Degrees.RADIANS),
    ):
        ours, theirs = _strip(reference, mark), _strip(answer, mark)
        if wanted and (ours is None) != (theirs is None):
            if mark == "percent" and ours is None and not _at_least_one(reference):
                continue  # 50% answers 50, but 0.5% does not answer 0.5
            out.append((ours or reference, theirs or answer))
    return out


def _at_least_one(node: Expression) -> bool:
    value = None if symbols(node) else number(node)
    return value is not None and abs(value) >= 1


def _strip(node: Expression, mark: str) -> Expression | None:
    """The expression without its sign, `None` if it has none."""
    if type(node) is not Apply:
        return None
    if node.operation == mark:
        return node.arguments[0]
    if node.operation == "neg":
        inner = _strip(node.arguments[0], mark)
        return None if inner is None else Apply("neg", (inner,))
    return None


def _equal_decimals(reference: Expression, answer: Expression, options: GradingOptions) -> bool:
    if symbols(reference) or symbols(answer):
        return symbols(reference) == symbols(answer) and _close_functions(
            reference, answer, options.decimal_tolerance
        )
    a, b = number(reference), number(answer)
    if a is None or b is None:
        return _close_complex(reference, answer, options.decimal_tolerance)
    if is_decimal(reference) and options.round_to_reference and not _is_printed_double(reference):
        if not has_decimal(answer) or _is_printed_double(answer):
            return _rounds_to(b, a, reference)
        return False
    if is_decimal(reference) and is_decimal(answer):
        return False
    gap = abs(a - b)
    if gap > Fraction(options.decimal_tolerance) * max(abs(a), abs(b)):
        return False
    # 5.000000000000001 is a double's 5, but 1023.9999999 does not mean 1024
    return a.denominator != 1 or (gap < _SAFE_INTEGER and _is_printed_double(answer))


def _is_printed_double(node: Expression) -> bool:
    while type(node) is Apply and node.operation in ("neg", "percent"):
        node = node.arguments[0]
    if type(node) is not Number:
        return False
    digits = str(abs(node.value.numerator * 10**node.decimals // node.value.denominator))
    return len(digits.lstrip("0")) >= _PRINTED_DOUBLE


def _rounds_to(value: Fraction, target: Fraction, written: Expression) -> bool:
    """Whether a value rounds to the decimal as written; a target of one digit is no measure."""
    step = Fraction(1, 10 ** decimals(written))
    if type(written) is Apply and _strip(written, "percent") is not None:
        step /= 100
    gap = abs(value - target)
    if gap > step / 2 or (gap == step / 2 and abs(target) < abs(value)):
        return False  # ties round away from zero, and never both ways
    return abs(target) >= 10 * step or abs(value - target) <= abs(target) / 50


def number(node: Expression) -> Fraction | None:
    """A real value to about sixty digits, `None` where there is none."""
    value = exact(node)
    if value is not None:
        return value
    for is_complex_field in (False, True):
        field = long_arithmetic(is_complex_field)
        try:
            result = Evaluator({}, field).value(node)
        except (NoValueError, ImpreciseError, UnreadableError, LimitHitError):
            continue
        return _to_fraction(result, field.module)
    return None


def _to_fraction(value: Any, module: Any) -> Fraction | None:
    if not module.isfinite(value):
        return None
    if abs(module.im(value)) > module.mpf(10) ** -40 * (1 + abs(value)):
        return None
    sign, mantissa, power, _ = module.re(value)._mpf_
    if abs(power) > 100_000:
        return None
    whole = Fraction(int(mantissa)) * Fraction(2) ** power
    return Fraction(-whole if sign else whole)


def _close_complex(reference: Expression, answer: Expression, tolerance: float) -> bool:
    if not (is_complex(reference) or is_complex(answer)):
        return False
    try:
        a, b = Evaluator({}, COMPLEX).value(reference), Evaluator({}, COMPLEX).value(answer)
    except (NoValueError, ImpreciseError, UnreadableError, LimitHitError):
        return False
    return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))


def _close_functions(reference: Expression, answer: Expression, tolerance: float) -> bool:
    agreements = 0
    for index in range(POINTS):
        point = probe(symbols(reference), index)
        try:
            a, b = (Evaluator(point, REAL).value(node) for node in (reference, answer))
        except (NoValueError, ImpreciseError, UnreadableError, LimitHitError):
            continue
        if not abs(a - b) <= tolerance * max(abs(a), abs(b)):
            return False
        agreements += 1
    return agreements >= 4
