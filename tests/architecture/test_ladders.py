"""No class is cut in two: a base that serves one class of another file is part of that class."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rewards", "torl_env", "agents", "benchmarks", "torl")
CLASS = re.compile(r"^ *class (\w+)(?:\(([^)]*)\))?:", re.M)
STAY = {
    "Policy": "a protocol that others write; `JoinablePolicy` is what a stream needs beyond it",
    "ServeOptions": "the server's own; the command adds what its sandbox is given",
}
"""Bases that stay for one class of another file, and why."""


def test_no_class_is_the_base_of_one_class_in_another_file_and_nothing_else() -> None:
    """A base is a class of its own where it is made somewhere, or where two derive from it."""
    files = [path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    headers = [CLASS.findall(text) for text in files]
    ours = {name for found in headers for name, _ in found}
    derived = [
        (base, name, base in {own for own, _ in found})
        for found in headers
        for name, bases in found
        for base in re.findall(r"(?<![\w.])\w+", bases)
        if base in ours
    ]
    made = {
        name
        for text in files
        for name in re.findall(r"(?<![\w.])(_?[A-Z]\w+)\(", CLASS.sub("", text))
    }
    assert "LocalSandbox" in made
    counts = [base for base, _, _ in derived]
    ladders = {
        base: name
        for base, name, beside in derived
        if counts.count(base) == 1 and not beside and base not in made
    }
    assert ladders.keys() == STAY.keys(), ladders
