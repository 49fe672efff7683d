"""What verl's reward makes of our server's answers, situation by situation.

verl (`verl.utils.reward_score.sandbox_fusion`) sends each test case of a problem to `/run_code` and
turns the answer into True, False, or -1 to -4: the sandbox failed, the program failed, out of time,
it does not compile. The reading of an answer is written here anew from that interface.
"""

import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

Verdict = bool | int
SANDBOX, RUNTIME, TIMEOUT, COMPILE = -1, -2, -3, -4

CALLER = """
import json, sys
{program}

def _call(name):
    rows = [json.loads(row) for row in sys.stdin.read().split("\\n") if row.strip()]
    found = globals().get(name) or getattr(globals()["Solution"](), name)
    return found(*rows)

if __name__ == "__main__":
    _value = _call("{name}")
    plain = isinstance(_value, (int, float, str)) and not isinstance(_value, bool)
    print(_value if plain else json.dumps(_value))
"""


def verdict(status: int, answer: Any, expected: str | None) -> Verdict:
    """Of one test case."""
    if status != 200 or answer["status"] == "SandboxError":
        return SANDBOX
    compiled, run = answer["compile_result"], answer["run_result"]
    if answer["status"] == "Failed":
        if compiled and (compiled["status"] != "Finished" or compiled["return_code"]):
            return COMPILE
        if not run:
            return SANDBOX
        return TIMEOUT if run["status"] == "TimeLimitExceeded" else RUNTIME
    if answer["status"] != "Success" or not run or run["status"] != "Finished":
        return SANDBOX
    return expected is None or run["stdout"].rstrip("\n") == expected.rstrip("\n")


def check(url: str, program: str, stdin: str | None, expected: str | None, **more: Any) -> Verdict:
    request = {
        "compile_timeout": 3,
        "run_timeout": 3,
        "code": program,
        "stdin": stdin,
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    connection.request("POST", "/run_code", json.dumps(request | more), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return verdict(response.status, json.loads(body), expected)


def called(program: str, name: str) -> str:
    return CALLER.format(program=program, name=name)


DOUBLE = "print(int(input()) * 2)"
SITUATIONS: dict[str, tuple[str, str | None, str | None, dict[str, Any], Verdict]] = {
    "right": (DOUBLE, "4\n", "8\n", {}, True),
    "right without a newline": (DOUBLE, "4", "8", {}, True),
    "wrong": (DOUBLE, "4", "9", {}, False),
    "nothing expected": (DOUBLE, "4", None, {}, True),
    "silent": ("x = 1", None, "", {}, True),
    "silent where words are expected": ("x = 1", None, "1", {}, False),
    "spaces count": ("print('a ')", None, "a", {}, False),
    "several lines": (
        "for line in open(0): print(line.strip()[::-1])",
        "ab\ncd",
        "ba\ndc",
        {},
        True,
    ),
    "all of standard input": (
        "import sys; print(len(sys.stdin.read()))",
        "x" * 10**6,
        "1000000",
        {},
        True,
    ),
    "no standard input": ("print(input())", None, "", {}, RUNTIME),
    "warns": ("import sys; print('w', file=sys.stderr); print(1)", None, "1", {}, True),
    "raises": ("1/0", None, "", {}, RUNTIME),
    "right, then raises": ("print(8)\n1/0", None, "8", {}, RUNTIME),
    "exits 0": ("import sys; print(8); sys.exit(0)", None, "8", {}, True),
    "exits 1": ("import sys; print(8); sys.exit(1)", None, "8", {}, RUNTIME),
    "does not compile": ("def f(:", None, "", {}, RUNTIME),
    "computes for too long": ("while True: pass", None, "", {"run_timeout": 1}, TIMEOUT),
    "sleeps for too long": ("import time; time.sleep(60)", None, "", {"run_timeout": 1}, TIMEOUT),
    "out of memory": ("x = bytearray(3 * 10**9)", None, "", {}, RUNTIME),
    "crashes": ("import ctypes; ctypes.string_at(0)", None, "", {}, RUNTIME),
    "a function": (called("def f(a, b): return a + b", "f"), "[1]\n[2]", "[1, 2]", {}, True),
    "a method": (
        called("class Solution:\n    def f(self, a): return a == 1", "f"),
        "1",
        "true",
        {},
        True,
    ),
    "an assertion of the test": ("def f(x): return x\n\nassert f(1) == 2", None, None, {}, RUNTIME),
    "assertions of the test that hold": (
        "from typing import List\ndef f(x: List[int]): return x\nassert f([1]) == [1]",
        None,
        None,
        {},
        True,
    ),
    "a function that is not there": (called("x = 1", "f"), "1", "1", {}, RUNTIME),
    "a function that raises": (called("def f(a): return 1 / a", "f"), "0", "", {}, RUNTIME),
    "a name that is not defined": ("a = b", None, "", {}, RUNTIME),
    "says something and raises": (
        "import sys; print('now', file=sys.stderr); raise ValueError('no')",
        "x",
        "",
        {},
        RUNTIME,
    ),
    "empty standard input": ("import sys; print(repr(sys.stdin.read()))", "", "''", {}, True),
    "no standard input at all": (
        "import sys; print(repr(sys.stdin.read()))",
        None,
        "''",
        {},
        True,
    ),
    "all names of modules": (
        "from string import *\nfrom re import *\nfrom math import *\nfrom io import *\n"
        "from sys import *\nfrom json import *\nfrom builtins import *\nprint(gcd(4, 6))",
        None,
        "2",
        {},
        True,
    ),
    "longer than is returned": ("print('x' * 10**7)", None, "x" * 10**7, {}, RUNTIME),
    "another language": ("int main() {}", None, "", {"language": "cpp"}, SANDBOX),
}


@pytest.fixture(scope="module")
def url(serve: Callable[..., str]) -> str:
    return serve()


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_verdict_is_sandbox_fusions(url: str, name: str) -> None:
    program, stdin, expected, more, wanted = SITUATIONS[name]
    assert check(url, program, stdin, expected, **more) == wanted


def test_many_at_once_keep_their_order_and_verdicts(url: str) -> None:
    program = "import time\nname = input()\nif name == 'slow': time.sleep(60)\nprint('out', name)"
    cases = [("slow" if n % 10 == 3 else str(n)) for n in range(40)]
    expected = [f"out {name}" if n % 7 else "another" for n, name in enumerate(cases)]
    wanted = [TIMEOUT if name == "slow" else bool(n % 7) for n, name in enumerate(cases)]
    with ThreadPoolExecutor(40) as pool:
        found = pool.map(
            lambda case: check(url, program, case[0], case[1], run_timeout=2),
            zip(cases, expected, strict=True),
        )
        assert list(found) == wanted


def test_a_program_has_a_file_name(url: str) -> None:
    program = "import os; print(os.path.basename(__file__))"
    assert check(url, program, None, "main.py") is True
