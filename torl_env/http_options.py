"""Options of the HTTP servers; needs no web library to be read or checked."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from torl_env.sandbox.types import Limits

_DEFAULT: Final = Limits(output_bytes=1 << 20)
_MOST: Final = Limits(
    cpu_seconds=300.0,
    wall_seconds=600.0,
    memory_mb=16_384,
    output_bytes=4_194_304,
    processes=1024,
    open_files=4096,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Where a server listens and what it lets a client do.

    Raises:
        ValueError: It would be open to everybody.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str | None = None
    """Clients send it as `Authorization: Bearer`; required where `host` is not loopback."""
    path_prefix: str = ""
    """Before every path, such as `/faas/sandbox`."""
    hosts: tuple[str, ...] = ()
    """Further names by which clients without a token may address this server."""
    body_bytes: int = 4_194_304
    """Longest request or WebSocket message; more is 413 (1009)."""
    connections: int = 8192
    """More are answered 503."""
    read_seconds: float = 30.0
    """From a request's first byte to its last, and from the connection to the first request."""
    write_seconds: float = 30.0
    """A client that takes longer to read 64 kB of its answer is hung up on."""
    unread_bytes: int = 268_435_456
    """Of all answers that wait to be read; past it the oldest of them is hung up on."""

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise ValueError(
                f"serving on {self.host} lets everybody who reaches it run programs: give a token, "
                "or serve on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine only.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "127.evil.example")]
    [True, True, True, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(HttpOptions):
    """Of the sandbox's server."""

    port: int = 8080
    """0 for any free one."""
    queue: int = 1024
    """Requests that may run or wait."""
    rate: float = 0.0
    """Requests a second over all clients, 0 for no limit; a second's worth may come at once."""
    sessions: int = 256
    """Open at once."""
    idle_seconds: float = 900.0
    """A session without a request is closed after this long."""
    limits: Limits = _DEFAULT
    """For requests that give none."""
    most: Limits = _MOST
    """No request gets more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(HttpOptions):
    """Of the server of episodes."""

    sessions: int = 64
    """Episodes at once; more are answered 503."""
    idle_seconds: float = 600.0
    """A session without a request is closed after this long."""
