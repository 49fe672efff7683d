"""What a program under test returned: run, encoded as JSON, compared with what was expected.

JSON knows neither tuples nor sets nor large integers, so every value carries its type. Outputs of
more than 20,000 characters are compared by a hash with floats rounded to six digits, those of more
than a million by a hash of their `repr`.
"""

import json
from collections.abc import Sequence
from math import isclose, isnan
from typing import Any

MARK = "\x1e"
"""Stands before the outputs, after whatever the program printed itself."""

HARNESS = """
import copy as _copy, json as _json
from hashlib import sha256 as _hash
inf, nan = float("inf"), float("nan")
def _encode(value):
    if value is None or value is True or value is False or type(value) is str:
        return value
    if type(value) is int:
        return ["int", hex(value)]
    if type(value) is float:
        return ["float", repr(value)]
    if type(value) in (list, tuple):
        return [type(value).__name__, [_encode(item) for item in value]]
    if type(value) in (set, frozenset):
        return ["set", sorted(([_encode(item) for item in value]), key=repr)]
    if type(value) is dict:
        return ["dict", [_encode(pair) for pair in value.items()]]
    return ["other", repr(value)]
def _rounded(code):
    if type(code) is list and code[0] == "float":
        return "%.6g" % float(code[1])
    if type(code) is list and type(code[1]) is list:
        return [code[0], [_rounded(item) for item in code[1]]]
    return code
def _outcome(value):
    text = repr(value)
    if len(text) > 1000000:
        return ["long", _hash(text.encode()).hexdigest()]
    code = _encode(value)
    if len(text) < 20000:
        return code
    return ["long", _hash(_json.dumps(_rounded(code)).encode()).hexdigest()]
def _run(function, inputs):
    found = []
    for arguments in inputs:
        try:
            found.append(_outcome(function(*_copy.deepcopy(arguments))))
        except Exception as error:
            found.append(["error", f"{type(error).__name__}: {error}"[:200]])
    return found
"""


def harness(program: str, entry_point: str, inputs: Sequence[Sequence[Any]]) -> str:
    """A program that defines a candidate, calls it on every input and prints the outputs.

    Args:
        program: Defines the function.
        entry_point: Its name.
        inputs: Positional arguments of each call.
    """
    return (
        f"_space = {{'__name__': 'candidate'}}\n"
        f"exec(compile({program!r}, 'candidate', 'exec'), _space)\n{HARNESS}\n"
        f"_found = _run(_space[{entry_point!r}], {tuple(inputs)!r})\n"
        f"print({MARK!r} + _json.dumps(_found), flush=True)\n"
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


def _well_formed(code: Any) -> bool:
    """Whether the harness can have written this."""
    if not isinstance(code, list):
        return code is None or isinstance(code, bool | str)
    if len(code) != 2 or not isinstance(code[0], str):
        return False
    if isinstance(code[1], list):
        return code[0] in {"list", "tuple", "set", "dict"} and all(map(_well_formed, code[1]))
    try:
        _number(code)
    except (ValueError, TypeError):
        return False
    return isinstance(code[1], str)


def is_error(encoded: Any) -> bool:
    """Whether a call raised instead of returning."""
    return isinstance(encoded, list) and encoded[0] == "error"


def members(encoded: Any) -> list[str]:
    """The distinct items of an encoded container, in an order of their own."""
    items = encoded[1] if isinstance(encoded, list) and isinstance(encoded[1], list) else [encoded]
    return sorted({json.dumps(item) for item in items})


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
    return abs(sum(c * value**power for power, c in enumerate(coefficients))) <= 1e-4


def _close(a: float, b: float, tolerance: float) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return a == b or isclose(a, b, rel_tol=1e-7, abs_tol=tolerance) or (isnan(a) and isnan(b))


def _number(encoded: Any) -> Any:
    """The number behind an encoded int or float; other values as they are."""
    if isinstance(encoded, list) and encoded[0] == "int":
        return int(encoded[1], 16)
    if isinstance(encoded, list) and encoded[0] == "float":
        return float(encoded[1])
    return encoded
