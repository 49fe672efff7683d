"""`torl watch`: a running training, live in the terminal or the browser, from its files alone."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from agents.core.run.storage import RecordError, read_lines
from benchmarks.report.page import render
from benchmarks.report.runs import Run, open_run, series
from torl.console import CommandError, clock, say

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = ("accuracy", "code_ratio", "pass_ratio", "reward", "tool_calls", "tokens", "loss")
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Follow a run while it trains; Ctrl-C ends the watching, not the training."""

    run: Annotated[Path, tyro.conf.Positional] = Path("out/demo")
    """Run directory; it may be empty as yet."""
    every: float = 2.0
    """Seconds between looks."""
    port: int | None = None
    """Serve the report page on this port of this machine in place of the terminal view."""
    once: bool = False
    """Show the state and end."""


def main(options: WatchOptions) -> int:
    """Show the run until Ctrl-C.

    Raises:
        CommandError: An option is out of range, or the port is taken.
    """
    if options.every <= 0:
        raise CommandError(f"--every: expected more than 0 seconds, got {options.every}")
    if options.port is not None:
        return _serve(options)
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if options.once:
        console.print(view(options.run))
        return 0
    try:
        with Live(view(options.run), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(options.every)
                live.update(view(options.run), refresh=True)
    except KeyboardInterrupt:
        return 0


def view(path: Path) -> "RenderableType":
    """The state of a run as a table: last value and course of each metric."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    try:
        run = open_run(path)
    except RecordError as error:
        return Text(f"waiting for a run: {error}")
    grid = Table(header_style="bold")
    for column in ("metric", "last", "first", "course"):
        grid.add_column(column, justify="left" if column in {"metric", "course"} else "right")
    steps = run.learning or run.metrics
    for name in SHOWN:
        values = [value for value in series(steps, name) if isfinite(value)]
        if values:
            grid.add_row(name, f"{values[-1]:.3f}", f"{values[0]:.3f}", spark(values))
    return Group(Text(_headline(run), style="bold"), grid)


def spark(values: list[float], width: int = 48) -> str:
    """A course as one line of bars, means where there are more values than places.

    >>> spark([0, 1, 2, 3])
    '▁▃▅█'
    """
    size = -(-len(values) // width)
    parts = [values[i : i + size] for i in range(0, len(values), size)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(BARS[int((value - low) / span * 7 + 1e-9)] for value in means)


def _headline(run: Run) -> str:
    stage = run.stages[-1] if run.stages else "evaluation"
    done = len(run.stage(stage))
    total = _total(run.options, stage)
    text = f"{run.name}: {stage}, {done}" + (f" of {total}" if total else "") + " steps"
    seconds = _seconds(run)
    if seconds:
        pace = sum(seconds[-8:]) / len(seconds[-8:])
        text += f", {pace:.1f} s a step"
        if total and total > done:
            text += f", {clock(pace * (total - done))} left"
    return text


def _total(options: Mapping[str, Any], stage: str) -> int:
    steps = options.get("steps")
    return steps if stage != "sft" and isinstance(steps, int) else 0


def _seconds(run: Run) -> list[float]:
    """Wall seconds of the steps of the current stage."""
    path = run.path / "timing.jsonl"
    if not path.exists():
        return []
    last = run.stages[-1] if run.stages else ""
    lines = [line for line in read_lines(path) if line.get("stage", last) == last]
    found = (line.get("seconds", line.get("total")) for line in lines)
    return [float(seconds) for seconds in found if seconds is not None]


def _serve(options: WatchOptions) -> int:
    seconds = max(2, round(options.every))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                page = render([open_run(options.run)], refresh=seconds)
            except RecordError as error:
                again = f"<meta http-equiv=refresh content={seconds}>"
                page = f"<!doctype html>{again}{escape(str(error))}"
            body = page.encode("utf-8", "replace")
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the terminal quiet."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", options.port or 0), Handler)
    except OSError as error:
        raise CommandError(f"--port: cannot listen on {options.port} ({error})") from None
    with server:
        say(f"open http://127.0.0.1:{server.server_port}/ ; Ctrl-C ends")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
