"""Whether two scalar expressions are the same value, or the same function of their variables."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rewards.equality.comparison import Comparison, Outcome, different, equal, undecided
from rewards.equality.numbers.arithmetic import (
    COMPLEX,
    DIGITS,
    REAL,
    Arithmetic,
    ImpreciseError,
    NoValueError,
    long_arithmetic,
)
from rewards.equality.numbers.canonical import NoFormError, canonical, is_pure
from rewards.equality.numbers.exact import UndefinedError, exact, prime_powers, surely_differ
from rewards.equality.numbers.numeric import (
    POINTS,
    STEPPED_POINTS,
    Evaluator,
    has_kinks,
    is_complex,
    probe,
)
from rewards.equality.numbers.sampling import named_numbers
from rewards.equality.values.expressions import (
    INFINITY,
    MINUS_INFINITY,
    Apply,
    Expression,
    Number,
    quotient,
    symbols,
    traits,
)
from rewards.errors import LimitHitError, UnreadableError

AGREEMENTS = 4
"""Probe points at which two functions must agree to sixty digits."""
_LONG_BUDGET = 1_500
_FULL_BUDGET = 300
"""Digits from which fewer steps are taken, for each costs more."""
_AGREED = 40
"""Digits in which two values must agree, counted from the least term of a sum."""
_SEEN = 20
"""Decimal digits between two terms that leave enough of the lesser in those."""
_MAX_SPREAD = 350
_WHOLE = frozenset({"n", "m", "k"})


def same(ours: Expression, theirs: Expression, real_odd_roots: bool = True) -> Comparison:
    """Compare two expressions by value.

    Raises:
        LimitHitError: Deciding needs more work than is allowed.
    """
    if type(ours) is Number and type(theirs) is Number:
        return equal("value_exact") if ours.value == theirs.value else different("value_differs")
    if ours == theirs:
        return equal("same_expression")
    infinite = (INFINITY, MINUS_INFINITY)
    if ours in infinite or theirs in infinite:
        return different("value_differs")
    names = symbols(ours) | symbols(theirs)
    found = _same(ours, theirs, names, real_odd_roots)
    if found.outcome is Outcome.DIFFERENT and (has_plain_log(ours) or has_plain_log(theirs)):
        return _same(decimal_log(ours), decimal_log(theirs), names, real_odd_roots)
    return found


def _same(
    ours: Expression, theirs: Expression, names: frozenset[str], real_odd_roots: bool
) -> Comparison:
    if not names:
        try:
            return _same_value(ours, theirs, real_odd_roots)
        except LimitHitError:
            powers = prime_powers(ours), prime_powers(theirs)
            if powers[0] is not None and powers[1] is not None:
                same_powers = powers[0] == powers[1]
                return equal("prime_powers") if same_powers else different("value_differs")
            if surely_differ(ours, theirs):
                return different("magnitude_differs", "the logarithms differ")
            raise
    return _NumericTest(ours, theirs, names, real_odd_roots).decide()


def has_plain_log(node: Expression) -> bool:
    """Whether a logarithm stands there without its base: natural to some, decimal to others."""
    return "log" in traits(node)


def decimal_log(node: Expression) -> Expression:
    """The expression with such logarithms read as decimal ones."""
    if type(node) is not Apply:
        return node
    arguments = tuple(decimal_log(part) for part in node.arguments)
    if node.operation == "log":
        return quotient(Apply("ln", arguments), Apply("ln", (Number(Fraction(10)),)))
    return Apply(node.operation, arguments)


def _same_value(ours: Expression, theirs: Expression, real_odd_roots: bool) -> Comparison:
    try:
        a, b = exact(ours, real_odd_roots), exact(theirs, real_odd_roots)
    except UndefinedError:
        return different("undefined", "one of them divides by zero")
    if a is not None and b is not None:
        return equal("value_exact") if a == b else different("value_differs")
    return _NumericTest(ours, theirs, frozenset(), real_odd_roots).decide()


@dataclass(slots=True)
class _NumericTest:
    ours: Expression
    theirs: Expression
    names: frozenset[str]
    real_odd_roots: bool
    centres: tuple[Fraction, ...] = ()
    count: int = POINTS
    whole: bool = False
    fields: tuple[Any, ...] = ()
    """Arithmetics to try, in order."""

    def __post_init__(self) -> None:
        if is_complex(self.ours) or is_complex(self.theirs):
            self.fields = (COMPLEX,)
        else:
            self.fields = (REAL,) if self.names else (REAL, COMPLEX)
        if self.names and has_kinks(self.ours, self.theirs):
            self.centres = tuple(named_numbers(self.ours, self.theirs))
            self.count = STEPPED_POINTS
            steps = (traits(self.ours) | traits(self.theirs)) & {"floor", "ceil"}
            self.whole = bool(steps) and self.names <= _WHOLE

    def point(self, index: int) -> dict[str, Fraction]:
        if self.whole:  # in floor(n/2), n is a whole number
            return {name: Fraction(2 + index + 7 * i) for i, name in enumerate(sorted(self.names))}
        beyond = index - self.count
        if beyond >= 0:
            # arccos has values between -1 and 1 only, the root of -1/(1 + x) below -1 only.
            scale = Fraction(1, 20) if beyond < POINTS else Fraction(-1)
            found = probe(self.names, beyond % POINTS)
            return {name: value * scale for name, value in found.items()}
        return probe(self.names, index, self.centres)

    def decide(self) -> Comparison:
        agreed = self.doubles(0)
        if agreed is False:
            return different("value_differs")
        form = self.forms()
        if form is not None:
            return form
        if self.names:
            for index in range(1, self.count):
                if self.doubles(index) is False:
                    return different("value_differs")
        return self.long()

    def forms(self) -> Comparison | None:
        """Proof by canonical form, if both have one."""
        try:
            a = canonical(self.ours, self.real_odd_roots)
            b = canonical(self.theirs, self.real_odd_roots)
        except (NoFormError, RecursionError):
            return None
        except UndefinedError:
            return different("undefined", "one of them divides by zero")
        if a == b:
            return equal("canonical_form")
        if is_pure(a) and is_pure(b):
            return different("value_differs")
        return None

    def doubles(self, index: int) -> bool | None:
        """Whether doubles agree at one point; `None` where they cannot say."""
        point = self.point(index)
        for field in self.fields:
            try:
                left, right = (Evaluator(point, field, self.real_odd_roots) for _ in range(2))
                a, b = left.value(self.ours), right.value(self.theirs)
            except NoValueError:
                continue
            except (ImpreciseError, LimitHitError, UnreadableError):
                return None
            if a != a or b != b:
                return None
            gap, size = abs(a - b), max(abs(a), abs(b))
            if gap <= 1e-9 * size:
                return True
            return None if gap <= 1e-6 * size or left.shaky or right.shaky else False
        return None

    def long(self) -> Comparison:
        """Agreement to many digits at several points."""
        agreements = 0
        limit: LimitHitError | None = None
        wanted = 1 if not self.names else self.count // 2 if self.centres else AGREEMENTS
        for index in range(self.count + 2 * POINTS if self.names else 1):
            if index >= self.count and agreements >= wanted:
                break
            try:
                agreed = self.long_at(index)
            except UnreadableError as error:
                return undecided(error.code, str(error))
            except LimitHitError as error:
                limit = error
                continue
            if agreed is False:
                return different("value_differs")
            agreements += agreed is True
            if agreements >= wanted and not self.centres:
                return equal("value_numeric")
        if agreements >= wanted:  # where there are kinks, every point was looked at
            return equal("value_numeric")
        if limit is not None:
            raise limit
        return undecided("no_value", "no value could be computed on both sides")

    def long_at(self, index: int) -> bool | None:
        """Whether both agree at one point, as far as the digits go that are right."""
        point = self.point(index)
        for field in self.fields:
            try:
                agreed, spread = self.agreed(point, field, DIGITS, 0)
                if not agreed or spread <= _SEEN:
                    return agreed
                if spread > _MAX_SPREAD:
                    return None
                # Few sets of digits, for each has a context that is kept.
                digits = -(-(spread + DIGITS[0]) // 100) * 100
                return self.agreed(point, field, (digits, digits + 100), spread)[0]
            except NoValueError:
                continue
            except ImpreciseError:
                return None
        return None

    def agreed(
        self, point: dict[str, Fraction], field: Arithmetic, digits: tuple[int, int], spread: int
    ) -> tuple[bool | None, int]:
        """Whether both agree, as seen in so many digits, and how far terms of sums lie apart."""
        values = list[tuple[Any, Any]]()
        for count in digits:
            arithmetic = long_arithmetic(field is COMPLEX, count)
            budget = _LONG_BUDGET * _FULL_BUDGET // max(count, _FULL_BUDGET)
            sides = [Evaluator(point, arithmetic, self.real_odd_roots, budget) for _ in range(2)]
            a, b = sides[0].value(self.ours), sides[1].value(self.theirs)
            if not (arithmetic.module.isfinite(a) and arithmetic.module.isfinite(b)):
                return None, 0
            values.append((a, b))
            seen = max(side.spread for side in sides)
        return _agree(values, arithmetic.module.mpf(10) ** -(_AGREED + spread)), seen


def _agree(values: list[tuple[Any, Any]], tolerance: Any) -> bool | None:
    """Compares values of fewer and of more digits; `None` if too many digits were lost."""
    (a, b), (better_a, better_b) = values
    error = max(abs(a - better_a), abs(b - better_b))
    size = max(abs(better_a), abs(better_b))
    gap = abs(better_a - better_b)
    if gap <= tolerance * size:
        return True
    if gap > 1000 * error:
        return False
    return True if error <= tolerance * max(size, 1) else None
