"""`torl watch`: a running training, live in the terminal or the browser, from its files alone."""

import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import tyro

from agents.core.run.storage import RecordError
from benchmarks.report.page import PageOptions, render
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


class LivePage:
    """The report page of a run that grows, made anew only when its files have changed.

    Args:
        run: Its folder.
        seconds: Between the looks of an open page.
    """

    def __init__(self, run: Path, seconds: int) -> None:
        self._run, self._seconds = run, seconds
        self._tag, self._page = "", b""
        self._lock = threading.Lock()

    def tag(self) -> str:
        """Changes when what the page shows does."""
        names = ("metrics.jsonl", "config.json", "transcripts", "branches", "eval")
        state = []
        for path in (self._run, *(self._run / name for name in names)):
            with suppress(OSError):
                found = path.stat()
                state.append((path.name, found.st_mtime_ns, found.st_size))
        return f'"{zlib.crc32(repr(state).encode()):08x}"'

    def page(self) -> tuple[str, bytes]:
        """Tag and page; one request at a time makes it, since it takes a core for a while."""
        with self._lock:
            tag = self.tag()
            if tag != self._tag or not self._page:
                self._page, self._tag = self._render().encode("utf-8", "replace"), tag
            return tag, self._page

    def _render(self) -> str:
        try:
            return render([open_run(self._run)], PageOptions(refresh=self._seconds))
        except RecordError as error:
            again = f"<meta http-equiv=refresh content={self._seconds}>"
            return f"<!doctype html>{again}<title>waiting for a run</title>{escape(str(error))}"


def _serve(options: WatchOptions) -> int:
    live = LivePage(options.run, max(2, round(options.every)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/":
                self.send_error(404)
                return
            tag, body = live.page()
            self._head(tag, len(body))
            # A browser that is closed meanwhile is no error.
            with suppress(ConnectionError):
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self._head(live.tag(), 0)

        def _head(self, tag: str, size: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(size))
            self.send_header("ETag", tag)
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()

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
