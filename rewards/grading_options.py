"""Where public graders and data sets disagree: one named switch each, and the default we defend."""

from dataclasses import dataclass
from enum import StrEnum


class Percent(StrEnum):
    """What `28%` equals besides itself."""

    EITHER = "either"
    """28 and 0.28, where exactly one side has the sign."""
    NUMBER = "number"
    """28 only."""
    FRACTION = "fraction"
    """0.28 only."""


class Degrees(StrEnum):
    r"""What `30^\circ` equals besides itself."""

    EITHER = "either"
    r"""30 and \pi/6."""
    NUMBER = "number"
    RADIANS = "radians"


class Units(StrEnum):
    """What becomes of `5 cm`."""

    OPTIONAL = "optional"
    """A missing unit is forgiven; two units must have one dimension and are converted."""
    REQUIRED = "required"
    """A unit in the reference must be in the answer."""


class Bases(StrEnum):
    """What becomes of the base in `52_8`."""

    REQUIRED = "required"
    """It must stand on both sides and be the same; base ten may be left out."""
    OPTIONAL = "optional"
    """A missing base is forgiven; two bases must be the same."""


class Boxes(StrEnum):
    """Which boxes of a response are its answer."""

    PARAGRAPH = "paragraph"
    """The last; others in its paragraph agree with it, or all together are the list asked for."""
    LAST = "last"
    """The last, whatever stands beside it."""


@dataclass(frozen=True, slots=True)
class GradingOptions:
    """How to judge where sources disagree; a compiled reference remembers it."""

    percent: Percent = Percent.EITHER
    degrees: Degrees = Degrees.EITHER
    units: Units = Units.OPTIONAL
    round_to_reference: bool = True
    """A decimal reference accepts an exact value that rounds to it at its own digits."""
    decimal_tolerance: float = 1e-7
    """Relative error that a decimal answer may have against an exact reference."""
    decimal_comma: bool = False
    """`0,5` is 0.5 and not the list 0, 5."""
    assignment: bool = True
    """`x = 5` answers 5, if the left side is a name."""
    consistent_chains: bool = True
    r"""`41 = 42` is no answer at all, and neither is `42 \approx 50`."""
    choice_letters: bool = True
    """`(A)`, `A.` and `A) seven` answer A; two letters are wrong."""
    bases: Bases = Bases.REQUIRED
    ratios: bool = True
    """`3:4` is 3/4 where the other side is a number."""
    ordered_lists: bool = False
    """`1, 2` differs from `2, 1`. Tuples and points are always ordered."""
    real_odd_roots: bool = True
    """The cube root of -8 is -2, not the principal complex root."""
    words: bool = True
    """Text is compared without case and punctuation; yes is true, DNE is undefined."""
    control_characters: bool = False
    """Control characters and lone surrogates are tolerated inside an answer."""
    boxes: Boxes = Boxes.PARAGRAPH
    closed_form: bool = False
    r"""A reference that is a written number wants one: an integer, decimal, fraction or power, or
    one times a power of ten, with sign, percent and unit, or a chain that has one. `\log_2 16` and
    `3 \cdot 4` copy the question. An exact value still answers the decimal it rounds to, and an
    expression answers an expression. On in training (`TRAINING`), off in evaluation."""
    sympy_fallback: bool = True
    """Ask the sympy workers where our own rules cannot decide; else that is WRONG, `undecided`."""

    def __post_init__(self) -> None:
        for name, kind in (
            ("percent", Percent),
            ("degrees", Degrees),
            ("units", Units),
            ("bases", Bases),
            ("boxes", Boxes),
        ):
            object.__setattr__(self, name, kind(getattr(self, name)))


DEFAULT = GradingOptions()

TRAINING = GradingOptions(closed_form=True)
"""What a reward should use: the default, but an answer must be worked out."""
