"""Objects by name: `module:object` to the object, and an object back to such a name."""

import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rewards.suggestion import did_you_mean
from torl_env.errors import ConfigError

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_reference(text: str) -> bool:
    """Whether `text` has the form `module:object`, dots allowed on both sides.

    >>> is_reference("mine.tools:sql"), is_reference("Answer: {question}")
    (True, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def load_object(reference: str, what: str = "object", instead: Iterable[str] = ()) -> Any:
    """The object called `module:object`; modules of the current folder can be imported.

    Args:
        reference: `module:object`; the object may be an attribute of another, `module:a.b`.
        what: The option it is for, for the message.
        instead: Other names that the option takes; the message offers those that are near.

    Raises:
        ConfigError: It has another form, or cannot be imported, or the module has no such object.

    Example:
        >>> load_object("math:pi")
        3.141592653589793
    """
    if not is_reference(reference):
        raise ConfigError(f"{what}: expected module:object, such as mine:answer, got {reference!r}")
    module_name, _, path = reference.partition(":")
    here = str(Path.cwd())
    # A console script, unlike `python -m`, does not look in the current folder. It comes last, so
    # that a file of the user called random.py replaces nothing.
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"{what}: {module_name} cannot be imported: {error}") from error
        raise ConfigError(
            f"{what}: expected module:object that can be imported, got {reference!r}: there is no "
            f"module {error.name!r} here ({here}) or installed; start in the folder of the file."
            f"{did_you_mean(reference, instead)}"
        ) from None
    except ImportError as error:
        raise ConfigError(f"{what}: {module_name} cannot be imported: {error}") from error
    module = found
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            public = ", ".join(n for n in vars(module) if not n.startswith("_")) or "nothing"
            raise ConfigError(
                f"{what}: {module_name} ({getattr(module, '__file__', 'built in')}) has no "
                f"{path!r}; it has {public[:300]}"
            ) from None
    return found


def reference_of(found: object) -> str | None:
    """The `module:object` that `load_object` would find this very object by, if there is one.

    >>> import statistics
    >>> reference_of(statistics.mean), reference_of(object())
    ('statistics:mean', None)
    """
    # A FunctionTool stands where its function was defined.
    named = getattr(found, "function", found)
    module_name = getattr(named, "__module__", None)
    path = getattr(named, "__qualname__", None)
    if module_name in (None, "__main__") or path is None or module_name not in sys.modules:
        return None
    there: Any = sys.modules[module_name]
    for name in path.split("."):
        there = getattr(there, name, None)
    return f"{module_name}:{path}" if there is found else None
