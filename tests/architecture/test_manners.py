"""How tests behave: through public names only, and saying something that can be false."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rewards", "torl_env", "agents", "benchmarks", "torl", "runs")
OTHERS = {
    *("_attn_implementation", "_compute_loss", "_exit", "_init_vllm", "_iter_named_params"),
    *("_last_loaded_step", "_set_sync_gradients"),
}
"""Private names of transformers, TRL and Python that our code or our tests have to use."""


@cache
def parsed() -> list[tuple[Path, ast.Module]]:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    return [(path.relative_to(ROOT), ast.parse(path.read_text())) for path in paths]


def in_packages(pattern: str) -> set[str]:
    """What a regular expression finds in our sources: a parser would take seconds."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {name for path in paths for name in re.findall(pattern, path.read_text())}


def defined(tree: ast.Module) -> Iterator[str]:
    """Private names that a module gives to something."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self")):
                yield name


def used(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Private names that a module takes of others: by a dot, an import, or as text."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls" | "super")):
                continue
            case ast.Attribute(attr=name):
                yield node.lineno, name
            case ast.ImportFrom(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.Constant(value=str(name)) if name.isidentifier():
                yield node.lineno, name


def test_tests_use_public_names_only() -> None:
    """What a test needs of a package is part of what the package offers."""
    private = in_packages(r"\b_[A-Za-z]\w*(?<!__)\b")
    found = []
    for path, tree in parsed():
        others = private - OTHERS - {*defined(tree)}
        found += [f"{path}:{line} {name}" for line, name in used(tree) if name in others]
    assert found == []


def says_nothing(test: ast.expr, enums: set[str]) -> bool:
    match test:
        case ast.Constant():
            return True
        case ast.Compare(ops=[ast.In()], comparators=[ast.Name(id=name)]):
            return name in enums
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="len")),
            ops=[ast.GtE()],
            comparators=[ast.Constant(value=0)],
        ):
            return True
        case ast.Call(
            func=ast.Name(id="isinstance"),
            args=[ast.Call(func=ast.Name(id=made)), ast.Name(id=kind)],
        ):
            return made == kind
        case ast.Compare(left=ast.Name(id=name), comparators=[ast.Name(id=other)]):
            return name == other
    return False


def test_every_assertion_can_fail() -> None:
    """`verdict in Verdict`, `len(x) >= 0`, `isinstance(Made(), Made)` say nothing."""
    enums = in_packages(r"(?m)^class (\w+)\(\w*Enum\)")
    assert "Verdict" in enums
    found = [
        f"{path}:{node.lineno}"
        for path, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and says_nothing(node.test, enums)
    ]
    assert found == []
