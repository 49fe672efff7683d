"""What every command shares at the terminal: progress, errors in one message, Ctrl-C."""

import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from agents.core.models.loading import ModelError
from agents.core.run.storage import RecordError
from benchmarks.report.tables import Table
from torl_env.errors import TorlError

if TYPE_CHECKING:
    from rich.console import RenderableType

Options = TypeVar("Options")
Advance = Callable[[int], None]


class CommandError(Exception):
    """A command cannot go on; the message says what was expected and what to do."""


OURS = (CommandError, ModelError, RecordError, TorlError)
"""Errors whose message already says what was expected and what to do."""


EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "trl", "accelerate", "gguf"), "train"),
    **dict.fromkeys(("uvicorn", "starlette", "websockets"), "serve"),
    **{"datasets": "hub", "matplotlib": "report", "tensorboard": "track", "math_verify": "bench"},
    **{name: name for name in ("vllm", "ray", "peft", "mcp")},
}
"""The extra of torl-gym that brings a package, by what is imported."""


class ExitCode(IntEnum):
    """How every command ends; `docs/command_line.md` has the table."""

    OK = 0
    FAILED = 1
    """Bad input, or the machine failed: one message on stderr says which and what to do."""
    USAGE = 2
    """The words are no command or no option of it, or a package that it needs is missing."""
    INTERRUPTED = 130
    """Ctrl-C; what was finished is kept."""


def guarded(command: Callable[[Options], int], options: Options) -> int:
    """Run a command; bad input and Ctrl-C end in one message on stderr and an exit code.

    Errors of our own boundary, of the file system and of the network are the user's to mend and
    need no traceback (`TORL_TRACEBACK=1` shows it all the same), nor does an extra that is not
    installed. Anything else is a defect and keeps its traceback.

    Returns:
        The command's own code, 1 after an error, 2 where a package is missing, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A problem in Unicode must not crash a terminal or a pipe that says it is ASCII.
            stream.reconfigure(errors="backslashreplace")
    try:
        return command(options)
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept, the same command goes on from there")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; a closed pipe there would print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except ModuleNotFoundError as error:
        message = _to_install(error)
        if message is None or os.environ.get("TORL_TRACEBACK"):
            raise
        say(f"error: {message}")
        return ExitCode.USAGE
    except (*OURS, OSError, ValueError) as error:
        if os.environ.get("TORL_TRACEBACK"):
            raise
        say(f"error: {explain(error)}")
        return ExitCode.FAILED


def _to_install(error: ModuleNotFoundError) -> str | None:
    """What to do about a missing package; nothing is known of a module that no extra brings."""
    if "pip install" in str(error):
        return str(error)
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    return f"this needs {package}: pip install 'torl-gym[{extra}]'" if extra else None


def explain(error: Exception) -> str:
    """One message for a person: what is wrong and the remedy where the error does not say it."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OURS):
        return text
    if _is_network(error):
        return (
            f"no network ({text[:200]}); use a local path or an embedded source such as "
            f"procedural:easy, or download once on a machine with network"
        )
    if isinstance(error, OSError):
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
                return f"no free disk ({text}); free some space or choose another output folder"
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return f"no permission ({text}); choose a path you may write or read"
            case errno.EEXIST | errno.ENOTDIR if error.filename:
                place = f"at or above {error.filename}"
                return f"a file is where a folder should be, {place}; choose another path"
            case errno.ENOENT if error.filename:
                return f"no such file or folder: {error.filename}; check the path"
    return f"{text} (TORL_TRACEBACK=1 shows where)"


def is_out_of_reach(error: BaseException) -> bool:
    """Whether another machine may have what is missing here: a network, a server, a package."""
    away = _is_network(error) or _caused_by(error, {"ServerError"})
    return away or isinstance(error, ImportError) or "not installed" in str(error)


def in_notebook() -> bool:
    """Whether this runs in a notebook, which shows values and rich's output inline."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return type(found).__name__ == "ZMQInteractiveShell"


def say(message: str) -> None:
    """Print to stderr, which stays readable when stdout is piped."""
    print(f"torl: {message}", file=sys.stderr, flush=True)


@contextmanager
def progress(
    what: str,
    total: int,
    done: int = 0,
    unit: str = "item",
    below: "Callable[[], RenderableType] | None" = None,
) -> Iterator[Advance]:
    """A bar with count, rate and time left; yields the function that moves it.

    Without a terminal it prints a line at most every ten seconds instead, so that logs stay short.

    Args:
        what: Label.
        total: Units of the whole job.
        done: Units that an earlier run finished; they do not count for the rate.
        unit: Name of one unit, in the rate.
        below: What a notebook shows beneath the line, such as curves.
    """
    if in_notebook():
        yield _Inline(what, total, done, unit, below).advance
    elif sys.stderr.isatty():
        with _bar(what, total, done, unit) as advance:
            yield advance
    else:
        yield _Log(what, total, done, unit).advance


@contextmanager
def _bar(what: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    meter = _Meter(total, done)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")

        def advance(units: int = 1) -> None:
            meter.move(units)
            bar.update(task, advance=units, rate=meter.text(unit))

        yield advance


class _Meter:
    """Rate over this run and the time the rest will take."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.moved = total, done, 0
        self.start = time.monotonic()

    def move(self, units: int) -> None:
        self.done += units
        self.moved += units

    def text(self, unit: str) -> str:
        seconds = max(time.monotonic() - self.start, 1e-9)
        rate = self.moved / seconds
        if not self.moved:
            return "starting"
        speed = f"{rate:.1f} {unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit}"
        return f"{speed}, {clock(max(self.total - self.done, 0) / rate)} left"


class _Inline:
    """Progress inside the output of a notebook's cell, which is replaced as it moves."""

    every_seconds = 0.5

    def __init__(
        self,
        what: str,
        total: int,
        done: int,
        unit: str,
        below: "Callable[[], RenderableType] | None",
    ) -> None:
        from IPython.display import HTML, display

        self.what, self.unit, self.below, self.html = what, unit, below, HTML
        self.meter = _Meter(total, done)
        self.last = self.meter.start
        self.shown = display(HTML(self._page()), display_id=True)

    def advance(self, units: int = 1) -> None:
        self.meter.move(units)
        now = time.monotonic()
        if now - self.last >= self.every_seconds or self.meter.done >= self.meter.total:
            self.last = now
            self.shown.update(self.html(self._page()))

    def _page(self) -> str:
        from rich.console import Console

        console = Console(record=True, file=io.StringIO(), width=100, force_jupyter=False)
        meter = self.meter
        line = f"{self.what} {meter.done}/{meter.total}, {meter.text(self.unit)}"
        console.print(line, highlight=False)
        if self.below is not None:
            console.print(self.below())
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


class _Log:
    """Progress as plain lines."""

    every_seconds = 10.0

    def __init__(self, what: str, total: int, done: int, unit: str) -> None:
        self.what, self.unit = what, unit
        self.meter = _Meter(total, done)
        self.last = self.meter.start

    def advance(self, units: int = 1) -> None:
        self.meter.move(units)
        now = time.monotonic()
        if now - self.last >= self.every_seconds:
            self.last = now
            say(f"{self.what} {self.meter.done}/{self.meter.total}, {self.meter.text(self.unit)}")


def clock(seconds: float) -> str:
    """Seconds as a person reads a clock.

    >>> clock(7), clock(187), clock(7507)
    ('0:07', '3:07', '2:05:07')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_network(error: BaseException | None) -> bool:
    """Whether a failed connection is among the causes."""
    return _caused_by(
        error, {"ConnectionError", "gaierror", "ConnectError", "OfflineModeIsEnabled"}
    )


def _caused_by(error: BaseException | None, names: set[str]) -> bool:
    """Whether an error of a class of these names is among the causes."""
    seen = 0
    while error is not None and seen < 8:
        if names & {kind.__name__ for kind in type(error).__mro__}:
            return not isinstance(error, BrokenPipeError)
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def print_table(table: Table) -> None:
    """Print a table to stdout; without a terminal it is Markdown, which other programs read."""
    if not sys.stdout.isatty():
        print(table.markdown())
        return
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=table.title, title_justify="left", header_style="bold")
    for index, column in enumerate(table.columns):
        grid.add_column(column, justify="left" if index == 0 else "right")
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row))
    Console().print(grid)
