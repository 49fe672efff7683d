r"""Sums of monomials over the rationals: an exact proof of equality for most answers.

Every rewriting is an identity, so equal forms are equal values. `\sqrt{12}` becomes 2 times the
atom 3 to the power 1/2, `(x+1)^2` is expanded, `(1/3)^x` is the atom 3^x to the power -1; what has
no rule becomes an opaque atom named after the canonical form of its arguments.
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import reduce
from typing import TypeAlias

from rewards.equality import limits
from rewards.equality.numbers.exact import UndefinedError
from rewards.equality.values.expressions import BINDERS, Apply, Constant, Expression, Number, Symbol
from rewards.errors import LimitHitError

Monomial: TypeAlias = tuple[tuple[str, Fraction], ...]
"""Atoms with their exponents, sorted by atom."""
Form: TypeAlias = dict[Monomial, Fraction]
"""Coefficients by monomial; no zero is kept."""

_ONE: Monomial = ()
_MARKS: dict[str, Form] = {
    "percent": {_ONE: Fraction(1, 100)},
    "degree": {(("c:pi", Fraction(1)),): Fraction(1, 180)},
    "arcminute": {(("c:pi", Fraction(1)),): Fraction(1, 10_800)},
    "arcsecond": {(("c:pi", Fraction(1)),): Fraction(1, 648_000)},
}
_MAX_EXPANSION = 12
_MAX_PRIME = 1_000


class NoFormError(Exception):
    """The expression grows too large, or has a part that is not a function of its arguments."""


def canonical(node: Expression, real_odd_roots: bool = True) -> Form:
    """The canonical form.

    Raises:
        NoFormError: There is none of bounded size.
        UndefinedError: It divides by zero.
    """
    return _Reader(real_odd_roots).form(node)


def is_pure(form: Form) -> bool:
    """Whether distinct forms of this kind differ in value: polynomials over algebraic numbers."""
    return all(
        (atom[0] == "s" and exponent.denominator == 1 and exponent > 0)
        or atom[0] == "p"
        or atom == "i"
        or (atom == "c:pi" and exponent.denominator == 1)
        for monomial in form
        for atom, exponent in monomial
    )


class _Reader:
    def __init__(self, real_odd_roots: bool) -> None:
        self.real_odd_roots = real_odd_roots
        self.work = 0

    def form(self, node: Expression) -> Form:
        if type(node) is Number:
            return {_ONE: node.value} if node.value else {}
        if type(node) is Constant:
            return {((_constant(node.name), Fraction(1)),): Fraction(1)}
        if type(node) is Symbol:
            return {(("s:" + node.name, Fraction(1)),): Fraction(1)}
        assert type(node) is Apply
        return self.applied(node, node.operation, node.arguments)

    def applied(self, node: Apply, operation: str, arguments: tuple[Expression, ...]) -> Form:
        if operation == "add":
            return _added(self.form(child) for child in arguments)
        if operation == "neg":
            return _scaled(self.form(arguments[0]), Fraction(-1))
        if operation == "mul":
            return reduce(self.product, [self.form(child) for child in arguments])
        if operation == "inv":
            return self.power(self.form(arguments[0]), Fraction(-1))
        if operation in _MARKS:
            return self.product(self.form(arguments[0]), _MARKS[operation])
        if operation == "log":
            return self.opaque(Apply("ln", arguments))
        if operation == "pow":
            return self.raised(self.form(arguments[0]), self.form(arguments[1]))
        return self.opaque(node)

    def opaque(self, node: Apply) -> Form:
        if node.operation in ("pm", "mp", "base"):
            raise NoFormError
        if node.operation in BINDERS:
            bound, low, high, body = node.arguments
            assert type(bound) is Symbol
            parts = [low, high, _renamed(body, bound.name)]
        else:
            parts = list(node.arguments)
        inner = ",".join(_name(self.form(part)) for part in parts)
        return {((f"f:{node.operation}({inner})", Fraction(1)),): Fraction(1)}

    def product(self, left: Form, right: Form) -> Form:
        self.work += len(left) * len(right)
        if self.work > limits.PRODUCTS or len(left) * len(right) > limits.TERMS**2:
            raise NoFormError
        total: Form = {}
        for ours, a in left.items():
            for theirs, b in right.items():
                monomial, factor = _joined(ours, theirs)
                total[monomial] = total.get(monomial, Fraction(0)) + a * b * factor
        return _checked(total)

    def power(self, base: Form, exponent: Fraction) -> Form:
        if exponent == 1:
            return base
        if not base:
            if exponent <= 0:
                raise UndefinedError
            return {}
        if len(base) == 1:
            ((monomial, coefficient),) = base.items()
            return self.monomial_power(monomial, coefficient, exponent)
        if exponent.denominator == 1 and 0 <= exponent <= _MAX_EXPANSION:
            total: Form = {_ONE: Fraction(1)}
            for _ in range(exponent.numerator):
                total = self.product(total, base)
            return total
        return self.sum_power(base, exponent)

    def sum_power(self, base: Form, exponent: Fraction) -> Form:
        """A sum that is not expanded, stripped of its leading coefficient."""
        lead = base[min(base)]
        if exponent.denominator != 1:
            lead = abs(lead)
        atom = f"b:{_name(_scaled(base, 1 / lead))}"
        outside = self.monomial_power(_ONE, lead, exponent)
        return self.product({((atom, exponent),): Fraction(1)}, outside)

    def monomial_power(self, monomial: Monomial, coefficient: Fraction, exponent: Fraction) -> Form:
        if exponent.denominator == 1:
            total: Form = {_ONE: _bounded_power(coefficient, exponent.numerator)}
            for atom, power in monomial:
                total = self.product(total, _atom_power(atom, power * exponent))
            return total
        sign, total = self.sign_root(coefficient, exponent)
        for prime, power in _factors(abs(coefficient)):
            total = self.product(total, _atom_power(f"p:{prime}", power * exponent))
        for atom, power in monomial:
            if (atom[0] not in "cp" and power.denominator == 1 and abs(power) != 1) or atom == "i":
                raise NoFormError  # the root of a square is no power of the symbol
            if sign < 0 or (len(monomial) > 1 and atom[0] not in "cp"):
                raise NoFormError
            total = self.product(total, _atom_power(atom, power * exponent))
        return total

    def sign_root(self, coefficient: Fraction, exponent: Fraction) -> tuple[int, Form]:
        one: Form = {_ONE: Fraction(1)}
        if coefficient > 0:
            return 1, one
        if exponent.denominator % 2 and self.real_odd_roots:
            return 1, one if exponent.numerator % 2 == 0 else {_ONE: Fraction(-1)}
        if exponent.denominator == 2:
            return -1, _atom_power("i", exponent * 2)
        raise NoFormError

    def raised(self, base: Form, exponent: Form) -> Form:
        if not exponent:
            return {_ONE: Fraction(1)}
        constant = exponent.get(_ONE, Fraction(0))
        if len(exponent) == 1 and _ONE in exponent:
            return self.power(base, constant)
        if len(base) == 1 and _ONE in base:
            if base[_ONE] <= 0:
                raise NoFormError
            atoms = [(str(prime), power) for prime, power in _factors(base[_ONE])]
        else:
            atoms = [(_name(base), Fraction(1))]
        total = self.power(base, constant) if constant else {_ONE: Fraction(1)}
        for monomial, coefficient in exponent.items():
            if monomial != _ONE:
                tail = _name({monomial: Fraction(1)})
                for name, power in atoms:
                    piece: Form = {((f"w:{name}^{tail}", power * coefficient),): Fraction(1)}
                    total = self.product(total, piece)
        return total


def _constant(name: str) -> str:
    if name == "oo":
        raise NoFormError
    return "i" if name == "i" else "c:" + name


def _renamed(body: Expression, name: str) -> Expression:
    if type(body) is Symbol:
        return Symbol("bound") if body.name == name else body
    if type(body) is Apply:
        return Apply(body.operation, tuple(_renamed(child, name) for child in body.arguments))
    return body


def _checked(form: Form) -> Form:
    if len(form) > limits.TERMS:
        raise NoFormError
    return {monomial: value for monomial, value in form.items() if value}


def _added(forms: Iterable[Form]) -> Form:
    total: Form = {}
    for form in forms:
        for monomial, value in form.items():
            total[monomial] = total.get(monomial, Fraction(0)) + value
    return _checked(total)


def _scaled(form: Form, factor: Fraction) -> Form:
    return {monomial: value * factor for monomial, value in form.items()}


def _joined(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """Product of two monomials: exponents add, whole powers of primes and of i move out."""
    if not left or not right:
        return left or right, Fraction(1)
    powers = dict(left)
    for atom, exponent in right:
        powers[atom] = powers.get(atom, Fraction(0)) + exponent
    factor = Fraction(1)
    for atom in [atom for atom in powers if atom == "i" or atom[0] == "p"]:
        ((monomial, value),) = _atom_power(atom, powers.pop(atom)).items()
        factor *= value
        powers.update(monomial)
    return tuple(sorted((a, e) for a, e in powers.items() if e)), factor


def _atom_power(atom: str, exponent: Fraction) -> Form:
    if exponent == 0:
        return {_ONE: Fraction(1)}
    if atom == "i":
        if exponent.denominator != 1:
            raise NoFormError
        quarter = exponent.numerator % 4
        monomial = ((atom, Fraction(1)),) if quarter % 2 else _ONE
        return {monomial: Fraction(1 if quarter < 2 else -1)}
    if atom[0] == "p":
        whole = exponent.numerator // exponent.denominator
        rest = exponent - whole
        outside = _bounded_power(Fraction(int(atom[2:])), whole)
        return {((atom, rest),) if rest else _ONE: outside}
    return {((atom, exponent),): Fraction(1)}


def _bounded_power(base: Fraction, exponent: int) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > limits.BITS and base not in (1, -1):
        raise LimitHitError("limit_power", f"a power of more than {limits.BITS} bits")
    if base == 0 and exponent < 0:
        raise UndefinedError
    return Fraction(base**exponent)


def _factors(value: Fraction) -> list[tuple[int, Fraction]]:
    """Prime factors with exponents; a cofactor without small factors counts as a prime."""
    out = list[tuple[int, Fraction]]()
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        rest = number
        divisor = 2
        while divisor * divisor <= rest and divisor < _MAX_PRIME:
            count = 0
            while rest % divisor == 0:
                rest //= divisor
                count += 1
            if count:
                out.append((divisor, Fraction(sign * count)))
            divisor += 1 if divisor == 2 else 2
        if rest > 1:
            if rest > _MAX_PRIME**2:
                raise NoFormError
            out.append((rest, Fraction(sign)))
    return out


def _name(form: Form) -> str:
    """A name that only this form has."""
    parts = [
        f"{value}*" + ".".join(f"<{atom}>^{power}" for atom, power in monomial)
        for monomial, value in sorted(form.items())
    ]
    name = "+".join(parts) or "0"
    if len(name) > limits.LENGTH:
        raise NoFormError
    return name
