"""The public interface as a list: `python .ci/public_api.py` prints it, `--write` keeps it.

One line a name, with the names of its parameters. tests/docs/test_project.py holds the code to the
list, so that nobody changes the interface without seeing it.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from enum import EnumMeta
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs" / "project" / "public_api.txt"
PACKAGES = (
    "torl",
    "torl_env",
    "torl_env.sandbox",
    "torl_env.tools",
    "torl_env.problems",
    "torl_env.wrappers",
    "rewards",
    "agents.grpo",
    "agents.ppo",
    "agents.thor",
    "agents.sft",
    "agents.cot",
)


def lines() -> Iterator[str]:
    """The list."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in sorted(module.__all__):
            yield f"{package}.{name}{_shape(getattr(module, name))}"
    from torl.__main__ import COMMANDS

    yield from (f"$ torl {name}" for name in sorted(COMMANDS))


def _shape(item: object) -> str:
    if isinstance(item, EnumMeta):
        return f": {' '.join(str(member.value) for member in item)}"
    # A protocol is its methods; what its class is called with differs between Pythons.
    if not callable(item) or getattr(item, "_is_protocol", False):
        return ""
    try:
        parameters = inspect.signature(item).parameters
    except (TypeError, ValueError):
        return ""
    return f"({', '.join(_name(one) for one in parameters.values())})"


def _name(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return stars + parameter.name


if __name__ == "__main__":
    text = "\n".join(lines()) + "\n"
    if "--write" in sys.argv:
        LIST.write_text(text)
    else:
        print(text, end="")
