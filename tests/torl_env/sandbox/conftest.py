"""Servers in this process, for the clients under test."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.backends.fusion_server import SandboxServer, ServeOptions


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def serve(local: LocalSandbox) -> Iterator[Callable[..., str]]:
    """`serve(**options)` starts a server and returns its URL."""
    with ExitStack() as servers:

        def start(**options: Any) -> str:
            server = SandboxServer(local, ServeOptions(port=0, **options))
            return servers.enter_context(server).url

        yield start


@pytest.fixture(scope="module")
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
