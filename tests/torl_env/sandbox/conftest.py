"""Servers in this process, for the clients under test."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.backends.fusion_server import SandboxServer, ServeOptions


@pytest.fixture(scope="session")
def local(box: LocalSandbox) -> LocalSandbox:
    return box


@pytest.fixture(scope="module")
def serve(local: LocalSandbox) -> Iterator[Callable[..., str]]:
    """`serve(**options)` starts a server and returns its URL."""
    servers: list[SandboxServer] = []

    def start(**options: Any) -> str:
        servers.append(SandboxServer(local, ServeOptions(port=0, **options)).start())
        return servers[-1].url

    yield start
    # Together: each waits some tenths of a second for its connections.
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda server: server.stop(), servers))


@pytest.fixture(scope="session")
def sandbox(local: LocalSandbox) -> LocalSandbox:
    return local


@pytest.fixture(scope="session")
def server_pids() -> Callable[[LocalSandbox], list[int]]:
    return LocalSandbox.server_pids


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20.0
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
