"""The bound on all programs together, and what becomes of the program that the kernel ends."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torl_env.errors import SandboxError
from torl_env.sandbox import Limits, LocalSandbox
from torl_env.sandbox.forkserver.config import Layer
from torl_env.sandbox.local import cgroup

KILL = "import os; os.kill(os.getpid(), 9)"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


@pytest.fixture
def group() -> cgroup.ControlGroup:
    try:
        made = cgroup.make(300, 4096)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    made.remove()
    return made


def test_memory_of_all_programs_is_bounded_and_its_end_is_no_result(
    group: cgroup.ControlGroup,
) -> None:
    limits = Limits(cpu_seconds=20, memory_mb=1024)
    with LocalSandbox(limits, total_memory_mb=300) as sandbox:
        assert sandbox.run("print(1)").stdout == "1\n"
        (report,) = sandbox.reports()
        assert report.layers[Layer.CGROUP].holds
        assert "300 MB" in report.layers[Layer.CGROUP].detail
        with pytest.raises(SandboxError, match="memory ran out"):
            sandbox.run("print(len(bytearray(700 << 20)))")
        assert sandbox.run("print(2)").stdout == "2\n"
        # A program that ends itself in the same way has no such excuse.
        killed = sandbox.run(KILL)
        assert killed.status == "killed"


def test_what_is_swapped_out_counts_towards_the_bound(group: cgroup.ControlGroup) -> None:
    """With swap a program beyond the bound of memory alone is not killed: it fills the swap."""
    made = cgroup.make(300, 4096)
    found = {
        file: (directory / file).read_text().strip()
        for directory in made.directories
        for file in ("memory.memsw.limit_in_bytes", "memory.swap.max")
        if (directory / file).exists()
    }
    detail = made.detail
    made.remove()
    assert found in ({"memory.memsw.limit_in_bytes": str(300 << 20)}, {"memory.swap.max": "0"}, {})
    assert ("swap not counted" in detail) == (not found)


def test_a_kernel_that_does_not_count_swap_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The layout of version 2, without memory.swap.max.
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    monkeypatch.setattr(cgroup, "control_groups", lambda kind: iter([tmp_path]))
    made = cgroup.make(300, 4096)
    assert made.detail.endswith(", swap not counted")
    assert (made.directories[0] / "memory.max").read_text() == str(300 << 20)


def run_out_of_memory() -> None:
    """In a group of its own, beside every sandbox."""
    join = "import sys\nfor name in sys.argv[1:]: open(name + '/cgroup.procs', 'w').write('0')\n"
    elsewhere = cgroup.make(40, 99)
    code = f"{join}bytearray(200 << 20)"
    places = map(str, elsewhere.directories)
    assert subprocess.run([sys.executable, "-c", code, *places], check=False).returncode == -9
    elsewhere.remove()


def test_memory_that_ran_out_elsewhere_excuses_nobody(group: cgroup.ControlGroup) -> None:
    with LocalSandbox() as sandbox, sandbox.open_session(preload="bare") as session:
        run_out_of_memory()
        assert sandbox.run(KILL).status == "killed"
        assert session.run("import os; os.write(3, b'N')").status == "killed"


def test_memory_that_ran_out_long_ago_excuses_nobody(group: cgroup.ControlGroup) -> None:
    with LocalSandbox(off=(Layer.CGROUP,), hung_after=0.4) as sandbox:
        sandbox.run("")
        run_out_of_memory()
        for _ in range(3):
            # It looks at the machine's count every 0.1 s.
            time.sleep(0.15)
            sandbox.run("")
        assert sandbox.run(KILL).status == "killed"


def test_a_bound_below_the_servers_own_needs_is_said(group: cgroup.ControlGroup) -> None:
    with (
        LocalSandbox(total_memory_mb=4) as sandbox,
        pytest.raises(SandboxError, match="memory ran out"),
    ):
        sandbox.run("print(1)")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LocalSandbox(total_memory_mb=0)


def test_nothing_is_left_of_it(group: cgroup.ControlGroup) -> None:
    parents = {directory.parent for directory in group.directories}

    def there() -> set[Path]:
        return {path for parent in parents for path in parent.glob(f"torl-sandbox-{os.getpid()}-*")}

    before = there()
    with LocalSandbox() as sandbox:
        sandbox.run("")
        assert len(there() - before) == len(parents)
    assert there() == before


def test_what_a_killed_process_leaves_is_removed_by_the_next(group: cgroup.ControlGroup) -> None:
    code = "from torl_env.sandbox.local import cgroup; print(cgroup.make(64, 99).directories[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left = Path(done.stdout.strip())
    assert left.is_dir()
    cgroup.make(64, 99).remove()
    assert not left.exists()


def test_what_an_earlier_process_with_our_number_leaves_is_removed(
    group: cgroup.ControlGroup,
) -> None:
    # In a container the client is process 1 each time.
    parent = group.directories[0].parent
    left = parent / f"torl-sandbox-{os.getpid()}-1-00000000"
    left.mkdir()
    mine = cgroup.make(64, 99)
    cgroup.make(64, 99).remove()
    assert mine.directories[0].is_dir()
    mine.remove()
    assert not left.exists()


def test_it_can_be_switched_off() -> None:
    with LocalSandbox(off=(Layer.CGROUP,)) as sandbox:
        sandbox.run("")
        (report,) = sandbox.reports()
        assert not report.layers[Layer.CGROUP].holds
        assert report.layers[Layer.CGROUP].detail == "switched off"


@pytest.mark.parametrize(
    ("own", "outer", "found"),
    [
        ({"cgroup.subtree_control": "memory pids"}, {}, "own"),
        ({"memory.max": "max"}, {"cgroup.subtree_control": "cpu pids memory"}, "outer"),
        ({"memory.max": "1073741824"}, {"cgroup.subtree_control": "memory pids"}, None),
        ({"memory.max": "max", "pids.max": "500"}, {"cgroup.subtree_control": "memory pids"}, None),
        ({}, {"cgroup.subtree_control": "memory"}, None),
    ],
)  # fmt: skip
def test_a_limit_that_binds_this_process_is_never_left(
    own: dict[str, str],
    outer: dict[str, str],
    found: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The layout of version 2; a hierarchy with these controllers is not to be had in every kernel.
    inner = tmp_path / "own"
    inner.mkdir()
    for directory, files in ((inner, own), (tmp_path, outer)):
        for name, text in files.items():
            (directory / name).write_text(f"{text}\n")
    monkeypatch.setattr(cgroup, "control_groups", lambda kind: iter((inner, tmp_path)))
    places = [place for place, _ in cgroup.delegated()]
    assert places == {"own": [inner], "outer": [tmp_path], None: []}[found]
