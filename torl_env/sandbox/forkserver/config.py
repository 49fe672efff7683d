"""What a fork server gets when it starts, and what it says about itself when it is ready."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class Layer(StrEnum):
    """One independent layer between a program and the machine."""

    NAMESPACES = "namespaces"
    """Own process ids, network, mounts, System V objects and host name."""
    ROOT = "filesystem"
    """An empty file system that shows only the Python installation, read-only."""
    LANDLOCK = "landlock"
    """The kernel denies every file but the Python installation, and sockets."""
    SECCOMP = "seccomp"
    """System calls outside a short list are refused; other architectures kill."""
    USER = "user"
    """Each running program has a user id of its own, without privileges."""
    CAPABILITIES = "capabilities"
    """No capability, and no way to gain one."""
    RLIMITS = "rlimits"
    """CPU, address space, file size, descriptors and threads are bounded."""
    CGROUP = "cgroup"
    """Memory and processes of the whole server are bounded together."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything a server needs; it travels as JSON on the command line and holds no secret."""

    preload: str = "all"
    """Which libraries are imported before the first fork; see `warm.PRELOAD_SETS`."""
    packages: tuple[str, ...] = ()
    """Further top-level packages that programs may import."""
    search: tuple[str, ...] = ()
    """Directories in which the packages are looked for."""
    idle: int = 2
    """Children forked ahead of need."""
    slots: int = 64
    """Programs at a time."""
    processes: int = 256
    """The most threads that a program may ask for: all slots together must fit."""
    sessions: int = 1024
    off: tuple[str, ...] = ()
    """Layers to leave out; `unprivileged` makes a server of root behave as an ordinary user's."""
    cgroup: tuple[str, ...] = ()
    """Directories of the control group to join."""
    cgroup_detail: str = ""
    """What it bounds, or why there is none."""
    nice: int = 2
    """Added to the priority number of programs: a trainer on the same machine goes first."""
    seed: int = 0
    """Of the random generators of every program."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        for key in ("packages", "search", "off", "cgroup"):
            data[key] = tuple(data.get(key, ()))
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Held:
    """Whether a layer holds, and how or why not."""

    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ServerReport:
    """A server's first message."""

    preload: str
    pid: int
    """As the host sees it; 0 where the server cannot know."""
    layers: Mapping[Layer, Held] = field(default_factory=dict)
    python: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that are loaded."""
    missing: tuple[str, ...] = ()
    """Libraries of the preload set that are not installed."""
    warm_seconds: float = 0.0
    huge_pages: int = 0
    """Of 2 MB, under the heap and the loaded libraries."""
    files_mb: int = 0
    """Of the place that each program has for files by name; 0 where it has none."""
    schedstat: bool = False
    """The wall guard knows how long a program waited for a processor, instead of estimating it."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`."""
        data = json.loads(text)
        data["layers"] = {Layer(name): Held(**held) for name, held in data["layers"].items()}
        data["missing"] = tuple(data["missing"])
        return cls(**data)
