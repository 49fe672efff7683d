"""Whether two answers say the same: one bounded grammar, exact values first, typed comparison."""

from rewards.equality.comparison import Comparison, Outcome
from rewards.equality.decide import (
    compare,
    compare_spelling,
    copies,
    is_plain_number,
    is_readable,
    leaves_work,
    needs_calculus,
    sole_expression,
)
from rewards.equality.parsed import Parsed, read

__all__ = [
    "Comparison",
    "Outcome",
    "Parsed",
    "compare",
    "compare_spelling",
    "copies",
    "is_plain_number",
    "is_readable",
    "leaves_work",
    "needs_calculus",
    "read",
    "sole_expression",
]
