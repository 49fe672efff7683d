"""What can be said of a function's result without calling it."""

import dis
import inspect
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin, get_type_hints

from torl_env.errors import ConfigError


def refuse_returns(
    function: Callable[..., Any], what: str, kinds: tuple[type, ...], expected: str
) -> None:
    """Refuse a function of which it can be seen, without calling it, that it returns the wrong.

    A grader or a tool may ask a server or a model, so that trying it has a price; what it declares,
    and what it cannot do, tells most mistakes.

    Args:
        function: The function.
        what: Its place, for the message.
        kinds: Types that it may return.
        expected: The same in words.

    Raises:
        ConfigError: It is async or a generator, its annotation allows none of `kinds`, or every
            `return` in it gives `None`.
    """
    plain = isinstance(function, types.FunctionType | types.MethodType)
    called = function if plain else type(function).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigError(
            f"{what} is async: expected a plain function that returns {expected}; write `def` and "
            "wait inside, it is called from a thread of its own"
        )
    if inspect.isgeneratorfunction(called):
        raise ConfigError(f"{what} is a generator: expected a function that returns {expected}")
    try:
        hint = get_type_hints(called).get("return", Any)
    except (NameError, TypeError):
        hint = Any
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if hint is not Any and all(
        isinstance(option, type) and not issubclass(option, kinds) for option in options
    ):
        shown = getattr(hint, "__name__", str(hint))
        raise ConfigError(
            f"{what}: expected it to return {expected}, but it says -> {shown}; convert it"
        )
    if isinstance(called, types.FunctionType | types.MethodType) and _returns_nothing(called):
        raise ConfigError(
            f"{what}: expected it to return {expected}, but it returns nothing: add a `return`"
        )


def _returns_nothing(function: Callable[..., Any]) -> bool:
    """Whether a function ends by itself and every `return` of it gives `None`."""
    before, returned = None, False
    for step in dis.get_instructions(function):
        if step.opname == "RETURN_CONST":  # Python 3.12 and 3.13
            returned = True
            if step.argval is not None:
                return False
        elif step.opname == "RETURN_VALUE":
            returned = True
            # `return a or None` jumps to the RETURN_VALUE behind a constant.
            none = before is not None and before.opname == "LOAD_CONST" and before.argval is None
            if not none or step.is_jump_target:
                return False
        before = step
    return returned
