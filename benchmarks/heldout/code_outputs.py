"""What a program under test returned: run, encoded as JSON, compared with what was expected.

JSON knows neither tuples nor sets nor large integers, so every value carries its type. Outputs of
more than 60,000 characters of it are compared by a hash in which equal numbers are alike and floats
have six digits; those with a `repr` of more than a million by a hash of that, with floats likewise
up to ten million.
"""

import json
from collections.abc import Sequence
from math import isclose, isnan
from typing import Any

MARK = "\x1e"
"""Stands before the outputs, after whatever the program printed itself."""

VIEWS = {"": "lambda value: value", "set": "set", "found": "_found"}
"""Of an output: all of it, its distinct items, or whether there is one (a match of a pattern)."""

HARNESS = """
import copy as _copy, json as _json, re as _re
from hashlib import sha256 as _hash
inf, nan = float("inf"), float("nan")
_FLOAT = _re.compile(r"(?<!\\d)-?\\d+(?:[.]\\d+(?:e[+-]?\\d+)?|e[+-]?\\d+)")
def _encode(value):
    if getattr(value, "shape", None) == ():
        value = value.item()  # a number of numpy
    # What is of a subclass equals what it is made of: a Counter a dict, a named tuple a tuple.
    if value is None or value is True or value is False or isinstance(value, str):
        return value
    if isinstance(value, float):
        return ["float", float.__repr__(value)]
    if isinstance(value, complex):
        return ["complex", [_encode(value.real), _encode(value.imag)]]
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_encode(item) for item in value]]
    if isinstance(value, (set, frozenset)):
        return ["set", sorted((_encode(item) for item in value), key=lambda x: repr(_plain(x)))]
    if isinstance(value, dict):
        return ["dict", [_encode(pair) for pair in value.items()]]
    if hasattr(type(value), "__index__"):
        return ["int", hex(value)]
    return ["other", repr(value)]
def _rounded(value):
    return int(value) if value.is_integer() else "%.6g" % value
def _plain(code):
    if type(code) is bool:
        return ["number", hex(code)]
    if type(code) is not list:
        return code
    if type(code[1]) is list:
        items = [_plain(item) for item in code[1]]
        return [code[0], sorted(items, key=repr) if code[0] in ("set", "dict") else items]
    if code[0] == "float":
        value = _rounded(float(code[1]))
        return ["number", hex(value) if type(value) is int else value]
    return ["number", code[1]] if code[0] == "int" else code
def _outcome(value):
    if type(value) is int:
        return _encode(value)  # Python prints no number of more than 4300 digits
    text = repr(value)
    if len(text) > 1000000:
        if len(text) < 10000000:  # beyond, it takes minutes and memory
            text = _FLOAT.sub(lambda found: str(_rounded(float(found[0]))), text)
        return ["long", _hash(text.encode()).hexdigest()]
    code = _encode(value)
    plain = _json.dumps(_plain(code))  # as long for every value that equals this one
    return code if len(plain) < 60000 else ["long", _hash(plain.encode()).hexdigest()]
def _found(value):
    return value if isinstance(value, bool) else value is not None
def _run(function, inputs, view):
    found = []
    for arguments in inputs:
        try:
            found.append(_outcome(view(function(*_copy.deepcopy(arguments)))))
        except Exception as error:
            found.append(["error", f"{type(error).__name__}: {error}"[:200]])
    return found
"""
_DEEPEST = 100
"""No function of the benchmarks returns lists in lists in lists that deep; Python's stack is."""


def harness(program: str, entry_point: str, inputs: Sequence[Sequence[Any]], view: str = "") -> str:
    """A program that defines a candidate, calls it on every input and prints the outputs.

    Args:
        program: Defines the function.
        entry_point: Its name.
        inputs: Positional arguments of each call.
        view: A key of `VIEWS`: what of each output is taken.
    """
    return (
        f"_space = {{'__name__': 'candidate'}}\n"
        f"exec(compile({program!r}, 'candidate', 'exec'), _space)\n{HARNESS}\n"
        f"_outputs = _run(_space[{entry_point!r}], {tuple(inputs)!r}, {VIEWS[view]})\n"
        f"print({MARK!r} + _json.dumps(_outputs), flush=True)\n"
    )


def read_outputs(stdout: str, count: int) -> list[Any] | None:
    """The encoded outputs of `count` tests.

    Returns:
        `None` where there are none: the program ended before its tests, or wrote something else in
        their place.
    """
    _, mark, tail = stdout.rpartition(MARK)
    try:
        outputs = json.loads(tail) if mark else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(outputs, list) or len(outputs) != count:
        return None
    return outputs if all(map(_well_formed, outputs)) else None


def _well_formed(code: Any, depth: int = 0) -> bool:
    """Whether the harness can have written this."""
    if depth > _DEEPEST:
        return False
    if not isinstance(code, list):
        return code is None or isinstance(code, bool | str)
    if len(code) != 2 or not isinstance(code[0], str):
        return False
    if isinstance(code[1], list):
        return code[0] in {"list", "tuple", "set", "dict", "complex"} and all(
            _well_formed(item, depth + 1) for item in code[1]
        )
    try:
        _number(code)
    except (ValueError, TypeError):
        return False
    return isinstance(code[1], str)


def is_error(encoded: Any) -> bool:
    """Whether a call raised instead of returning."""
    return isinstance(encoded, list) and encoded[0] == "error"


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Equality of encoded values as Python has it, floats within the tolerance.

    >>> same(["tuple", [["int", "0x1"], ["float", "0.5"]]], ["tuple", [True, ["float", "0.5"]]], 0)
    True
    >>> same(["tuple", []], ["list", []], 0)
    False
    """
    left, right = _number(a), _number(b)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _close(left, right, tolerance)
    if not isinstance(a, list) or not isinstance(b, list) or a[0] != b[0]:
        return bool(a == b)
    if not isinstance(a[1], list):
        return bool(a[1] == b[1])
    ours, theirs = a[1], b[1]
    if a[0] == "dict":
        ours, theirs = sorted(ours, key=repr), sorted(theirs, key=repr)
    return len(ours) == len(theirs) and all(
        same(x, y, tolerance) for x, y in zip(ours, theirs, strict=True)
    )


def is_root(coefficients: Sequence[float], output: Any) -> bool:
    """Whether an output is a root of the polynomial (lowest power first), to 1e-4."""
    value = _number(output)
    if not isinstance(value, int | float):
        return False
    try:
        value = float(value)  # powers of an integer of a million digits would take hours
        return abs(sum(c * value**power for power, c in enumerate(coefficients))) <= 1e-4
    except OverflowError:
        return False


def _close(a: float, b: float, tolerance: float) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    try:
        return a == b or isclose(a, b, rel_tol=1e-7, abs_tol=tolerance) or (isnan(a) and isnan(b))
    except OverflowError:  # an integer that is too large to be a float
        return False


def _number(encoded: Any) -> Any:
    """The number behind an encoded int or float; other values as they are."""
    if isinstance(encoded, list) and encoded[0] == "int":
        return int(encoded[1], 16)
    if isinstance(encoded, list) and encoded[0] == "float":
        return float(encoded[1])
    return encoded
