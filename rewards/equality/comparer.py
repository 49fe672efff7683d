"""Compare two values by their types; what has no rule differs, the rest is undecided."""

from dataclasses import dataclass
from fractions import Fraction

from rewards.equality.answers.collections import (
    compare_ordered,
    compare_unordered,
    expand,
    flatten,
    in_order,
    reordered,
)
from rewards.equality.answers.conditions import as_conditions, compare_orderings, compare_sets
from rewards.equality.answers.families import compare_families
from rewards.equality.answers.matrices import compare_matrices, with_unit_vectors
from rewards.equality.answers.piecewise import compare_functions, compare_piecewise
from rewards.equality.answers.relations import (
    answer_of,
    as_quotient,
    combined,
    compare_solutions,
    equal_chains,
    equal_equations,
    is_contradiction,
    named_matrix,
)
from rewards.equality.answers.residues import compare_residues
from rewards.equality.answers.units import Unit
from rewards.equality.answers.words import equal_texts, explained, phrase, roman
from rewards.equality.comparison import Comparison, all_of, different, equal, undecided
from rewards.equality.numbers.scalars import equal_scalars
from rewards.equality.syntax.tokens import ORDERINGS
from rewards.equality.values.expressions import (
    INFINITY,
    Apply,
    Expression,
    Number,
    Symbol,
    choices,
    symbols,
)
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Labelled,
    Matrix,
    Opaque,
    Permutation,
    Piecewise,
    Quantity,
    Ratio,
    Reals,
    Residue,
    Row,
    SetOperation,
    Text,
    Value,
    is_ordering,
)
from rewards.errors import LimitHitError
from rewards.grading_options import GradingOptions, Units

_MAX_COMPARISONS = 3_000
_INITIALS = {"yes": "yt", "no": "nf"}
"""First letters of yes, true, no and false."""
_TEMPERATURE = (("temperature", 1),)


@dataclass(slots=True)
class Comparer:
    """Compares values under one options, with one budget for all that is inside them."""

    options: GradingOptions
    budget: int = _MAX_COMPARISONS

    def compare(  # noqa: C901, PLR0912 - one branch a type of answer
        self, reference: Value, answer: Value
    ) -> Comparison:
        """Whether the answer says what the reference says."""
        self.budget -= 1
        if self.budget < 0:
            raise LimitHitError("limit_comparisons", "too many members to compare")
        if isinstance(answer, Chain) and is_contradiction(answer, self.options):
            return different("inconsistent_chain", "it calls numbers equal that differ")
        if reference == answer and (self.options.words or not isinstance(reference, Text)):
            return equal("same_structure")
        if isinstance(reference, Labelled) or isinstance(answer, Labelled):
            return self.labelled(reference, answer)
        if isinstance(reference, Quantity) and isinstance(answer, Quantity):
            return self.quantities(reference, answer)
        if isinstance(reference, Text) or isinstance(answer, Text):
            return self.texts(reference, answer)
        if isinstance(reference, Opaque):
            return undecided("reference_opaque", reference.reason)
        if isinstance(answer, Opaque):
            return different("parse_error", answer.reason)
        if isinstance(reference, Residue) or isinstance(answer, Residue):
            return compare_residues(reference, answer)
        if isinstance(reference, Piecewise) and isinstance(answer, Piecewise):
            found = compare_piecewise(reference, answer, self.compare)
            return found if found.equal else compare_functions(reference, answer)
        if _cases(reference) or _cases(answer):
            return self.cases(reference, answer)
        if isinstance(reference, Permutation) or isinstance(answer, Permutation):
            return different("permutation_differs")
        ours, theirs = expand(reference), expand(answer)
        ordered = is_ordering(reference) or is_ordering(answer)
        conditions = [as_conditions(value) for value in (reference, answer)]
        if conditions != [reference, answer]:  # x >= 2, x != 3
            return compare_sets(self, *conditions)
        solved = compare_solutions(reference, ours, theirs)
        if solved is not None:
            return solved
        if not ordered and (len(ours) > 1 or len(theirs) > 1):  # y = \\pm x against y = x, y = -x
            return compare_unordered(self, _members(reference), _members(answer))
        if isinstance(reference, Chain) or isinstance(answer, Chain):
            return self.chains(reference, answer)
        return self.structures(reference, answer)

    def labelled(self, reference: Value, answer: Value) -> Comparison:
        """Values announced by words; two announcements must be alike."""
        if isinstance(reference, Labelled) and isinstance(answer, Labelled):
            ours, theirs = reference.label, answer.label
            if not (ours.startswith(theirs) or theirs.startswith(ours)):
                return different("label_differs")
        return self.compare(
            reference.value if isinstance(reference, Labelled) else reference,
            answer.value if isinstance(answer, Labelled) else answer,
        )

    def texts(self, reference: Value, answer: Value) -> Comparison:
        """Words against words, or words that mean a set or a number."""
        reference, answer = explained(reference), explained(answer)
        if isinstance(reference, Text) and isinstance(answer, Text):
            if not self.options.words:
                return different("text_differs", "words must be spelled alike")
            return equal_texts(reference, answer)
        for ours, theirs in ((reference, answer), (answer, reference)):
            if isinstance(ours, Text) and isinstance(theirs, Quantity):
                initial = _initial(theirs) if ours is reference else ""
                if initial and initial in _INITIALS.get(phrase(ours), ""):
                    return equal("text")
                return self.number_word(ours, theirs)
            if isinstance(ours, Text) and theirs == Group((), braces=True):
                said_none = phrase(ours) in ("none", "empty set")
                return equal("text") if said_none else different("type_differs")
            if isinstance(ours, Text) and isinstance(theirs, Chain):
                said = answer_of(theirs, self.options)
                if said is not None and isinstance(said.value, Text):
                    return equal_texts(ours, said.value)
        return different("type_differs", "words against mathematics")

    def number_word(self, text: Text, quantity: Quantity) -> Comparison:
        r"""`\text{XIV}` is 14, and "infinitely many" is infinite; no other word is a number."""
        numeral = roman(text)
        if numeral is not None and quantity.unit is None:
            return equal_scalars(Number(Fraction(numeral)), quantity.expression, self.options)
        if quantity.expression == INFINITY and phrase(text) == "infinitely many":
            return equal("text")
        return different("type_differs", "words against mathematics")

    def quantities(self, reference: Quantity, answer: Quantity) -> Comparison:
        """Two scalars, or what their sign pairs stand for."""
        a, b = reference.expression, answer.expression
        if len(choices(a)) > 1 or len(choices(b)) > 1:
            return compare_unordered(self, tuple(expand(reference)), tuple(expand(answer)))
        if symbols(a) or symbols(b):
            family = compare_families(a, b)
            if family is not None:
                return family
            a, b = with_unit_vectors(a, b)
        if reference.unit is None and answer.unit is None:
            return equal_scalars(a, b, self.options)
        if (_is_marked(a) and _is_amount(answer.unit)) or (
            _is_marked(b) and _is_amount(reference.unit)
        ):
            return different("unit_differs", "a percentage or an angle against an amount")
        return self.measured(a, b, reference.unit, answer.unit)

    def measured(
        self, a: Expression, b: Expression, ours: Unit | None, theirs: Unit | None
    ) -> Comparison:
        """Two amounts with their units: one dimension converts, another differs."""
        if ours is not None and theirs is not None and ours.noun != theirs.noun:
            generic, exact = (ours, theirs) if ours.is_generic else (theirs, ours)
            if generic.is_generic and exact.dimension:  # 12 square units are 12 cm^2, and no cm
                powers = [power for name, power in exact.dimension if name == "L"]
                fits = generic.noun == "units" or powers == [int(generic.noun[-1])]
                return equal_scalars(a, b, self.options) if fits else different("unit_differs")
            if ours.noun and theirs.noun:
                return different("noun_differs", f"{theirs.noun} against {ours.noun}")
            if ours.dimension or theirs.dimension:
                return different("unit_differs", "an amount against a count")
        if theirs is None or theirs.dimension is None or ours is None or ours.dimension is None:
            if ours is not None and ours.dimension and self.options.units is Units.REQUIRED:
                return different("unit_missing")
            if theirs is not None and theirs.dimension == _TEMPERATURE and not theirs.offset:
                return different("unit_differs", "5K may say five thousand")
            return equal_scalars(a, b, self.options)
        if ours.dimension != theirs.dimension:
            return different("unit_differs", "the two measure different things")
        if ours == theirs:
            return equal_scalars(a, b, self.options)
        return equal_scalars(a, ours.convert(b, theirs), self.options)

    def chains(self, reference: Value, answer: Value) -> Comparison:
        """Equations and named values."""
        if any(isinstance(v, Chain) and "∈" in v.operators for v in (reference, answer)):
            if not (isinstance(reference, Chain) and isinstance(answer, Chain)):
                return different("type_differs", "a statement about another quantity")
            return equal_chains(self, reference, answer)
        ordered = any(
            isinstance(value, Chain) and (set(value.operators) & (ORDERINGS | {"!="}))
            for value in (reference, answer)
        )
        if ordered:
            return compare_orderings(self, reference, answer)
        if isinstance(reference, Chain) and isinstance(answer, Chain):
            answer = reordered(reference, answer) or answer
            found = equal_equations(reference, answer, self.options)
            if found.rule != "structured":
                return found
        ours, theirs = self.said(reference), self.said(answer)
        if isinstance(ours, Quantity) and not symbols(ours.expression) and theirs is None:
            theirs = combined(answer, self.options) if isinstance(answer, Chain) else None
        if isinstance(ours, Matrix) and isinstance(answer, Chain) and theirs is None:
            theirs = named_matrix(answer)
        if ours is None or theirs is None:
            return different("type_differs", "an equation against a value")
        return self.compare(ours, theirs)

    def cases(self, reference: Value, answer: Value) -> Comparison:
        """A piecewise function against one that is given in another way."""
        ours, theirs = self.said(reference), self.said(answer)
        if ours is None or theirs is None:
            return different("type_differs", "an equation against cases")
        return compare_functions(ours, theirs)

    def said(self, value: Value) -> Value | None:
        """The value that a chain gives, the value itself if it is none."""
        if not isinstance(value, Chain):
            return value
        answer = answer_of(value, self.options)
        return None if answer is None else answer.value

    def structures(self, reference: Value, answer: Value) -> Comparison:
        """Everything that has members."""
        if isinstance(reference, Matrix) or isinstance(answer, Matrix):
            return compare_matrices(reference, answer, self.compare)
        if isinstance(reference, Row | Quantity) and isinstance(answer, Row | Quantity):
            as_vectors = compare_matrices(reference, answer, self.compare)  # 3i + 4j, <3, 4>
            if type(reference) is not type(answer) and as_vectors.rule != "type_differs":
                return as_vectors
        if isinstance(reference, Ratio) or isinstance(answer, Ratio):
            return self.ratios(reference, answer)
        if isinstance(reference, SetOperation | Reals) or isinstance(answer, SetOperation | Reals):
            return compare_sets(self, reference, answer)
        if isinstance(reference, Row) and isinstance(answer, Row):
            return compare_ordered(self, reference, answer)
        if isinstance(reference, Row | Group) and isinstance(answer, Row | Group):
            return self.row_and_group(reference, answer)
        if isinstance(reference, Group) or isinstance(answer, Group):
            return compare_unordered(self, flatten(reference), flatten(answer))
        return different("type_differs")

    def row_and_group(self, reference: Row | Group, answer: Row | Group) -> Comparison:
        """A list against a list, or against a tuple, where order counts."""
        if isinstance(reference, Group) and isinstance(answer, Group):
            return compare_unordered(self, flatten(reference), flatten(answer))
        row, group = (reference, answer) if isinstance(reference, Row) else (answer, reference)
        assert isinstance(row, Row)
        assert isinstance(group, Group)
        nested = len(group.items) == 1 or any(isinstance(item, Row) for item in group.items)
        if nested or _is_list(row):
            return compare_unordered(self, _members(reference), _members(answer))
        if group.braces or (row.opening, row.closing) != ("(", ")"):
            return different("type_differs", "a set or list against an interval or tuple")
        if len(group.items) != len(row.items):
            return different("count_differs", f"{len(group.items)} against {len(row.items)}")
        ours, theirs = in_order(reference), in_order(answer)
        pairs = zip(ours, theirs, strict=True)
        return all_of((self.compare(a, b) for a, b in pairs), "tuple")

    def ratios(self, reference: Value, answer: Value) -> Comparison:
        """Ratios by their quotients."""
        if isinstance(reference, Ratio) and isinstance(answer, Ratio):
            if len(reference.parts) != len(answer.parts):
                return different("count_differs")
            return all_of(
                (
                    equal_scalars(
                        _product(a, answer.parts[0]), _product(b, reference.parts[0]), self.options
                    )
                    for a, b in zip(reference.parts, answer.parts, strict=True)
                ),
                "ratio",
            )
        ours, theirs = as_quotient(reference), as_quotient(answer)
        if self.options.ratios and isinstance(ours, Quantity) and isinstance(theirs, Quantity):
            return equal_scalars(ours.expression, theirs.expression, self.options)
        return different("type_differs", "a ratio against something else")


def _initial(value: Quantity) -> str:
    """The small letter that a value is, `""` if it is none."""
    name = value.expression.name if isinstance(value.expression, Symbol) else ""
    return name.lower() if len(name) == 1 else ""


def _cases(value: Value) -> bool:
    r"""`f(x) = \begin{cases}...`, or the cases alone."""
    if isinstance(value, Chain) and value.operators == ("=",):
        value = value.parts[-1]
    return isinstance(value, Piecewise)


def _is_marked(node: Expression) -> bool:
    """Whether a percent or degree sign says already what is measured."""
    return isinstance(node, Apply) and node.operation in ("percent", "degree")


def _is_amount(unit: Unit | None) -> bool:
    return unit is not None and bool(unit.dimension or unit.noun)


def _is_list(value: Row) -> bool:
    """Whether this is a list in square brackets: `[1, 2]`."""
    return value.opening == "[" and value.closing == "]"


def _members(value: Value) -> tuple[Value, ...]:
    """What a list in square brackets, a set or an answer with a sign pair stands for."""
    if isinstance(value, Row) and _is_list(value):
        return value.items
    return flatten(value) if isinstance(value, Group) else tuple(expand(value))


def _product(a: Expression, b: Expression) -> Expression:
    return Apply("mul", (a, b))
