"""Children that a fork server keeps waiting, and what it does where the machine refuses one."""

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("fork servers need Linux", allow_module_level=True)

from torl_env.machine import control_groups
from torl_env.sandbox import LocalSandbox, Status
from torl_env.sandbox.forkserver.runs import BURST
from torl_env.testing import children

IDLE = 2


def inner(server: int) -> int:
    """A server with namespaces is the only child of the half of it that waits outside."""
    below = children(server)
    return below[0] if len(below) == 1 else server


def most_waiting(sandbox: LocalSandbox) -> int:
    """Children that one server has forked ahead of need, where no program runs."""
    return max(len(children(inner(server))) for server in sandbox.server_pids())


def test_no_more_than_a_burst_is_forked_ahead() -> None:
    with LocalSandbox(concurrency=64, servers=1, idle=IDLE) as sandbox:
        outputs = [sandbox.submit("print(1 + 1)") for _ in range(300)]
        assert {output.result(60).stdout for output in outputs} == {"2\n"}
        assert most_waiting(sandbox) < IDLE + BURST


def test_places_of_programs_do_not_add_up() -> None:
    code = "open('/tmp/a', 'w').write('x'); open('b', 'w').write('y'); print(1)"
    with LocalSandbox(concurrency=8, servers=1, idle=IDLE) as sandbox:
        if sandbox.run(code).status is not Status.OK:
            pytest.skip("programs have no files of their own here")
        counts = []
        for _ in range(3):
            outputs = [sandbox.submit(code) for _ in range(40)]
            assert {output.result(60).stdout for output in outputs} == {"1\n"}
            counts.append(sum(opened(inner(server)) for server in sandbox.server_pids()))
        # A burst may need more places at once than the one before; of one descriptor a program that
        # stays, there would be eighty more by now.
        assert counts[2] - counts[0] < 40, counts


def opened(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except PermissionError:
        pytest.skip("another user's descriptors cannot be counted")


@contextlib.contextmanager
def few_processes(most: int) -> Iterator[None]:
    """This process and what it starts may be so many more tasks together."""
    parents = [*control_groups("pids"), *control_groups("cgroup2")][:1]
    if not parents:
        pytest.skip("no control group that counts tasks")
    place = parents[0] / f"torl-test-{uuid.uuid4().hex}"
    try:
        place.mkdir()
        (place / "cgroup.procs").write_text("0")
        (place / "pids.max").write_text(str(len(list(Path("/proc/self/task").iterdir())) + most))
    except OSError as error:
        if place.exists():
            (parents[0] / "cgroup.procs").write_text("0")
            place.rmdir()
        pytest.skip(f"no control group that counts tasks can be made here: {error}")
    try:
        yield
    finally:
        (parents[0] / "cgroup.procs").write_text("0")
        deadline = time.monotonic() + 10
        while (place / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        place.rmdir()


@pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning")
def test_a_machine_that_refuses_children_loses_no_program() -> None:
    with few_processes(20), LocalSandbox(servers=1, idle=IDLE, off=("cgroup",)) as sandbox:
        outputs = [sandbox.submit("print(1 + 1)") for _ in range(150)]
        assert {output.result(60).stdout for output in outputs} == {"2\n"}


@pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning")
def test_a_program_that_waits_for_a_child_can_be_cancelled() -> None:
    with (
        few_processes(20),
        LocalSandbox(concurrency=64, servers=1, idle=IDLE, off=("cgroup",)) as sandbox,
    ):
        sandbox.run("1")
        began = time.monotonic()
        assert sandbox.run("import time; time.sleep(1)").status is Status.OK
        one = time.monotonic() - began
        sleepers = [sandbox.submit("import time; time.sleep(1)") for _ in range(100)]
        time.sleep(one / 2)
        for sleeper in sleepers:
            sleeper.cancel()
        began = time.monotonic()
        assert sandbox.run("print(1 + 1)").stdout == "2\n"
        # Were they run first, one after the other, it would take several times as long.
        assert time.monotonic() - began < 2 * one
