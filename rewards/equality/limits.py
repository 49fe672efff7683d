"""How much work one answer may cause. Work is bounded and not timed, so limits strike alike."""

LENGTH = 4_096
"""Characters of an answer, after white space around it."""
TOKENS = 1_200
DEPTH = 40
"""Nested brackets, powers and functions."""
DIGITS = 1_000
"""Of one written number."""
BITS = 40_000
"""Of a numerator or denominator on the way."""
FOLDED_BITS = 400_000
"""Of all denominators on the way."""
FACTORIAL = 3_000
BINOMIAL = 6_000
ITEMS = 200
"""Members of a list or set."""
TERMS = 160
"""Monomials of an expanded sum."""
PRODUCTS = 3_000
"""Products of two monomials while a sum is expanded."""
SUMMANDS = 400
"""Terms of a sum or product that is added up."""
MAGNITUDE = 100_000.0
"""Natural logarithm of the largest number that is evaluated."""
STEPS = 6_000
"""Node evaluations and comparisons for one pair."""
FAMILY_POINTS = 14
"""Points at which families with arbitrary constants are compared."""
