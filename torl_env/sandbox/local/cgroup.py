"""A control group around the servers of a sandbox: all programs together cannot starve the rest.

Limits of one program bound that program; sixty-four of them at their limits can still take the
memory of the machine, and then the kernel may end the trainer. See the kernel's documentation of
control groups (cgroup-v2.rst and cgroup-v1/memory.rst).
"""

import itertools
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torl_env.machine import control_groups, memory_bytes, read

_PREFIX: Final = "torl-sandbox-"
_NEEDED: Final = ("memory", "pids")
_GONE_SECONDS: Final = 2.0

Files = Mapping[str, str]
"""The files of a group that bound it, in the order of writing, and which amount each takes."""
_SECOND_VERSION: Final[Files] = {
    "memory.max": "bytes",
    "memory.swap.max": "none",
    "pids.max": "tasks",
}
_FIRST_VERSION: Final[Mapping[str, Files]] = {
    # The second counts memory and swap together and may not be below the first.
    "memory": {"memory.limit_in_bytes": "bytes", "memory.memsw.limit_in_bytes": "bytes"},
    "pids": {"pids.max": "tasks"},
}
_SWAP: Final = ("memory.swap.max", "memory.memsw.limit_in_bytes")
"""Without these a program beyond the bound is not killed but swapped out, where there is swap."""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The directories of one group; a process joins by writing itself into each `cgroup.procs`."""

    directories: tuple[Path, ...]
    detail: str

    def remove(self) -> None:
        """Remove the group once its processes are gone; they have been killed by now."""
        deadline = time.monotonic() + _GONE_SECONDS
        for directory in self.directories:
            while not _removed(directory) and time.monotonic() < deadline:
                time.sleep(0.01)


def make(memory_mb: int, tasks: int) -> ControlGroup:
    """Make a group below or beside this process's own, never outside a limit that binds it.

    Args:
        memory_mb: Of all programs and servers together, with what of them is swapped out.
        tasks: Processes and threads, likewise.

    Raises:
        OSError: Where no group can be made; it says why.
    """
    places = delegated() or _first_version()
    name = f"{_PREFIX}{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"
    amounts = {"bytes": memory_mb << 20, "tasks": tasks, "none": 0}
    detail = f"{memory_mb} MB and {tasks} threads of all programs together"
    made: list[Path] = []
    try:
        for parent, files in places:
            _sweep(parent)
            directory = parent / name
            directory.mkdir()
            made.append(directory)
            for file, what in files.items():
                if file in _SWAP and not (directory / file).exists():
                    # The kernel was built or booted without counts of swap.
                    detail += ", swap not counted"
                    continue
                (directory / file).write_text(str(amounts[what]), encoding="ascii")
    except OSError:
        ControlGroup(tuple(made), "").remove()
        raise
    return ControlGroup(tuple(made), detail)


def half_of_memory() -> int:
    """Megabytes: half of what this machine, or the group this process is in, has."""
    return max(memory_bytes() >> 21, 1)


def delegated() -> list[tuple[Path, Files]]:
    """A version 2 group whose children have the controllers and may be made by this user."""
    for directory in control_groups("cgroup2"):
        ready = set(_NEEDED) <= set(read(directory / "cgroup.subtree_control").split())
        if ready and os.access(directory, os.W_OK):
            return [(directory, _SECOND_VERSION)]
        if any(read(directory / f"{name}.max") not in ("max", "") for name in _NEEDED):
            # What is made beside a limited group would not count towards its limit.
            break
    return []


def _first_version() -> list[tuple[Path, Files]]:
    """This process's own groups of version 1, where the machine still has it."""
    places = [
        (directory, _FIRST_VERSION[kind])
        for kind in _NEEDED
        for directory in itertools.islice(control_groups(kind), 1)
        if os.access(directory, os.W_OK)
    ]
    if len(places) < len(_NEEDED):
        raise PermissionError("no control group with memory and pids is delegated to this user")
    return places


def _sweep(parent: Path) -> None:
    """Remove what sandboxes left that were killed."""
    for directory in parent.glob(f"{_PREFIX}*"):
        pid, _, rest = directory.name.removeprefix(_PREFIX).partition("-")
        # In a container every client may be process 1: the number alone does not say who it is.
        if pid.isdigit() and rest.partition("-")[0] != _started(int(pid)):
            _removed(directory)


def _started(pid: int) -> str:
    """When a process was started, in clock ticks since boot (`proc_pid_stat(5)`); "" for none."""
    fields = read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
