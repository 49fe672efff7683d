"""The kinds of number that expressions are evaluated in, and every function's value in them."""

import cmath
import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from rewards.equality import limits
from rewards.errors import LimitHitError, UnreadableError

DIGITS = (50, 80)
"""Every value is computed twice: what the two do not share is rounding error."""


class NoValueError(Exception):
    """No value at this point: undefined there, or not within the reals."""


class ImpreciseError(Exception):
    """Doubles cannot be trusted here; more digits may."""


class Arithmetic:
    """Numbers and functions of one kind; `module` has them by the names of `math`."""

    module: Any = math
    complex = False

    def number(self, value: Fraction) -> Any:
        """A rational in this arithmetic."""
        return value.numerator / value.denominator

    def constant(self, name: str) -> Any:
        """The value of pi, e or i."""
        if name == "pi":
            return self.module.pi
        if name == "e":
            return self.module.e
        if name == "i" and self.complex:
            return self.imaginary()
        raise NoValueError

    def imaginary(self) -> Any:
        """The imaginary unit."""
        return 1j

    def power(self, base: Any, exponent: Any, ratio: Fraction | None, odd_roots: bool) -> Any:
        """Base to the exponent; `ratio` is the exponent if it was written as a rational."""
        size = abs(base)
        if size == 0:
            if (ratio is not None and ratio <= 0) or ratio is None:
                raise NoValueError
            return base
        logarithm = abs(math.log(float(size))) if 1e-300 < size < 1e300 else 700.0
        if abs(exponent) * logarithm > self.largest():
            self.too_large()
        if ratio is None and not self.complex and exponent == round(float(exponent)):
            ratio = Fraction(round(float(exponent)))
        if ratio is not None:
            if ratio.denominator == 1:
                return base**ratio.numerator
            negative = self.is_negative(base)
            if negative and ratio.denominator % 2 and odd_roots:
                root = self.exponential(self.logarithm(abs(base)) * exponent)
                return -root if ratio.numerator % 2 else root
        return self.exponential(exponent * self.logarithm(base))

    def is_negative(self, value: Any) -> bool:
        """Whether it is a negative real number."""
        if self.complex:
            return bool(abs(value.imag) < 1e-12 * abs(value) and value.real < 0)
        return bool(value < 0)

    def logarithm(self, value: Any) -> Any:
        """Natural logarithm."""
        return self.module.log(value)

    def exponential(self, value: Any) -> Any:
        """E to the value."""
        if abs(value) > self.largest():
            self.too_large()
        return self.module.exp(value)

    def largest(self) -> float:
        """Largest logarithm of a number of this kind."""
        return 690.0

    def too_large(self) -> None:
        """What to do about a number beyond `largest`."""
        raise ImpreciseError

    def real(self, value: Any) -> Any:
        """A real number for the functions that need one."""
        if self.complex:
            if abs(value.imag) > 1e-9 * (1 + abs(value)):
                raise NoValueError
            return value.real
        return value

    def apply(self, name: str, values: list[Any]) -> Any:
        """The value of a function."""
        rule = _FUNCTIONS.get(name)
        if rule is None:
            raise UnreadableError("no_value", f"no value for {name}")
        return rule(self, values)

    def round_down(self, value: Any) -> Any:
        """Floor, unless the value is too near to an integer to say."""
        nearest = round(value)
        if abs(value - nearest) < 1e-9 * (1 + abs(value)):
            raise ImpreciseError
        return float(math.floor(value))

    def factorial(self, value: Any) -> Any:
        """Gamma of one more."""
        if self.complex or abs(value) > 160:
            raise ImpreciseError
        return math.gamma(value + 1)

    def binomial(self, top: Any, bottom: Any) -> Any:
        """Binomial coefficient of real arguments."""
        raise ImpreciseError


class ComplexArithmetic(Arithmetic):
    """Complex doubles."""

    module = cmath
    complex = True


class LongArithmetic(Arithmetic):
    """Real or complex numbers of many digits, in a context that this thread has for itself."""

    def __init__(self, is_complex: bool, digits: int) -> None:
        import mpmath

        self.module = mpmath.MPContext()
        self.module.dps = digits
        self.complex = is_complex

    def number(self, value: Fraction) -> Any:
        """A rational, rounded to so many digits."""
        return self.module.mpf(value.numerator) / value.denominator

    def constant(self, name: str) -> Any:
        """The constant, rounded to so many digits."""
        value = super().constant(name)
        return +value

    def imaginary(self) -> Any:
        """The imaginary unit."""
        return self.module.mpc(0, 1)

    def logarithm(self, value: Any) -> Any:
        """Natural logarithm; real arithmetic has none of a negative number."""
        if not self.complex and value <= 0:
            raise NoValueError
        return self.module.log(value)

    def largest(self) -> float:
        """Largest logarithm that is evaluated."""
        return limits.MAGNITUDE

    def too_large(self) -> None:
        """The bound on the size of numbers."""
        raise LimitHitError("limit_power", "a number too large to evaluate")

    def round_down(self, value: Any) -> Any:
        """Floor; what agrees with an integer but for the last twenty digits is that integer."""
        nearest = self.module.nint(value)
        if abs(value - nearest) < self.module.mpf(10) ** (20 - self.module.dps) * (1 + abs(value)):
            return nearest
        return self.module.floor(value)

    def factorial(self, value: Any) -> Any:
        """Gamma of one more."""
        if abs(value) > limits.FACTORIAL:
            raise LimitHitError("limit_factorial", f"a factorial beyond {limits.FACTORIAL}!")
        return self.module.gamma(value + 1)

    def binomial(self, top: Any, bottom: Any) -> Any:
        """Binomial coefficient."""
        if abs(top) > limits.BINOMIAL or abs(bottom) > limits.BINOMIAL:
            raise LimitHitError("limit_binomial", f"a binomial beyond {limits.BINOMIAL}")
        return self.module.binomial(top, bottom)


def _trigonometric(name: str) -> Callable[[Arithmetic, list[Any]], Any]:
    def rule(field: Arithmetic, values: list[Any]) -> Any:
        if abs(values[0]) > 1e6 and not isinstance(field, LongArithmetic):
            raise ImpreciseError
        if abs(values[0]) > 1e15:
            raise LimitHitError("limit_angle", "an angle too large to reduce")
        return getattr(field.module, name)(values[0])

    return rule


def _hyperbolic(name: str) -> Callable[[Arithmetic, list[Any]], Any]:
    def rule(field: Arithmetic, values: list[Any]) -> Any:
        if abs(values[0]) > field.largest():
            field.too_large()
        return getattr(field.module, name)(values[0])

    return rule


def _inverse_of(name: str) -> Callable[[Arithmetic, list[Any]], Any]:
    def rule(field: Arithmetic, values: list[Any]) -> Any:
        value = getattr(field.module, name)(values[0])
        if not field.complex and hasattr(value, "imag") and value.imag != 0:
            raise NoValueError
        return value

    return rule


def _reciprocal(name: str) -> Callable[[Arithmetic, list[Any]], Any]:
    return lambda field, values: 1 / field.apply(name, values)


def _of_reciprocal(name: str) -> Callable[[Arithmetic, list[Any]], Any]:
    return lambda field, values: field.apply(name, [1 / values[0]])


def _logarithm(field: Arithmetic, values: list[Any]) -> Any:
    if values[0] == 0:
        raise NoValueError
    return field.logarithm(values[0])


def _divisor(name: str) -> Callable[[Arithmetic, list[Any]], Any]:
    def rule(field: Arithmetic, values: list[Any]) -> Any:
        whole = [round(float(field.real(value))) for value in values]
        if any(value != number for value, number in zip(values, whole, strict=True)):
            raise NoValueError
        return field.number(Fraction(getattr(math, name)(*whole)))

    return rule


def _double_factorial(field: Arithmetic, value: Any) -> Fraction:
    whole = round(float(field.real(value)))
    if whole != value or whole < -1:
        raise NoValueError
    if whole > 160:
        raise LimitHitError("limit_factorial", "a double factorial beyond 160!!")
    return Fraction(math.prod(range(whole, 0, -2)))


def _modulo(field: Arithmetic, values: list[Any]) -> Any:
    top, bottom = (field.real(value) for value in values)
    return top - bottom * field.round_down(top / bottom)


_FUNCTIONS: dict[str, Callable[[Arithmetic, list[Any]], Any]] = {
    **{name: _trigonometric(name) for name in ("sin", "cos", "tan")},
    **{name: _hyperbolic(name) for name in ("sinh", "cosh", "tanh")},
    **{
        "arc" + name: _inverse_of(module_name)
        for name, module_name in (
            ("sin", "asin"),
            ("cos", "acos"),
            ("tan", "atan"),
            ("sinh", "asinh"),
            ("cosh", "acosh"),
            ("tanh", "atanh"),
        )
    },
    "sec": _reciprocal("cos"),
    "csc": _reciprocal("sin"),
    "cot": _reciprocal("tan"),
    "sech": _reciprocal("cosh"),
    "csch": _reciprocal("sinh"),
    "coth": _reciprocal("tanh"),
    "arcsec": _of_reciprocal("arccos"),
    "arccsc": _of_reciprocal("arcsin"),
    "arccot": _of_reciprocal("arctan"),
    "ln": _logarithm,
    "log": _logarithm,
    "neg": lambda field, values: -values[0],
    "inv": lambda field, values: 1 / values[0],
    "percent": lambda field, values: values[0] / 100,
    "arcminute": lambda field, values: values[0] * field.constant("pi") / 10_800,
    "arcsecond": lambda field, values: values[0] * field.constant("pi") / 648_000,
    "degree": lambda field, values: values[0] * field.constant("pi") / 180,
    "abs": lambda field, values: abs(values[0]),
    "sgn": lambda field, values: values[0] / abs(values[0]),
    "re": lambda field, values: values[0].real,
    "im": lambda field, values: values[0].imag,
    "floor": lambda field, values: field.round_down(field.real(values[0])),
    "ceil": lambda field, values: -field.round_down(-field.real(values[0])),
    "max": lambda field, values: max(field.real(value) for value in values),
    "min": lambda field, values: min(field.real(value) for value in values),
    "mod": _modulo,
    "gcd": _divisor("gcd"),
    "lcm": _divisor("lcm"),
    "factorial": lambda field, values: field.factorial(values[0]),
    "double_factorial": lambda field, values: field.number(_double_factorial(field, values[0])),
    "gamma_function": lambda field, values: field.factorial(values[0] - 1),
    "binomial": lambda field, values: field.binomial(*values),
}

REAL, COMPLEX = Arithmetic(), ComplexArithmetic()
_local = threading.local()


def long_arithmetic(is_complex: bool, digits: int = DIGITS[0]) -> LongArithmetic:
    """The arithmetic of this thread with so many digits."""
    name = f"{'complex' if is_complex else 'real'}{digits}"
    found: LongArithmetic | None = getattr(_local, name, None)
    if found is None:
        found = LongArithmetic(is_complex, digits)
        setattr(_local, name, found)
    return found
