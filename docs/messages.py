"""The messages of errors that a user can meet, read from the code."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = "rewards", "torl_env", "agents", "benchmarks/heldout", "benchmarks/report", "torl"
INTERNAL = {
    # Control flow between our own modules, or wire formats of other projects' clients.
    *("AssertionError", "AttributeError", "HTTPException", "InvalidRequestError", "LimitHitError"),
    *("NotImplementedError", "OSError", "RemoteError", "RequestError", "UnreadableError"),
    "WorkerError",
}
GUARDS = {"memory_errors_say": "TrainingError"}
"""Functions that raise the error with the message they are given."""

NAMED_OTHERWISE = {"InvalidAction", "ResetNeeded"}
"""Gymnasium's errors whose names do not say so."""


@dataclass(frozen=True, slots=True)
class Message:
    """One place that raises."""

    error: str
    text: str
    """What is filled in at run time is `…`."""
    file: str


def messages() -> Iterator[Message]:
    """All messages, in the order of files."""
    for path in (path for place in PLACES for path in sorted((ROOT / place).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            # Errors are raised where they are made, or made by a function that returns them.
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            name = GUARDS.get(name, name)
            if not name.endswith("Error") and name not in NAMED_OTHERWISE:
                continue
            text = " ".join(_text(node.args[0]).split())
            if name not in INTERNAL and text.strip("… "):
                yield Message(name, text, path.relative_to(ROOT).as_posix())


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
    return "…"


def page(every: Iterable[Message]) -> str:
    """Messages as a page of the site."""
    found: dict[str, dict[str, list[str]]] = {}
    for message in every:
        places = found.setdefault(message.error, {}).setdefault(message.text, [])
        if message.file not in places:
            places.append(message.file)
    lines = [
        "# All messages",
        "",
        "Read from the code when this site is built. `…` is filled in at run time. A message says "
        "what was expected, what came and what to do; [Troubleshooting](../troubleshooting.md) "
        "says more of the frequent ones.",
    ]
    for error, texts in sorted(found.items()):
        lines += ["", f"## {error}", "", "| message | raised in |", "| --- | --- |"]
        for text, places in texts.items():
            shown = text.replace("|", "\\|")
            fence = "``" if "`" in shown else "`"
            where = ", ".join(f"`{place}`" for place in places)
            pad = " " if "`" in shown else ""
            lines.append(f"| {fence}{pad}{shown}{pad}{fence} | {where} |")
    return "\n".join([*lines, ""])
