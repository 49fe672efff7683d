"""`torl watch`: a running training, live in the terminal or the browser, from its files alone."""

import time
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import tyro

from agents.core.run.storage import RecordError
from benchmarks.report.page import render
from benchmarks.report.runs import open_run
from torl.console import CommandError, say
from torl.curves import view


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Follow a run while it trains; Ctrl-C ends the watching, not the training."""

    run: Annotated[Path, tyro.conf.Positional] = Path("out/demo")
    """Run directory; it may be empty as yet."""
    every: float = 2.0
    """Seconds between looks."""
    port: int | None = None
    """Serve the report page on this port in place of the terminal view."""
    host: str = "127.0.0.1"
    """Where --port listens. Whoever reaches it reads the transcripts: there is no password."""
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
        server = ThreadingHTTPServer((options.host, options.port or 0), Handler)
    except OSError as error:
        raise CommandError(f"--port: cannot listen on {options.port} ({error})") from None
    with server:
        say(f"open http://{options.host}:{server.server_port}/ ; Ctrl-C ends")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
