"""Whether two answers say the same: one bounded grammar, exact values first, typed comparison."""

from rewards.equality.decide import Parsed, compare, is_readable, read, sole_expression
from rewards.equality.findings import Finding, Outcome

__all__ = ["Finding", "Outcome", "Parsed", "compare", "is_readable", "read", "sole_expression"]
