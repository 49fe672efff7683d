"""Fork servers of every preload set behind one queue: admission, one reader thread, restarts."""

import collections
import contextlib
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from torl_env.errors import SandboxError
from torl_env.sandbox.forkserver.config import ServerConfig, ServerReport
from torl_env.sandbox.forkserver.wire import Op, Request
from torl_env.sandbox.local.oom_monitor import OUT_OF_MEMORY, OutOfMemoryKills
from torl_env.sandbox.local.request import Completion, PendingRequest, failure, run_all, success
from torl_env.sandbox.local.server_process import PreloadSet, ServerProcess, Waiting

_START_ATTEMPTS: Final = 2
_BUSY: Final = 8
"""Programs in flight on every server of a preload set before a further server is started."""
_TICK_SECONDS: Final = 5.0
HUNG_SECONDS: Final = 30.0
"""A live server answers within milliseconds; one that waits for memory or a processor, seconds."""
_PER_PROCESSOR: Final = 4
"""Young programs at once: more of them only get in each other's way."""
_YOUTH_SECONDS: Final = 0.03
"""An older program sleeps or computes for long, and does not keep others from starting."""
_CANCELLED: Final = SandboxError("the call was cancelled before it ran")


class Admission:
    """Lets programs start while fewer than `concurrency` run, and few of them are young.

    Programs that end soon are quickest a few at a time, whatever number waits; programs that wait
    for something must not hold up the rest. Not thread-safe: its owner has a lock.
    """

    def __init__(self, concurrency: int) -> None:
        self.running = 0
        self._concurrency = concurrency
        self._most_young = _PER_PROCESSOR * (os.cpu_count() or 1)
        self._young: dict[PendingRequest, float] = {}
        """When each of them started, oldest first."""

    @property
    def open(self) -> bool:
        """Whether one more may start now."""
        if self.running >= self._concurrency:
            return False
        if len(self._young) >= self._most_young:
            born = time.monotonic() - _YOUTH_SECONDS
            for pending in [item for item, started in self._young.items() if started <= born]:
                del self._young[pending]
        return len(self._young) < self._most_young

    def opens_in(self) -> float | None:
        """Seconds until it opens although none has ended; `None` where time changes nothing.

        Of what `open` said last: what grows old in between does so in 0 seconds.
        """
        if self.running >= self._concurrency or len(self._young) < self._most_young:
            return None
        oldest = next(iter(self._young.values()))
        return max(oldest + _YOUTH_SECONDS - time.monotonic(), 0.0)

    def enter(self, pending: PendingRequest) -> None:
        """It starts."""
        self.running += 1
        self._young[pending] = time.monotonic()

    def leave(self, pending: PendingRequest) -> None:
        """It has ended."""
        self.running -= 1
        self._young.pop(pending, None)


class ServerPool:
    """Sends requests to servers, oldest first, at most `concurrency` at a time.

    Args:
        configs: One for each preload set, by name.
        python: Interpreter of the servers.
        concurrency: Programs running at once, over all preload sets.
        servers: At most this many for a preload set; they are started as load asks for them.
        on_ready: Called with the report of every server that becomes ready; may raise
            `SandboxError` to refuse it.
        hung_after: Seconds without a sign of life from a server that owes a reply.
    """

    def __init__(
        self,
        configs: dict[str, ServerConfig],
        python: str,
        concurrency: int,
        servers: int,
        on_ready: Callable[[ServerReport], None],
        hung_after: float = HUNG_SECONDS,
    ) -> None:
        self._kills = OutOfMemoryKills(next(iter(configs.values())).cgroup if configs else ())
        self._preload_sets = {name: PreloadSet(replace(config)) for name, config in configs.items()}
        self._python = python
        self._per_preload_set = servers
        self._on_ready = on_ready
        self._hung_after = hung_after
        self._tick = min(_TICK_SECONDS, hung_after / 4)
        self._look_at = 0.0
        self._lock = threading.RLock()
        self._order = itertools.count()
        self._admission = Admission(concurrency)
        self._attentive = False
        """Whether the reader looks again as soon as one more may start."""
        self._discarded: collections.deque[tuple[int, ServerProcess]] = collections.deque()
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._reader = threading.Thread(target=self._read, name="torl-sandbox", daemon=True)
        self._reader.start()

    def submit(
        self, preload: str, pending: PendingRequest, server: ServerProcess | None = None
    ) -> None:
        """Queue `pending`; its `settle` or `fail` is called from the reader thread, once."""
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            if server is not None and server not in self._preload_sets[preload].servers:
                raise SandboxError("the server of this session has died; open a new session")
            waiting = Waiting(next(self._order), pending, server)
            self._preload_sets[preload].queue.append(waiting)
            completions = self._pump()
        run_all(completions)

    def discard(self, session: int, server: ServerProcess) -> None:
        """Close a session some time soon; safe to call from a finaliser."""
        self._discarded.append((session, server))

    def sweep(self) -> None:
        """Close discarded sessions now."""
        with self._lock:
            completions = self._pump()
        run_all(completions)

    def _close_discarded(self) -> None:
        while self._discarded:
            session, server = self._discarded.popleft()
            if any(server in preload.servers for preload in self._preload_sets.values()):
                with contextlib.suppress(OSError):
                    server.post(Request(Op.CLOSE, 0, session))

    def kill(self, pending: PendingRequest) -> None:
        """End it if it runs, drop it if it waits."""
        with self._lock:
            if self._closed:
                return
            for preload in self._preload_sets.values():
                for waiting in preload.queue:
                    if waiting.pending is pending:
                        preload.queue.remove(waiting)
                        pending.fail(_CANCELLED)
                        return
                for server in preload.servers:
                    if pending in server.in_flight.values():
                        with contextlib.suppress(OSError):
                            server.kill(pending)
                        return

    def reports(self) -> list[ServerReport]:
        """Of all servers that are ready."""
        with self._lock:
            servers = [
                server for preload in self._preload_sets.values() for server in preload.servers
            ]
            return [server.report for server in servers if server.report is not None]

    @property
    def running(self) -> int:
        """Requests in flight."""
        return self._admission.running

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        with self._lock:
            return sum(len(preload.queue) for preload in self._preload_sets.values())

    def server_pids(self) -> list[int]:
        """Process ids of the servers that run."""
        with self._lock:
            sets = self._preload_sets.values()
            return [server.pid for preload in sets for server in preload.servers]

    def close(self) -> None:
        """Kill all servers; what was in flight or queued fails."""
        with self._lock:
            if self._closed:
                return
            servers, lost = self._take_all()
            os.write(self._wake_write, b"x")
        for server in servers:
            server.end(grace=2.0)
        for pending in lost:
            pending.fail(SandboxError("the sandbox was closed while a program ran"))
        if threading.current_thread() is not self._reader:
            self._reader.join(5.0)

    def _take_all(self) -> tuple[list[ServerProcess], list[PendingRequest]]:
        """Close for new work; all servers, and all requests that still wait for something."""
        self._closed = True
        servers = [server for preload in self._preload_sets.values() for server in preload.servers]
        lost = [pending for server in servers for pending in server.in_flight.values()]
        lost += [item.pending for preload in self._preload_sets.values() for item in preload.queue]
        for preload in self._preload_sets.values():
            preload.servers.clear()
            preload.queue.clear()
        for server in servers:
            self._selector.unregister(server)
        return servers, lost

    def abandon(self) -> None:
        """In a forked child: forget the parent's servers."""
        # Threads that held it at the fork are not in the child to let it go.
        self._lock = threading.RLock()
        self._closed = True
        for preload in self._preload_sets.values():
            for server in preload.servers:
                server.abandon()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _pump(self) -> list[Completion]:
        """Send what may be sent; the caller holds the lock and runs the completions without it."""
        completions: list[Completion] = []
        self._close_discarded()
        while self._admission.open:
            best: tuple[PreloadSet, ServerProcess] | None = None
            for preload in self._preload_sets.values():
                server = self._server_for(preload, completions)
                if server is not None and (
                    best is None or preload.queue[0].order < best[0].queue[0].order
                ):
                    best = (preload, server)
            if best is None:
                break
            preload, server = best
            waiting = preload.queue.popleft()
            if waiting.pending.cancelled_early:
                completions.append(failure(waiting.pending, _CANCELLED))
            else:
                completions += self._send(waiting, server)
        if not self._attentive and self._wait_for_admission() is not None:
            self._attentive = True
            os.write(self._wake_write, b"x")
        return completions

    def _wait_for_admission(self) -> float | None:
        """Seconds until a waiting request may start though none has ended; `None` for never."""
        if not any(preload.queue for preload in self._preload_sets.values()):
            return None
        return self._admission.opens_in()

    def _server_for(
        self, preload: PreloadSet, completions: list[Completion]
    ) -> ServerProcess | None:
        """Who can take the first of the queue now; starts servers where that helps."""
        if not preload.queue:
            return None
        bound = preload.queue[0].server
        if bound is not None:
            return bound
        best = preload.least_loaded()
        starting = any(not server.ready for server in preload.servers)
        busy = best is None or len(best.in_flight) >= _BUSY
        if busy and not starting and len(preload.servers) < self._per_preload_set:
            completions += self._start(preload)
        return best

    def _start(self, preload: PreloadSet) -> list[Completion]:
        try:
            server = ServerProcess(preload.config, self._python)
        except SandboxError as error:
            return self._give_up(preload, error)
        preload.servers.append(server)
        self._selector.register(server, selectors.EVENT_READ, (preload, server))
        # A thread that waits in select does not notice a new registration with every selector.
        os.write(self._wake_write, b"x")
        return []

    def _give_up(self, preload: PreloadSet, error: SandboxError) -> list[Completion]:
        lost = list(preload.queue)
        preload.queue.clear()
        return [failure(item.pending, error) for item in lost]

    def _send(self, waiting: Waiting, server: ServerProcess) -> list[Completion]:
        self._admission.enter(waiting.pending)
        waiting.pending.server = server
        try:
            server.send(waiting.pending)
        except Exception as error:  # noqa: BLE001 - only this one program can suffer from it
            self._admission.leave(waiting.pending)
            for call, pending in list(server.in_flight.items()):
                if pending is waiting.pending:
                    del server.in_flight[call]
            return [failure(waiting.pending, SandboxError(f"a program cannot be sent: {error!r}"))]
        return []

    def _read(self) -> None:
        try:
            while not self._closed:
                self._read_once()
        except Exception as error:
            # Whoever waits for a result must hear of it: a dead reader would hang them all.
            self._fail_everything(SandboxError(f"the sandbox client failed: {error!r}"))
            raise
        finally:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _read_once(self) -> None:
        with self._lock:
            soon = self._wait_for_admission()
            self._attentive = soon is not None
        events = self._selector.select(self._tick if soon is None else min(soon, self._tick))
        completions: list[Completion] = []
        with self._lock:
            if self._closed:
                return
            for key, _ in events:
                if key.data is None:
                    _drain(self._wake_read)
                    continue
                completions += self._serve(*key.data)
            completions += self._end_bad_servers()
            completions += self._pump()
        run_all(completions)

    def _fail_everything(self, error: SandboxError) -> None:
        with self._lock:
            servers, lost = self._take_all()
        for server in servers:
            server.end()
        for pending in lost:
            pending.fail(error)

    def _serve(self, preload: PreloadSet, server: ServerProcess) -> list[Completion]:
        was_ready = server.ready
        arrived = server.receive()
        if arrived is None:
            return self._reap_server(preload, server, "died")
        for pending, _ in arrived:
            self._admission.leave(pending)
        if server.report is not None and not was_ready:
            preload.failures = 0
            try:
                self._on_ready(server.report)
            except SandboxError as error:
                self._reap_server(preload, server, "was refused")
                return self._give_up(preload, error)
        return [
            failure(pending, OUT_OF_MEMORY)
            if reply.killed_by_others and self._kills.explain_one()
            else success(pending, reply)
            for pending, reply in arrived
        ]

    def _reap_server(
        self, preload: PreloadSet, server: ServerProcess, how: str, grace: float = 1.0
    ) -> list[Completion]:
        """A server is gone: what it was running fails, what waits gets a new one."""
        self._selector.unregister(server)
        preload.servers.remove(server)
        words = server.end(grace)
        if self._kills.explain_one():
            words = f"{words}; the kernel ended a process because memory ran out"
        lost = list(server.in_flight.values())
        lost += [item.pending for item in preload.queue if item.server is server]
        for pending in server.in_flight.values():
            self._admission.leave(pending)
        server.in_flight.clear()
        kept = [item for item in preload.queue if item.server is not server]
        preload.queue = collections.deque(kept)
        error = SandboxError(
            f"the {preload.config.preload} sandbox server {how} ({words}); "
            "calls in flight have no result"
        )
        completions = [failure(pending, error) for pending in lost]
        if not server.ready:
            preload.failures += 1
            if preload.failures >= _START_ATTEMPTS:
                preload.failures = 0
                completions += self._give_up(preload, error)
        return completions

    def _end_bad_servers(self) -> list[Completion]:
        now = time.monotonic()
        if now < self._look_at:
            return []
        self._look_at = now + self._tick
        self._kills.tick()
        completions: list[Completion] = []
        for preload in self._preload_sets.values():
            for server in list(preload.servers):
                if server.late:
                    completions += self._reap_server(preload, server, "did not become ready")
                elif server.hung(self._hung_after):
                    completions += self._reap_server(preload, server, "hung", grace=0.0)
        return completions


def _drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 4096)
    except BlockingIOError:
        return
