"""Preload sets: which server a program goes to, the one that has loaded what it imports."""

import importlib.metadata
import re
from collections.abc import Sequence
from typing import Final

BARE: Final = "bare"
NUMPY: Final = "numpy"
SYMPY: Final = "sympy"
PLOTS: Final = "plots"
ALL: Final = "all"

_SYMPY: Final = re.compile(r"\b(?:sympy|mpmath)\b")
_NUMPY: Final = re.compile(r"\b(?:numpy|np)\b")
_PLOTS: Final = re.compile(r"\b(?:matplotlib|pyplot|plt|pylab)\b")
_ANYTHING: Final = re.compile(r"\b(?:scipy|pandas|networkx|__import__|importlib|exec)\b")


def preload_sets(packages: Sequence[str]) -> tuple[str, ...]:
    """Names of the sets that a sandbox with these further packages has.

    >>> preload_sets(()), preload_sets(["matplotlib"])
    (('bare', 'numpy', 'sympy', 'all'), ('bare', 'numpy', 'sympy', 'plots', 'all'))
    """
    plots = (PLOTS,) if "matplotlib" in packages else ()
    return (BARE, NUMPY, SYMPY, *plots, ALL)


def preload_set_of(code: str, packages: Sequence[str] = ()) -> str:
    """Name of the set for `code`, from the words in it.

    A wrong guess costs the program an import, never a wrong result.

    >>> [preload_set_of(code) for code in ("print(1 + 1)", "from sympy import *", "exec(text)")]
    ['bare', 'sympy', 'all']
    >>> preload_set_of("import numpy as np"), preload_set_of("import sympy, numpy")
    ('numpy', 'all')
    >>> preload_set_of("plt.plot(np.arange(3))", ["matplotlib"])
    'plots'
    """
    if _ANYTHING.search(code):
        return ALL
    sympy = _SYMPY.search(code) is not None
    if _PLOTS.search(code):
        return PLOTS if "matplotlib" in packages and not sympy else ALL
    numpy = _NUMPY.search(code) is not None
    if sympy:
        return ALL if numpy else SYMPY
    return NUMPY if numpy else BARE


def with_dependencies(packages: Sequence[str]) -> tuple[str, ...]:
    """The packages and what they need, by the names under which they are imported.

    `pandas` alone could not be imported: it imports `dateutil`, of the distribution
    `python-dateutil`. What is not installed stays as it is named, and fails where it is imported.
    """
    if not packages:
        return ()
    by_module = importlib.metadata.packages_distributions()
    modules: dict[str, list[str]] = {}
    for module, names in by_module.items():
        for name in names:
            modules.setdefault(_normal(name), []).append(module)
    found = dict.fromkeys(packages)
    todo = [name for package in packages for name in by_module.get(package, ())]
    seen: set[str] = set()
    while todo:
        name = _normal(todo.pop())
        if name in seen or name not in modules:
            continue
        seen.add(name)
        found |= dict.fromkeys(module for module in modules[name] if module.isidentifier())
        # What an extra asks for is not needed: `pytest ; extra == "test"`.
        todo += [
            re.split(r"[^\w.-]", line, maxsplit=1)[0]
            for line in importlib.metadata.requires(name) or ()
            if "extra ==" not in line
        ]
    return tuple(found)


def _normal(name: str) -> str:
    """Of a distribution, as the packaging specifications compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
