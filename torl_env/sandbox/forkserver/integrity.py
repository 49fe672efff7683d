"""What a session's interpreter needs for its next turn, put back as it was before every turn.

All turns of a session run in copies of one process, so what a turn patches, later turns live with:
without this, `sys._getframe(1).f_globals["exec"] = lambda *words: None` makes all of them succeed.
Here every module, class, function and object of ours on their way is noted in tuples before any
code of a program ran, and whatever has changed is put back from these. Nothing of a program runs
from then until its next turn does: destructors, signal handlers, traces and codecs wait or are off.

It keeps Python code from lying about later turns that do not run it. What a later turn runs, such
as a `print` that an earlier one replaced, is part of it. Machine code cannot be kept from anything
in its own process: what `ctypes` writes over the interpreter's memory stays. So a session owns its
own later turns, and nothing else: it has no part in what the server, another session or a single
program is told.
"""

import _signal  # type: ignore[import-not-found]
import builtins
import codecs
import ctypes
import gc
import itertools
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

_LIVE: Final = frozenset(("sys", "threading", "_thread", "atexit", "linecache", "traceback"))
"""Modules whose state is the program's, such as its streams. Of all others that our code looks
into, it gets copies."""
_FAILED: Final = 70
_KNOWN: Final = ((3, 11), (3, 12), (3, 13))
"""Versions of CPython whose objects have the form that `_memory` expects."""


class Kept(NamedTuple):
    """Everything that is put back."""

    seen: tuple[tuple[memoryview, bytes], ...]
    """The memory in which all of it stands, as it was; nothing where its form is not known."""
    spaces: tuple[tuple[dict[Any, Any], tuple[tuple[Any, Any], ...]], ...]
    """Dictionaries, with their items."""
    classes: tuple[tuple[type, tuple[tuple[str, Any], ...]], ...]
    """Classes, with their attributes."""
    functions: tuple[
        tuple[types.FunctionType, types.CodeType, Any, tuple[tuple[str, Any], ...]], ...
    ]
    """Functions, with code and defaults."""
    slots: tuple[tuple[object, str, object], ...]
    """Classes of objects, and attributes of those that have no dictionary."""


def own_builtins() -> None:
    """Let programs find a copy of `builtins`, so that what they patch are their own functions."""
    copy = types.ModuleType("builtins", builtins.__doc__)
    vars(copy).update(vars(builtins))
    sys.modules["builtins"] = copy


def keep(
    root: Callable[..., object], modules: Iterable[types.ModuleType], objects: Iterable[object]
) -> Kept:
    """Note the present state, and give the modules copies of what they share with programs.

    Args:
        root: What runs a turn.
        modules: Ours, through which it passes.
        objects: Ours, into which it looks.
    """
    ours, held = list(modules), list(objects)
    functions = [item for module in ours for item in _functions(vars(module), module.__name__)]
    names = _names(root, functions)
    classes = {type(item) for item in held} | {
        item
        for module in ours
        for name, item in vars(module).items()
        if name in names and isinstance(item, type) and item.__module__ == module.__name__
    }
    spaces = [vars(builtins), *_copies(ours), *(vars(module) for module in ours)]
    for item in held:
        if hasattr(item, "__dict__"):
            # A dictionary that shares no keys with those of other objects of its class.
            item.__dict__ = {**vars(item)}
            spaces.append(vars(item))
    functions = [item for item in functions if item.__name__ in names]
    return Kept(
        tuple(_memory(spaces, classes, functions, held)),
        tuple((space, tuple(space.items())) for space in spaces),
        tuple((item, tuple(vars(item).items())) for item in classes),
        tuple(
            (item, item.__code__, item.__defaults__, tuple((item.__kwdefaults__ or {}).items()))
            for item in functions
        ),
        tuple(
            (item, name, getattr(item, name))
            for item in held
            for name in ("__class__", *getattr(type(item), "__slots__", ()))
        ),
    )


def _memory(
    spaces: list[dict[Any, Any]],
    classes: Iterable[type],
    functions: list[types.FunctionType],
    objects: list[object],
) -> Iterator[tuple[memoryview, bytes]]:
    """Where CPython keeps what must not change, and what is there.

    To look at an object is to count a reference, which copies its page in a forked process: with
    some hundred objects that is half of what a turn costs. Memory can be looked at without.
    """
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in _KNOWN:
        return
    for space in (*spaces, *(gc.get_referents(vars(item))[0] for item in classes)):
        # ob_refcnt, ob_type, ma_used, a tag, ma_keys, ma_values
        yield _range(id(space) + 16, 8)
        yield _range(id(space) + 32, 16)
        keys = ctypes.c_void_p.from_address(id(space) + 32).value or 0
        # dk_refcnt and sizes, dk_version, and so on with dk_entries at the end
        yield _range(keys + 16, space.__sizeof__() - object.__sizeof__(space) - 16)
    for function in functions:
        # ..., func_globals, func_builtins, two names, func_code, defaults, func_closure
        yield _range(id(function) + 16, 64)
    for item in objects:
        # ob_type, and what stands in slots
        yield _range(id(item) + 8, type(item).__basicsize__ - 8)


def _range(address: int, size: int) -> tuple[memoryview, bytes]:
    view = memoryview((ctypes.c_char * size).from_address(address)).toreadonly()
    return view, view.tobytes()


def _names(root: Callable[..., object], functions: list[types.FunctionType]) -> set[str]:
    """Every name that is looked up from `root` on."""
    names = {"__call__", root.__name__}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        for function in functions:
            if function.__name__ == name:
                found = set(_names_in(function.__code__)) - names
                names |= found
                waiting += found
    return names


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from _names_in(item)


def _copies(modules: list[types.ModuleType]) -> Iterator[dict[Any, Any]]:
    """Put into the modules copies of others; yields the dictionaries of these."""
    copies: dict[str, types.ModuleType] = {}
    for module in modules:
        for name, item in list(vars(module).items()):
            if not isinstance(item, types.ModuleType) or item in modules:
                continue
            if item.__name__ in _LIVE:
                continue
            if item.__name__ not in copies:
                copy = copies[item.__name__] = types.ModuleType(item.__name__)
                vars(copy).update(vars(item))
                yield vars(copy)
            vars(module)[name] = copies[item.__name__]


def _functions(space: Mapping[str, Any], module: str) -> Iterator[types.FunctionType]:
    for item in space.values():
        function = getattr(item, "__func__", getattr(item, "fget", item))
        if isinstance(function, types.FunctionType) and function.__module__ == module:
            yield function
        elif isinstance(item, type) and item.__module__ == module:
            yield from _functions(vars(item), module)


def _quiet() -> list[tuple[Callable[..., object], tuple[Any, ...]]]:
    """Calls that keep what a program has left from running: traces, signals and codecs.

    The server wakes a session with SIGCONT, and a program's own error handler would read the
    source.
    """
    calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = [
        # What is replaced is asked for first, so that it is not given up.
        (sys.gettrace, ()),
        (sys.settrace, (None,)),
        (sys.getprofile, ()),
        (sys.setprofile, (None,)),
        (codecs.lookup_error, ("surrogatepass",)),
        (_signal.signal, (int(signal.SIGCONT), int(signal.SIG_DFL))),
        (codecs.register_error, ("surrogatepass", codecs.lookup_error("surrogatepass"))),
    ]
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is not None:
        events = [number for name, number in vars(monitoring.events).items() if name.isupper()]
        calls += [
            (monitoring.register_callback, (tool, event, None))
            for tool in range(6)
            for event in events
            if event and event & (event - 1) == 0
        ]
    return calls


def serve(  # noqa: C901, PLR0912 - what it called could be patched
    kept: Kept, space: dict[str, Any], name: str, argument: object
) -> NoReturn:
    """Call the function `name` of `space` for ever, with everything put back before each time.

    What this frame holds are built-in functions and tuples, which Python code cannot change; and
    since 3.13 it can change the names themselves (PEP 667), so these are given anew each time by an
    iterator to which there is no way. No value that a program has put somewhere is compared or
    given up, for both could run its code.
    """
    replaced: list[Any] = []
    for (
        (seen, spaces, classes, functions, slots),
        quiet, collects, stop_collecting, callbacks, look, attributes,
        (clear, update, get, copied, items_of),
        (set_class, unset_class, set_slot),
        (append, listed, empty), old,
        exit_process, failed, function_name, step, given,
    ) in itertools.repeat((
        kept,
        tuple(_quiet()), gc.isenabled, gc.disable, gc.callbacks, memoryview.tobytes, vars,
        (dict.clear, dict.update, dict.get, dict.copy, dict),
        (type.__setattr__, type.__delattr__, object.__setattr__),
        (list.append, list.copy, list.clear), replaced,
        os._exit, _FAILED, name, space, argument,
    )):  # fmt: skip
        collect = collects()
        stop_collecting()
        for call, words in quiet:
            if (before := call(*words)) is not None:
                append(old, before)
        if callbacks:
            append(old, listed(callbacks))
            empty(callbacks)
        changed = not seen
        for view, content in seen:
            if look(view) != content:
                changed = True
        if changed:
            for place, items in spaces:
                append(old, copied(place))
                clear(place)
                update(place, items)
            for owner, pairs in classes:
                known = items_of(pairs)
                now = items_of(attributes(owner))
                append(old, now)
                for attribute in now:
                    if attribute not in known:
                        unset_class(owner, attribute)
                for attribute in known:
                    if get(now, attribute) is not known[attribute]:
                        set_class(owner, attribute, known[attribute])
            for function, code, defaults, keywords in functions:
                if function.__code__ is not code:
                    function.__code__ = code
                if function.__defaults__ is not defaults:
                    function.__defaults__ = defaults
                function.__kwdefaults__ = items_of(keywords) or None
            for item, attribute, value in slots:
                set_slot(item, attribute, value)
        try:
            step[function_name](given, collect=collect)
        except BaseException:  # noqa: BLE001 - the server sees the end, whatever the reason
            exit_process(failed)
    raise AssertionError("unreachable")
