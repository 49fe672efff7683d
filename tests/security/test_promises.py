"""Each promise of docs/sandbox.md names tests and programs that hold it to its layers."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "sandbox.md").read_text("utf-8")


@dataclass(frozen=True)
class Promise:
    """A row of the table."""

    text: str
    holds: str
    """`every set`, or layers: `a or b` are each enough, `a and b` are needed both."""
    tests: str

    def names(self) -> Iterator[str]:
        """What the row names, each in full: `time.txt/loop`, `test_truth.py::test_one`, ..."""
        file = ""
        for name in re.findall(r"`([^`]+)`", self.tests):
            if name.endswith((".txt", ".py")):
                file = name
                yield name
            elif "/" in name:
                file = name.partition("/")[0]
                yield name
            elif name.startswith("test_"):
                yield f"{file}::{name}" if file.endswith(".py") else name
            else:
                yield f"{file}/{name}"

    def is_kept(self, by: frozenset[str]) -> bool:
        """Whether a program that these layers stop alone is checked wherever this must hold."""
        layers = re.split("[;,]", self.holds)[0]
        if layers == "every set":
            return not by
        enough = [set(both.split(" and ")) for both in layers.split(" or ")]
        return not by or all(by & both for both in enough)


PROMISES = [
    Promise(*(cell.strip() for cell in row.split(" | ")))
    for row in re.findall(
        r"^\| (.+) \|$", PAGE.split("\n## Promises\n")[1].split("\n## ")[0], re.MULTILINE
    )[1:]
]


def test_every_program_keeps_a_promise(categories: dict[str, list[Any]]) -> None:
    """It is judged by the rows that name it, or else by those that name its file."""
    rows: dict[str, list[Promise]] = defaultdict(list)
    for promise in PROMISES:
        for name in promise.names():
            rows[name].append(promise)
    attacks = {
        f"{file}.txt/{attack.name.partition('/')[2]}": attack.by
        for file, attacks in categories.items()
        for attack in attacks
    }
    judged = {name: rows[name] or rows[name.partition("/")[0]] for name in attacks}
    assert [name for name, found in judged.items() if not found] == []
    assert [
        (name, by, promise.text)
        for name, by in attacks.items()
        for promise in judged[name]
        if not promise.is_kept(by)
    ] == []
    assert {name for name in rows if ".txt/" in name} <= set(attacks)


def test_every_test_that_is_named_exists() -> None:
    there = {path.name for path in (*TESTS.glob("test_*.py"), *TESTS.glob("programs/*.txt"))}
    for path in TESTS.glob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                there |= {node.name, f"{path.name}::{node.name}"}
    named = {name for promise in PROMISES for name in promise.names() if ".txt/" not in name}
    assert len(named) > 20
    assert named <= there, named - there
