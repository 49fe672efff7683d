"""Servers in this process, for the clients under test."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.backends.fusion_server import SandboxServer, ServeOptions


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def serve(loop: Loop, local: LocalSandbox) -> Iterator[Callable[..., str]]:
    """`serve(**options)` starts a server and returns its URL."""
    servers: list[SandboxServer] = []

    def start(**options: Any) -> str:
        server = SandboxServer(local, ServeOptions(port=0, **options))
        port = loop.call(server.start())
        servers.append(server)
        return f"http://127.0.0.1:{port}"

    yield start
    for server in servers:
        loop.call(server.stop())


@pytest.fixture(scope="module")
def sandbox(local: LocalSandbox) -> LocalSandbox:
    return local


@pytest.fixture(scope="session")
def server_pids() -> Callable[[LocalSandbox], list[int]]:
    def look(sandbox: LocalSandbox) -> list[int]:
        assert sandbox._pool is not None
        return [
            server._process.pid for tier in sandbox._pool._tiers.values() for server in tier.servers
        ]

    return look


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20.0
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
