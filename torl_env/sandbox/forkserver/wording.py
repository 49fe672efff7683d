"""Errors and source of a program, as its traceback shows them."""

import io
import linecache
import sys
import traceback
from contextlib import suppress
from typing import Final

from torl_env.sandbox.forkserver import warm

FILENAME: Final = "<program>"
_FRAMES: Final = 2_000
"""The most that are shown of a traceback; only a raised recursion limit makes more."""
_CHAINED: Final = 40
"""The most errors, each the cause of another, whose places are hidden."""
_display: Final = sys.__excepthook__


def describe(error: BaseException) -> str:
    """`NameError: name 'a' is not defined`, as the last line of a traceback has it."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # noqa: BLE001 - it is the program's own
        text = "<exception str() failed>"
    return f"{name}: {text}" if text else name


def hide_origins(error: BaseException | None) -> None:
    """Take the place of the host out of `cannot import name 'x' from 'sympy' (PLACE)`.

    What a model reads would else differ from machine to machine.
    """
    seen = 0
    while error is not None and seen < _CHAINED:
        if isinstance(error, ImportError) and error.path and error.msg:
            error.msg = error.msg.replace(error.path, warm.neutral_name(error.path))
        error, seen = error.__cause__ or error.__context__, seen + 1


def hint(error: BaseException, said: str) -> str:
    """`. Did you mean: 'sqrt'?`, which the interpreter adds when it shows the error, or `""`.

    Args:
        error: Shown once more where the interpreter can have a hint, which needs a `name`.
        said: What `describe` says of it.
    """
    if not isinstance(error, NameError | AttributeError | ImportError) or error.name is None:
        return ""
    shown, kept = io.StringIO(), sys.stderr
    sys.stderr = shown
    try:
        _display(type(error), error, error.__traceback__)
    finally:
        sys.stderr = kept
    added = shown.getvalue().rpartition(said)[2].partition("\n")[0]
    return added if added.startswith(". Did you ") else ""


def clip(text: str, room: int) -> str:
    """Head and tail of a text that is longer than `room`."""
    return text if len(text) <= room else f"{text[: room // 2]}\n[...]\n{text[-room // 2 :]}"


def show_traceback(error: BaseException, said: str, hint: str, room: int) -> None:
    """Write the traceback without this file's frames.

    Args:
        error: Of the program.
        said: What `describe` says of it.
        hint: Added to that.
        room: The most characters.
    """
    own = error.__traceback__
    frames = None if own is None else own.tb_next
    if getattr(sys, "excepthook", _display) is not _display:
        # One that fails has not shown it.
        with suppress(BaseException):
            sys.excepthook(type(error), error, frames)
            return
    omitted, rest = -_FRAMES, frames
    while rest is not None:
        omitted, rest = omitted + 1, rest.tb_next
    limit = -_FRAMES if omitted > 0 else None
    summary = traceback.TracebackException(type(error), error, frames, limit=limit, compact=True)
    _hide_places(summary)
    note = f"[... {omitted} frames omitted ...]\n" if omitted > 0 else ""
    text = "".join(summary.format())
    before, found, after = text.rpartition(said)
    if hint and found:
        # The module `traceback` knows no hints before Python 3.12, and words some in its own way.
        text = "".join([before, said, hint, "\n", after.partition("\n")[2]])
    sys.stderr.write(note + clip(text, room))


def show_refusal(error: BaseException, source: str, room: int) -> None:
    """Write an error of the compiler, which quotes the program only where its parser failed."""
    if isinstance(error, SyntaxError) and error.text is None and error.lineno:
        error.text = "".join(_lines(source)[error.lineno - 1 : error.lineno]) or None
    sys.stderr.write(clip("".join(traceback.format_exception_only(error)), room))


def _hide_places(summary: traceback.TracebackException | None) -> None:
    """Code that was imported after the fork still has the names of the host."""
    seen = 0
    while summary is not None and seen < _CHAINED:
        for frame in summary.stack:
            if frame.filename.startswith("/"):
                frame.filename = warm.neutral_name(frame.filename)
        summary, seen = summary.__cause__ or summary.__context__, seen + 1


def name_of(turn: int) -> str:
    """What code of a turn is said to be in: a function of an earlier one keeps its own source."""
    return FILENAME if turn < 2 else f"<turn {turn}>"


def show_source(source: str, filename: str) -> None:
    """Let tracebacks quote it."""
    linecache.cache[filename] = (len(source), None, _lines(source), filename)


def _lines(source: str) -> list[str]:
    """Lines as Python counts them, each with its end."""
    lines = source.splitlines(True)
    if len(lines) > source.count("\n") + 1:
        # Other ends than Python's are in it; a stream is a tenth of a millisecond to make.
        lines = io.StringIO(source, newline=None).readlines()
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines
