"""The words a model reads back: output and errors, shortened."""

from collections.abc import Callable
from dataclasses import dataclass

from torl_env.config import EnvConfig, ErrorFormat
from torl_env.sandbox.types import Execution, Status
from torl_env.tools.types import Outcome

SILENT = "[the program printed nothing]"
NOTICE = "[the budget of tool calls is used up: nothing was run, answer without tools]"


@dataclass(frozen=True, slots=True)
class Report:
    """One outcome as the model and the info see it."""

    body: str
    """Shortened, without a frame."""
    status: Status
    error_type: str
    output_chars: int
    """Characters before shortening, as far as the sandbox kept them."""
    output_truncated: bool
    should_stop: bool = False


def report(outcome: Outcome, config: EnvConfig) -> Report:
    """What to say of an outcome."""
    if isinstance(outcome, Execution):
        text, cut, stop = _words(outcome, config.error_format), outcome.output_truncated, False
    else:
        text, cut, stop = outcome.text, False, outcome.should_stop
    body = shorten(text, config.output_limit, config.components.length)
    return Report(
        body, outcome.status, outcome.error_type, len(text), cut or body is not text, stop
    )


def _words(execution: Execution, form: ErrorFormat) -> str:
    printed = execution.stdout.rstrip("\n")
    if execution.ok:
        return printed or SILENT
    said = execution.error
    if form is ErrorFormat.TRACEBACK and execution.stderr.strip():
        said = execution.stderr.rstrip("\n")
        if execution.error not in said:
            said = f"{said}\n{execution.error}"
    return f"{printed}\n{said}" if printed else said


def shorten(text: str, limit: int, length: Callable[[str], int] = len) -> str:
    """Head and tail of `text` with a marker between, or `text` itself where it is short enough.

    Args:
        text: What to shorten.
        limit: Longest head and tail together; the marker comes on top.
        length: Counts what `limit` limits; it must not shrink when text is added.

    Example:
        >>> shorten("0123456789" * 10, 16)
        '01234567[... 84 characters left out ...]23456789'
    """
    if length(text) <= limit:
        return text
    half = limit // 2
    head = _longest(text, lambda size: length(text[:size]) <= half)
    tail = _longest(text[head:], lambda size: length(text[len(text) - size :]) <= limit - half)
    left_out = len(text) - head - tail
    return f"{text[:head]}[... {left_out} characters left out ...]{text[len(text) - tail :]}"


def _longest(text: str, fits: Callable[[int], bool]) -> int:
    """The largest size up to the length of `text` that fits, by bisection."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
