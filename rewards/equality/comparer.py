"""Compare two values by their types; what has no rule differs, what cannot be told is undecided."""

from dataclasses import dataclass

from rewards.equality.answers.collections import equal_groups, equal_rows, expand, flatten
from rewards.equality.answers.intervals import (
    equal_regions,
    inequality_as_row,
    ordering_variable,
    region,
)
from rewards.equality.answers.relations import answer_of, equal_equations, is_contradiction
from rewards.equality.answers.units import Unit
from rewards.equality.answers.words import equal_texts, phrase
from rewards.equality.comparison import (
    Comparison,
    Outcome,
    all_of,
    different,
    equal,
    undecided,
)
from rewards.equality.numbers.scalars import equal_scalars
from rewards.equality.syntax.token_spans import ORDERINGS
from rewards.equality.values.expressions import Apply, Expression, quotient, symbols
from rewards.equality.values.kinds import (
    Chain,
    Group,
    Labelled,
    Matrix,
    Opaque,
    Quantity,
    Ratio,
    Reals,
    Row,
    SetOperation,
    Text,
    Value,
)
from rewards.errors import LimitHitError
from rewards.grading_options import GradingOptions, Units

_MAX_COMPARISONS = 3_000


@dataclass(slots=True)
class Comparer:
    """Compares values under one options, with one budget for all that is inside them."""

    options: GradingOptions
    budget: int = _MAX_COMPARISONS

    def compare(self, reference: Value, answer: Value) -> Comparison:
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
        """Words against words, or words that mean a set."""
        if isinstance(reference, Text) and isinstance(answer, Text):
            if not self.options.words:
                return different("text_differs", "words must be spelled alike")
            return equal_texts(reference, answer)
        for ours, theirs in ((reference, answer), (answer, reference)):
            if isinstance(ours, Text) and ours.words[:3] == ("all", "real", "numbers"):
                return self.compare(Reals(), theirs)
            if isinstance(ours, Text) and theirs == Group((), braces=True):
                said_none = phrase(ours) in ("none", "empty set")
                return equal("text") if said_none else different("type_differs")
            if isinstance(ours, Text) and isinstance(theirs, Chain):
                said = answer_of(theirs, self.options)
                if said is not None and isinstance(said.value, Text):
                    return equal_texts(ours, said.value)
        return different("type_differs", "words against mathematics")

    def quantities(self, reference: Quantity, answer: Quantity) -> Comparison:
        """Two scalars, or what their sign pairs stand for."""
        ours, theirs = expand(reference), expand(answer)
        if len(ours) > 1 or len(theirs) > 1:
            return equal_groups(self, tuple(ours), tuple(theirs))
        a, b = reference.expression, answer.expression
        if reference.unit is None and self.options.units is not Units.REQUIRED:
            return equal_scalars(a, b, self.options)
        return self.measured(a, b, reference.unit, answer.unit)

    def measured(
        self, a: Expression, b: Expression, ours: Unit | None, theirs: Unit | None
    ) -> Comparison:
        """Two amounts with their units, if they have any."""
        known = ours is not None and ours.dimension is not None
        if theirs is None or theirs.dimension is None or not known:
            if known and self.options.units is Units.REQUIRED:
                return different("unit_missing")
            return equal_scalars(a, b, self.options)
        assert ours is not None
        if ours.dimension != theirs.dimension:
            return different("unit_differs", "the two measure different things")
        if ours.factor == theirs.factor:
            return equal_scalars(a, b, self.options)
        return equal_scalars(a, ours.convert(b, theirs), self.options)

    def chains(self, reference: Value, answer: Value) -> Comparison:
        """Equations and named values."""
        ordered = any(
            isinstance(value, Chain) and (set(value.operators) & (ORDERINGS | {"!="}))
            for value in (reference, answer)
        )
        if ordered:
            return self.orderings(reference, answer)
        if isinstance(reference, Chain) and isinstance(answer, Chain):
            found = equal_equations(reference, answer, self.options)
            if found.rule != "structured":
                return found
        ours, theirs = self.said(reference), self.said(answer)
        if ours is None or theirs is None:
            return different("type_differs", "an equation against a value")
        return self.compare(ours, theirs)

    def said(self, value: Value) -> Value | None:
        """The value that a chain gives, the value itself if it is none."""
        if not isinstance(value, Chain):
            return value
        answer = answer_of(value, self.options)
        return None if answer is None else answer.value

    def orderings(self, reference: Value, answer: Value) -> Comparison:
        """Inequalities, as sets of numbers or as statements."""
        variables = [ordering_variable(value) for value in (reference, answer)]
        if all(v is not None for v in variables) and variables[0] != variables[1]:
            names = [symbols(v) for v in variables if v is not None]
            if names[0] != names[1]:
                return different("name_differs", "the inequalities bound different variables")
        ours, theirs = region(reference), region(answer)
        if ours is not None and theirs is not None:
            return equal_regions(ours, theirs, self.options)
        if isinstance(reference, Chain) and isinstance(answer, Chain):
            if reference.operators == answer.operators:
                parts = zip(reference.parts, answer.parts, strict=True)
                same = all_of((self.compare(a, b) for a, b in parts), "same_relations")
                if same.outcome is Outcome.EQUAL:
                    return same
            found = equal_equations(reference, answer, self.options)
            if found.outcome is Outcome.EQUAL or len(reference.parts) == 2:
                return found
        first, second = inequality_as_row(reference), inequality_as_row(answer)
        if isinstance(first, Row) and isinstance(second, Row):
            return equal_rows(self, first, second)
        return different("type_differs", "an inequality against something else")

    def structures(self, reference: Value, answer: Value) -> Comparison:
        """Everything that has members."""
        if isinstance(reference, Matrix) or isinstance(answer, Matrix):
            return self.matrices(reference, answer)
        if isinstance(reference, Ratio) or isinstance(answer, Ratio):
            return self.ratios(reference, answer)
        if isinstance(reference, SetOperation | Reals) or isinstance(answer, SetOperation | Reals):
            return self.sets(reference, answer)
        if isinstance(reference, Row) and isinstance(answer, Row):
            return equal_rows(self, reference, answer)
        if isinstance(reference, Row | Group) and isinstance(answer, Row | Group):
            return self.row_and_group(reference, answer)
        if isinstance(reference, Group) or isinstance(answer, Group):
            return equal_groups(self, flatten(reference), flatten(answer))
        return different("type_differs")

    def row_and_group(self, reference: Row | Group, answer: Row | Group) -> Comparison:
        """A list against a list, or against a tuple, where order counts."""
        if isinstance(reference, Group) and isinstance(answer, Group):
            return equal_groups(self, flatten(reference), flatten(answer))
        row, group = (reference, answer) if isinstance(reference, Row) else (answer, reference)
        assert isinstance(row, Row)
        assert isinstance(group, Group)
        if len(group.items) == 1 or any(isinstance(item, Row) for item in group.items):
            expanded = expand(row)
            if row.opening == "[" and row.closing == "]":
                expanded = list(row.items)
            mine, yours = tuple(expanded), flatten(group)
            return equal_groups(self, *((mine, yours) if row is reference else (yours, mine)))
        if row.opening == "[" and row.closing == "]":
            mine, yours = row.items, flatten(group)
            return equal_groups(self, *((mine, yours) if row is reference else (yours, mine)))
        if group.braces or (row.opening, row.closing) != ("(", ")"):
            return different("type_differs", "a set or list against an interval or tuple")
        if len(group.items) != len(row.items):
            return different("count_differs", f"{len(group.items)} against {len(row.items)}")
        pairs = zip(reference.items, answer.items, strict=True)
        return all_of((self.compare(a, b) for a, b in pairs), "tuple")

    def matrices(self, reference: Value, answer: Value) -> Comparison:
        """Matrices cell by cell; a single row or column is also a vector."""
        if isinstance(reference, Matrix) and isinstance(answer, Matrix):
            ours, theirs = reference.rows, answer.rows
            if (len(ours), len(ours[0])) != (len(theirs), len(theirs[0])):
                return different("shape_differs")
            cells = [
                (a, b)
                for row, other in zip(ours, theirs, strict=True)
                for a, b in zip(row, other, strict=True)
            ]
            return all_of((self.compare(a, b) for a, b in cells), "matrix")
        first, second = _vector(reference), _vector(answer)
        if first is None or second is None or len(first) != len(second):
            return different("type_differs", "a matrix against something else")
        return all_of((self.compare(a, b) for a, b in zip(first, second, strict=True)), "vector")

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
        ours, theirs = _as_quotient(reference), _as_quotient(answer)
        if not self.options.ratios or ours is None or theirs is None:
            return different("type_differs", "a ratio against something else")
        return equal_scalars(ours, theirs, self.options)

    def sets(self, reference: Value, answer: Value) -> Comparison:
        """Unions, intersections and differences."""
        ours, theirs = region(reference), region(answer)
        if ours is not None and theirs is not None:
            return equal_regions(ours, theirs, self.options)
        first, second = _union_parts(reference), _union_parts(answer)
        if first and second:
            return equal_groups(self, first, second)
        return different("set_differs")


def _vector(value: Value) -> tuple[Value, ...] | None:
    if isinstance(value, Matrix):
        if len(value.rows[0]) == 1:
            return tuple(row[0] for row in value.rows)
        return value.rows[0] if len(value.rows) == 1 else None
    return value.items if isinstance(value, Row) else None


def _product(a: Expression, b: Expression) -> Expression:
    return Apply("mul", (a, b))


def _as_quotient(value: Value) -> Expression | None:
    if isinstance(value, Quantity):
        return value.expression
    if isinstance(value, Ratio) and len(value.parts) == 2:
        return quotient(*value.parts)
    return None


def _union_parts(value: Value) -> tuple[Value, ...]:
    if isinstance(value, SetOperation):
        return value.parts if value.operator == "∪" else ()
    if isinstance(value, Group) and not value.braces:
        return value.items
    return (value,) if isinstance(value, Row) else ()
