"""Which server a program goes to: the one that has loaded what the program imports, and no more."""

import re
from typing import Final

BARE: Final = "bare"
NUMPY: Final = "numpy"
SYMPY: Final = "sympy"
ALL: Final = "all"
TIERS: Final = (BARE, NUMPY, SYMPY, ALL)

_SYMPY: Final = re.compile(r"\b(?:sympy|mpmath)\b")
_NUMPY: Final = re.compile(r"\b(?:numpy|np)\b")
_ANYTHING: Final = re.compile(r"\b(?:scipy|pandas|networkx|matplotlib|__import__|importlib|exec)\b")


def tier_of(code: str) -> str:
    """Name of the tier for `code`, from the words in it.

    A wrong guess costs the program an import, never a wrong result.

    >>> tier_of("print(1 + 1)"), tier_of("from sympy import *"), tier_of("import numpy as np")
    ('bare', 'sympy', 'numpy')
    >>> tier_of("import sympy, numpy"), tier_of("exec(text)")
    ('all', 'all')
    """
    if _ANYTHING.search(code):
        return ALL
    sympy, numpy = _SYMPY.search(code) is not None, _NUMPY.search(code) is not None
    if sympy:
        return ALL if numpy else SYMPY
    return NUMPY if numpy else BARE
