"""What this process may use of the machine: all of it, or what its control groups leave.

A container sees the memory and the processors of its host in /proc, but is held to the limits of
its group (the kernel's cgroup-v2.rst, cgroup-v1/memory.rst and sched-bwc.rst), and killed beyond.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MEMORY: Final = (
    ("cgroup2", "memory.max", "memory.current", ""),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)
"""Of each version: the limit, what is used, and how its counts of files begin."""
_FILES: Final = ("inactive_file", "active_file")
"""Pages of files, which the kernel takes back as it does of the whole machine (MemAvailable)."""


def memory_bytes() -> int:
    """Bytes of memory that this process may use at most.

    Example:
        >>> memory_bytes() > 0
        True
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(limit for limit, _ in _groups())])


def free_memory_bytes() -> float:
    """Bytes of memory that are still free to this process; infinite where nothing says (not Linux).

    Example:
        >>> 0 < free_memory_bytes()
        True
    """
    fields = [line.split() for line in read(Path("/proc/meminfo")).splitlines()]
    free = [1024.0 * int(size) for name, size, *_ in fields if name == "MemAvailable:"]
    return max(min([*free, *(limit - used for limit, used in _groups())], default=float("inf")), 0)


def processors() -> int:
    """Processors that this process may run on; all of the machine where nothing says.

    Example:
        >>> processors() > 0
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota() -> float:
    """Processors' worth of time that this process may use; infinite where nothing bounds it.

    Example:
        >>> cpu_quota() > 0
        True
    """
    quotas = [float("inf")]
    for directory in control_groups("cgroup2"):
        quotas += _share(read(directory / "cpu.max").split())
    for directory in control_groups("cpu"):
        quotas += _share([read(directory / f"cpu.cfs_{name}_us") for name in ("quota", "period")])
    return min(quotas)


def control_groups(kind: str) -> Iterator[Path]:
    """The group of this process in the hierarchy of `kind`, then those around it.

    Args:
        kind: `cgroup2`, or a controller of version 1.
    """
    for point, root, controllers in _mounts():
        if kind not in controllers:
            continue
        wanted = "" if kind == "cgroup2" else kind
        for line in read(Path("/proc/self/cgroup")).splitlines():
            _, names, path = line.split(":", 2)
            if wanted in names.split(",") and Path(path).is_relative_to(root):
                below = Path(path).relative_to(root)
                yield point / below
                yield from (point / parent for parent in below.parents)
                return


def read(path: Path) -> str:
    """The text of a file of the kernel; "" where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""


def _groups() -> Iterator[tuple[int, int]]:
    """Of every group around this process that bounds memory: the limit and what is in use."""
    for kind, most, current, prefix in _MEMORY:
        for directory in control_groups(kind):
            limit, usage = read(directory / most), read(directory / current)
            if limit.isdigit() and usage.isdigit():
                rows = dict(line.split() for line in read(directory / "memory.stat").splitlines())
                files = sum(int(rows.get(f"{prefix}{name}", 0)) for name in _FILES)
                yield int(limit), max(int(usage) - files, 0)


def _share(words: list[str]) -> list[float]:
    """Quota over period, both in microseconds; nothing where there is no quota."""
    return [int(words[0]) / int(words[1])] if len(words) == 2 and words[0].isdigit() else []


def _mounts() -> Iterator[tuple[Path, str, set[str]]]:
    """Mount point, root within the hierarchy and controllers of every mounted hierarchy."""
    for line in read(Path("/proc/self/mountinfo")).splitlines():
        place, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = place.split()
            yield Path(fields[4]), fields[3], {kind, *options.split(",")}
