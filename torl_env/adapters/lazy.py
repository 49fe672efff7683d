"""Names of a module that need another stack, which is imported only when they are asked for."""

import importlib
from collections.abc import Callable, Collection
from typing import Any


def on_request(
    module: str, names: Collection[str], find: Callable[[str], Any]
) -> Callable[[str], Any]:
    """A module's `__getattr__`: `find` gives what the names stand for (PEP 562)."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return find(name)

    return get


def needed(module: str, remedy: str) -> Any:
    """A module of another stack.

    Raises:
        ImportError: It is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this adapter needs {remedy} ({error})") from error
