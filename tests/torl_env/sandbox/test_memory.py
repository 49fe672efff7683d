"""What the fork server does to its memory so that forks are cheap."""

import ctypes
import os
import subprocess
import sys
import textwrap

import pytest

from torl_env.sandbox import LocalSandbox

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux")


def run_python(program: str) -> str:
    """What `program` prints in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@LINUX
def test_libraries_work_where_they_were_gathered() -> None:
    before, after, gathered, rest = run_python(
        """
        import ctypes, hashlib, json, math, os, signal, threading
        import numpy as np
        from pathlib import Path
        from torl_env.sandbox.forkserver.gather import gather, huge_pages

        maps = Path("/proc/self/maps").read_text
        print(len(maps().splitlines()))
        spans = gather(maps)
        print(len(maps().splitlines()))
        print(spans)
        huge_pages(maps())

        import _lzma, decimal  # libraries loaded later find those that were there
        assert hashlib.sha256(b"a").hexdigest().startswith("ca978112")
        assert np.linalg.inv(np.array([[2.0, 0], [0, 4]])).tolist() == [[0.5, 0], [0, 0.25]]
        assert ctypes.CDLL(None).abs(-3) == 3 and math.sin(0) == 0 and json.loads("[1]") == [1]
        try:
            raise ValueError("unwinding works")
        except ValueError:
            pass
        seen = []
        thread = threading.Thread(target=seen.append, args=(1,))
        thread.start()
        thread.join()
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(2))
        os.kill(os.getpid(), signal.SIGUSR1)
        child = os.fork()
        if child == 0:
            os._exit(int(np.arange(10).sum()) + len(seen))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    ).split()
    assert rest == "47"
    if gathered == "0":
        pytest.skip("no huge pages, or not x86-64: libraries stay where they are")
    assert int(before) > 150
    assert int(after) < int(before) / 4


@LINUX
def test_new_objects_lie_together() -> None:
    scattered, together = run_python(
        """
        from torl_env.sandbox.forkserver import warm

        kept = [bytes(100) for _ in range(200_000)]
        del kept[::7]

        def pages():
            fresh = [bytes(100) for _ in range(1_000)]
            return len({id(item) >> 12 for item in fresh})

        print(pages())
        warm.fill_holes()
        print(pages())
        """
    ).split()
    assert int(scattered) > 150
    assert int(together) < 60


@LINUX
def test_a_call_made_ready_before_a_fork_tells_its_failure() -> None:
    from torl_env.sandbox.forkserver import kernel

    nothing = kernel.prepared("prctl", ctypes.c_int(-1), *[ctypes.c_ulong(0)] * 4)
    with pytest.raises(OSError, match="nothing: Invalid argument"):
        kernel.checked(nothing(), "nothing")


def test_a_child_finds_nothing_of_the_server_to_collect(sandbox: LocalSandbox) -> None:
    program = "import gc; print(len(gc.get_objects()), gc.get_stats(), gc.get_count()[1:])"
    first = sandbox.run(program).stdout
    for number in range(200):
        sandbox.submit(f"print({number})")
    assert sandbox.run(program).stdout == first
    assert int(first.split()[0]) < 700
