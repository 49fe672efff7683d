"""One fork server process as its client sees it, and the servers of one preload set."""

import collections
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torl_env.errors import SandboxError
from torl_env.sandbox.forkserver.config import ServerConfig, ServerReport
from torl_env.sandbox.forkserver.wire import PACKET_BYTES, READY, Op, Reply, Request
from torl_env.sandbox.local.request import PendingRequest

START_SECONDS: Final = 120.0
"""A server that is not ready by then is given up."""

# The server must not run this package's __init__, which imports what it does not need. Its command
# line, which programs can read, says nothing of the trainer.
_BOOT: Final = """
import json, socket, sys, types
control = socket.socket(fileno=int(sys.argv[1]))
config, *places = json.loads(control.recv(1 << 20))
for name, path in zip(("torl_env", "torl_env.sandbox"), places):
    module = types.ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module
from torl_env.sandbox.forkserver.main import main
main(control.detach(), config)
"""
_LOG_BYTES: Final = 4_000
_SEND_SECONDS: Final = 10.0


def _environment() -> dict[str, str]:
    """Nothing of the trainer's environment but where its libraries lie."""
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "PYTHONHOME") if key in os.environ}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **kept}


class ServerProcess:
    """Starts a server, sends it requests and hands out its replies; its owner does the locking."""

    def __init__(self, config: ServerConfig, python: str) -> None:
        self.config = config
        self.report: ServerReport | None = None
        self.in_flight: dict[int, PendingRequest] = {}
        self._numbers = itertools.count(1)
        self._log = os.memfd_create("torl-sandbox-log")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here = Path(__file__).parents[1]
        try:
            ours.send(json.dumps([config.to_json(), str(here.parent), str(here)]).encode())
            self._process = subprocess.Popen(
                [python, "-s", "-P", "-X", "utf8", "-c", _BOOT, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(self._log)
            raise SandboxError(f"a sandbox server cannot be started: {error}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        self.socket = ours
        self.started = self._heard = time.monotonic()
        self._asked: float | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return self.report is not None

    @property
    def late(self) -> bool:
        """Whether it should have been ready by now."""
        return not self.ready and time.monotonic() - self.started > START_SECONDS

    def hung(self, patience: float) -> bool:
        """Whether it owes an answer and has said nothing for `patience` seconds after a question.

        To be called again and again, after `receive`: it is what asks the questions.
        """
        if not self.ready or not self.in_flight:
            self._asked = None
            return False
        if self._asked is not None and self._heard < self._asked:
            return time.monotonic() - self._asked > patience
        # Its socket may be full, or it may be gone, which `receive` will see.
        with contextlib.suppress(OSError):
            self.post(Request(Op.PING, 0), wait=0.0)
        self._asked = time.monotonic()
        return False

    def fileno(self) -> int:
        """To be waited on."""
        return self.socket.fileno()

    def send(self, pending: PendingRequest) -> int:
        """Send a request and remember whose it is; returns its number.

        Raises:
            OSError: When the server is gone or memory files cannot be made.
        """
        call = next(self._numbers)
        request, files = pending.begin(call)
        self.in_flight[call] = pending
        self.post(request, files)
        return call

    def kill(self, pending: PendingRequest) -> None:
        """Ask for the end of a request in flight."""
        for call, other in self.in_flight.items():
            if other is pending:
                self.post(Request(Op.KILL, call))
                return

    def post(
        self, request: Request, files: Sequence[int] = (), wait: float = _SEND_SECONDS
    ) -> None:
        """Send a request without an answer; `OSError` after `wait` seconds in vain."""
        data = request.pack()
        deadline = time.monotonic() + wait
        while True:
            try:
                socket.send_fds(self.socket, [data], list(files))
            except BlockingIOError:
                # The server is behind by a full socket buffer: it reads within milliseconds.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.0005)
            else:
                return

    def receive(self) -> list[tuple[PendingRequest, Reply]] | None:
        """Everything that has arrived; `None` when the server is gone."""
        arrived: list[tuple[PendingRequest, Reply]] = []
        for _ in range(64):
            try:
                data = self.socket.recv(PACKET_BYTES)
            except BlockingIOError:
                return arrived
            except OSError:
                data = b""
            if not data:
                return arrived or None
            self._heard = time.monotonic()
            if data.startswith(READY):
                self.report = ServerReport.from_json(data[len(READY) :].decode())
                continue
            reply = Reply.unpack(data)
            pending = self.in_flight.pop(reply.call, None)
            if pending is not None:
                arrived.append((pending, reply))
        return arrived

    def end(self, grace: float = 0.0) -> str:
        """Stop the process and release everything.

        Args:
            grace: Seconds it gets to leave by itself once its socket is closed.

        Returns:
            One sentence on how it ended, with the end of what it logged.
        """
        self.socket.close()
        try:
            code = self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        size = os.fstat(self._log).st_size
        log = os.pread(self._log, _LOG_BYTES, max(size - _LOG_BYTES, 0)).decode("utf-8", "replace")
        os.close(self._log)
        words = f"exit code {code}"
        return f"{words}; it said: {log.strip()}" if log.strip() else words

    def abandon(self) -> None:
        """In a forked child: let go of the parent's server without touching it."""
        self.socket.close()
        os.close(self._log)
        self._process.returncode = 0


def search_path(python: str) -> tuple[str, ...]:
    """Where the server looks for packages: as this process does, if it is the same interpreter."""
    if python != sys.executable:
        return ()
    return tuple(str(Path(entry).resolve()) for entry in sys.path if entry)


@dataclass(slots=True)
class Waiting:
    """A queued pending; `server` is set where only that one can answer."""

    order: int
    pending: PendingRequest
    server: ServerProcess | None = None


@dataclass(slots=True)
class PreloadSet:
    """The servers that have the same libraries loaded."""

    config: ServerConfig
    servers: list[ServerProcess] = field(default_factory=list)
    queue: collections.deque[Waiting] = field(default_factory=collections.deque)
    failures: int = 0
    """Starts in a row that did not succeed."""

    def least_loaded(self) -> ServerProcess | None:
        """The ready server with the fewest programs."""
        ready = [server for server in self.servers if server.ready]
        return min(ready, key=lambda server: len(server.in_flight), default=None)
