"""What a container may use, which is less than what /proc shows of its host."""

import contextlib
import itertools
import math
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from torl_env import machine

MB = 1 << 20
ASK = """
import sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
from torl_env import machine
print(machine.memory_bytes(), machine.free_memory_bytes(), machine.cpu_quota())
"""


def group(directory: Path, **files: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(f"{content}\n")
    return directory


def test_the_tightest_group_around_a_process_counts(tmp_path, monkeypatch):
    outer = group(
        tmp_path,
        memory__max=900 * MB,
        memory__current=500 * MB,
        memory__stat=f"anon {300 * MB}\ninactive_file {20 * MB}\nactive_file {30 * MB}",
        cpu__max="150000 100000",
    )
    inner = group(
        tmp_path / "inner",
        memory__max=800 * MB,
        memory__current=300 * MB,
        memory__stat=f"inactive_file {100 * MB}",
        cpu__max="max 100000",
    )
    read, plenty = machine.read, f"MemAvailable: {8 << 20} kB"
    monkeypatch.setattr(
        machine, "read", lambda path: plenty if str(path) == "/proc/meminfo" else read(path)
    )
    found = {"cgroup2": [inner, outer]}
    monkeypatch.setattr(machine, "control_groups", lambda kind: iter(found.get(kind, [])))
    assert machine.memory_bytes() == 800 * MB
    # Of the outer one 450 of 900 MB, though the inner one has 600 of 800 left.
    assert machine.free_memory_bytes() == 450 * MB
    assert machine.cpu_quota() == 1.5


def test_groups_without_limits_leave_the_machine(tmp_path, monkeypatch):
    alone = (machine.memory_bytes(), machine.free_memory_bytes())
    open_ = group(tmp_path, memory__max="max", memory__current=MB, cpu__max="max 100000")
    monkeypatch.setattr(machine, "control_groups", lambda kind: iter([open_]))
    assert machine.memory_bytes() >= alone[0]
    assert machine.free_memory_bytes() > 0
    assert machine.cpu_quota() == math.inf


def test_a_group_beyond_its_limit_has_nothing_left(tmp_path, monkeypatch):
    full = group(tmp_path, memory__max=MB, memory__current=2 * MB)
    monkeypatch.setattr(machine, "control_groups", lambda kind: iter([full]))
    assert machine.free_memory_bytes() == 0


@contextlib.contextmanager
def made(parent: Path) -> Iterator[Path]:
    place = parent / f"torl-test-{uuid.uuid4().hex}"
    place.mkdir()
    try:
        yield place
    finally:
        place.rmdir()


def test_a_process_in_a_real_group_is_told_its_limits():
    limits = {
        "memory": {"memory.limit_in_bytes": 700 * MB},
        "cpu": {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": 50_000},
        "cgroup2": {"memory.max": 700 * MB, "cpu.max": "50000 100000"},
    }
    told: dict[str, list[float]] = {}
    for kind, files in limits.items():
        for parent in itertools.islice(machine.control_groups(kind), 1):
            with contextlib.suppress(OSError, subprocess.SubprocessError), made(parent) as place:
                for name, value in files.items():
                    (place / name).write_text(str(value))
                command = [sys.executable, "-c", ASK, str(place)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                told[kind] = list(map(float, done.stdout.split()))
    if not told:
        pytest.skip("no control group with limits can be made here")
    if "memory" in told:
        assert told["memory"][0] <= 700 * MB
        assert 0 < told["memory"][1] <= 700 * MB
    if "cpu" in told:
        assert told["cpu"][2] <= 0.5
    if "cgroup2" in told:
        assert told["cgroup2"][0] <= 700 * MB
        assert told["cgroup2"][2] <= 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_what_is_free_is_less_than_what_is_there():
    assert 0 < machine.free_memory_bytes() < machine.memory_bytes()
    assert machine.memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
