"""What is done once so that no program pays for it: imports, first calls, memory layout."""

import _imp
import builtins
import ctypes
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import random
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torl_env.sandbox.forkserver import pictures, rootfs
from torl_env.sandbox.forkserver.kernel import libc

PLAIN: Final = """
math fractions decimal itertools collections functools heapq bisect re json statistics string
datetime copy operator cmath random typing dataclasses time io sys os threading traceback abc
enum numbers textwrap contextlib calendar hashlib array struct inspect ast
"""
PRELOAD_SETS: Final[dict[str, tuple[str, ...]]] = {
    "bare": (),
    "numpy": (
        "numpy", "numpy.linalg", "numpy.random", "numpy.polynomial", "numpy.fft",
    ),
    "sympy": ("sympy", "mpmath", "sympy.abc"),
    "plots": (
        "numpy", "numpy.linalg", "numpy.random", "numpy.polynomial", "numpy.fft",
        "matplotlib", "matplotlib.pyplot",
    ),
    "all": (
        "numpy", "numpy.linalg", "numpy.random", "numpy.polynomial", "numpy.fft",
        "sympy", "mpmath", "sympy.abc",
        "scipy", "scipy.optimize", "scipy.linalg", "scipy.integrate", "scipy.stats",
        "scipy.special", "scipy.sparse", "scipy.interpolate",
    ),
}  # fmt: skip
"""Libraries by the name of the server that has them loaded."""
PACKAGES: Final = ("numpy", "sympy", "mpmath", "scipy")
"""Third-party packages that every program may import."""
ARENA_MB: Final = {"bare": 0, "numpy": 16, "sympy": 64, "plots": 48, "all": 100}

_FIRST_CALLS_SYMPY: Final = """
from sympy import *
x, y, n = symbols("x y n")
solve(x**2 - 2, x); solve([x + y - 3, x - y - 1], [x, y]); solveset(x**2 - 1, x)
simplify(sin(x)**2 + cos(x)**2); expand((x + 1)**3); factor(x**2 - 1); apart(1/(x**2 - 1))
integrate(x**2*sin(x), x); diff(exp(x)*x, x); limit(sin(x)/x, x, 0); series(cos(x), x, 0, 4)
Matrix([[1, 2], [3, 4]]).inv(); Matrix([[2, 1], [1, 2]]).eigenvals(); together(1/x + 1/y)
factorint(360); isprime(97); N(pi, 20); Rational(1, 3) + Rational(1, 6); divisors(28); gcd(12, 18)
summation(n**2, (n, 1, 10)); str(sqrt(8)); latex(x**2/2); nsolve(cos(x) - x, x, 1); binomial(10, 3)
sympify("x**2+1"); totient(36); Poly(x**2 + 1, x); nroots(x**3 - 2); Sum(n, (n, 1, 3)).doit()
"""
_FIRST_CALLS_PLAIN: Final = """
squares = [i * i for i in range(3)]
class A:
    def f(self): return 1
text = f"{str(1 + 1)} {1.5:.2f}"
def g(n):
    yield n
list(g(1))
1/0
"""


class AllowedPackages(importlib.abc.MetaPathFinder):
    """Finds the allowed third-party packages and no other, so that the rest fails at once."""

    def __init__(self, names: Iterable[str], search: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._search = list(search)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Look for a top-level package; submodules are found through their parents."""
        if path is not None or fullname not in self._names:
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, self._search, target)


def limit_imports(packages: Sequence[str], search: Sequence[str]) -> None:
    """Leave only the standard library on `sys.path`, and the allowed packages through a finder."""
    third_party = ("site-packages", "dist-packages")
    sys.path[:] = [
        entry
        for entry in sys.path
        if entry
        and not any(part in entry for part in third_party)
        and (entry.endswith(".zip") or any(_inside(entry, place) for place in rootfs.stdlib()))
    ]
    # In front, so that no file of a program hides one.
    sys.meta_path.insert(0, AllowedPackages(packages, search))


def _inside(entry: str, place: str) -> bool:
    real = os.path.realpath(entry)
    return real == place or real.startswith(f"{place}/")


def reserve_heap(megabytes: int) -> None:
    """Keep what is about to be loaded in few, large ranges that huge pages can back.

    A fork copies one entry per huge page instead of 512, which is most of its cost.
    """
    for option, value in ((-3, 1 << 30), (-1, 1 << 30), (-2, 32 << 20), (-8, 1)):
        libc.mallopt(option, value)
    if megabytes:
        blocks = [bytes(440) for _ in range(megabytes * (1 << 20) // 480)]
        _reserved.extend(blocks[::250])


_reserved: list[object] = []


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a server has in memory."""

    versions: dict[str, str]
    missing: tuple[str, ...]
    """Names that are not installed."""


def load(preload: str, packages: Sequence[str]) -> Loaded:
    """Import the libraries of a preload set and run what they do only once."""
    for name in PLAIN.split():
        importlib.import_module(name)
    versions: dict[str, str] = {}
    missing: list[str] = []
    chosen = (*PRELOAD_SETS[preload], *packages) if preload == "all" else PRELOAD_SETS[preload]
    if "matplotlib" in packages and preload == "all":
        chosen = (*chosen, "matplotlib.pyplot")
    for name in chosen:
        if name.partition(".")[0] in missing:
            continue
        try:
            if name == "matplotlib":
                pictures.import_matplotlib()
            module = importlib.import_module(name)
        except ImportError:
            missing.append(name)
            continue
        if "." not in name:
            versions[name] = str(getattr(module, "__version__", ""))
    if "sympy" in versions:
        exec(_FIRST_CALLS_SYMPY, {"__name__": "warm"})
    if "matplotlib.pyplot" in sys.modules:
        pictures.warm_up()
    _first_calls_plain()
    return Loaded(versions, tuple(missing))


def _first_calls_plain() -> None:
    source = "<program>"
    try:
        exec(compile(_FIRST_CALLS_PLAIN, source, "exec"), {"__name__": "__main__"})
    except ZeroDivisionError as error:
        linecache.cache[source] = (1, None, _FIRST_CALLS_PLAIN.splitlines(True), source)
        "".join(traceback.format_exception(error))
        linecache.cache.clear()
    try:
        compile("x=(", source, "exec")
    except SyntaxError as error:
        "".join(traceback.format_exception(error))


def seed_generators(seed: int) -> None:
    """Every fork starts from the same state of every generator that a program may draw from.

    That includes what Python takes from the kernel: `os.urandom` and `os.getrandom`, and so
    `uuid.uuid4`, `secrets`, `random.SystemRandom` and `random.seed()` without an argument. Clocks
    are the machine's.
    """
    entropy = random.Random(seed)

    def urandom(size: int, /) -> bytes:
        return entropy.randbytes(size)

    def getrandom(size: int, flags: int = 0) -> bytes:
        del flags
        return entropy.randbytes(size)

    plain_seed: Any = random.Random.seed

    def seed_from_urandom(self: random.Random, a: Any = None, version: int = 2) -> None:
        plain_seed(self, int.from_bytes(urandom(32), "big") if a is None else a, version)

    namespace: Any = random
    # The module looked both names up once, when it was imported.
    os.urandom = namespace._urandom = urandom
    os.getrandom = getrandom
    namespace.Random.seed = seed_from_urandom
    namespace.seed = namespace._inst.seed
    random.seed(seed)
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed)
        # The fresh entropy of `default_rng()`; the modules that draw it looked the name up once.
        generator = random.Random(seed)
        numpy_random.bit_generator.randbits = generator.getrandbits
    sympy_random: Any = sys.modules.get("sympy.core.random")
    if sympy_random is not None:
        sympy_random.seed(seed)


def neutral_name(filename: str) -> str:
    """A file name without the place where this machine keeps it."""
    for part in ("/site-packages/", "/dist-packages/"):
        head, found, tail = filename.rpartition(part)
        if found and head:
            return tail
    for place in (*rootfs.stdlib(), *_places()):
        if filename.startswith(f"{place}/"):
            return filename[len(place) + 1 :]
    return filename


def _places() -> tuple[str, str]:
    """Where the standard library and this package are, as the interpreter names them."""
    return str(Path(os.__file__).parent), str(Path(__file__).parents[3])


def forbid_audit_hooks() -> None:
    """A hook can never be removed again, and would run within the interpreter's own functions."""
    namespace: Any = sys
    del namespace.addaudithook


def hide_places() -> int:
    """Rename the files of all loaded code, so that a traceback shows no path of the host."""
    renamed: dict[str, str] = {}
    count = 0
    for function in gc.get_objects():
        code = getattr(function, "__code__", None)
        if type(function) is not types.FunctionType or type(code) is not types.CodeType:
            continue
        name = code.co_filename
        if not name.startswith("/"):
            continue
        neutral = renamed.setdefault(name, neutral_name(name))
        _imp._fix_co_filename(code, neutral)  # type: ignore[attr-defined]
        count += 1
    return count


def fill_holes() -> int:
    """Use up the free places between the loaded objects, so that new ones lie together.

    Else what the server and its children make is strewn over the whole heap, and each of these
    pages is copied.

    Returns:
        The number of places; 0 where the interpreter does not say which there are.
    """
    before = len(_reserved)
    for size, free in re.findall(r"^ *\d+ +(\d+) +\d+ +\d+ +(\d+)$", _heap_report(), re.MULTILINE):
        length = int(size) - sys.getsizeof(b"")
        if length > 1:
            _reserved.extend(bytes(length) for _ in range(int(free)))
        elif int(size) == sys.getsizeof(0.0) + 8:
            _reserved.extend(float(number) for number in range(int(free)))
        elif int(size) == sys.getsizeof(object()):
            _reserved.extend(object() for _ in range(int(free)))
    return len(_reserved) - before


def _heap_report() -> str:
    """What CPython writes to standard error about its size classes, a few kilobytes."""
    read_end, write_end = os.pipe()
    saved = os.dup(2)
    os.dup2(write_end, 2)
    sys._debugmallocstats()
    os.dup2(saved, 2)
    os.close(write_end)
    with open(read_end, encoding="ascii") as file:
        report = file.read()
    os.close(saved)
    return report


def immortalise() -> int:
    """Give every living object the reference count that is never written again.

    On CPython 3.12 and 3.13 a child that runs library code then does not copy pages only to count
    references. Elsewhere nothing is done.

    Returns:
        The number of objects.
    """
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    known = (3, 12) <= sys.version_info[:2] <= (3, 13) and sys.byteorder == "little"
    if not known or not gil or ctypes.sizeof(ctypes.c_void_p) != 8:
        return 0
    seen: set[int] = set()
    stack: list[object] = [*gc.get_objects(), sys.modules, builtins]
    referents: Callable[..., list[Any]] = gc.get_referents
    while stack:
        item = stack.pop()
        if id(item) in seen or item is seen or item is stack:
            continue
        seen.add(id(item))
        stack.extend(referents(item))
        if type(item) is types.CodeType:
            # What the collector does not see, because no cycle can pass through it.
            stack += [item.co_consts, item.co_names, item.co_qualname, item.co_filename]
    for address in seen:
        count = ctypes.c_uint32.from_address(address)
        if count.value < 0xFFFFFFFF:
            count.value = 0xFFFFFFFF
    return len(seen)
