"""The life of a local sandbox: lazy start, threads, forks, pickling, death and restart."""

import asyncio
import concurrent.futures
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from torl_env.errors import SandboxError
from torl_env.sandbox import Limits, LocalSandbox
from torl_env.sandbox.forkserver.config import Layer
from torl_env.testing import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux")

ROOT = Path(__file__).parents[3]
ServerPids = Callable[[LocalSandbox], list[int]]
WaitUntil = Callable[[Callable[[], bool]], None]


def ours() -> set[int]:
    return set(children(os.getpid()))


def test_nothing_starts_before_the_first_call() -> None:
    # A thread of an earlier test may end meanwhile; what counts is that none is new.
    before, threads = ours(), set(threading.enumerate())
    with LocalSandbox() as sandbox:
        assert ours() == before
        assert set(threading.enumerate()) <= threads
        sandbox.run("print(1)")
        assert ours() > before
        assert not set(threading.enumerate()) <= threads
    assert ours() == before
    assert set(threading.enumerate()) <= threads


def test_a_call_starts_only_the_server_it_needs() -> None:
    with LocalSandbox() as sandbox:
        sandbox.run("print(1)")
        assert [report.preload for report in sandbox.reports()] == ["bare"]
        sandbox.run("import numpy")
        assert sorted(report.preload for report in sandbox.reports()) == ["bare", "numpy"]


def test_many_threads_get_their_own_results(sandbox: LocalSandbox) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda n: sandbox.run(f"print({n} ** 2)").stdout, range(200)))
    assert texts == [f"{n**2}\n" for n in range(200)]


def test_concurrency_is_bounded_and_waiting_is_free() -> None:
    limits = Limits(cpu_seconds=5, wall_seconds=0.5)
    with LocalSandbox(limits, concurrency=2) as sandbox:
        sandbox.run("")
        began = time.monotonic()
        futures = [sandbox.submit("import time; time.sleep(0.2)") for _ in range(10)]
        assert all(future.result(30).ok for future in futures)
        # Far more than the wall limit has passed for the last of them.
        assert time.monotonic() - began > 0.9


def test_a_dead_server_is_an_error_and_is_replaced(server_pids: ServerPids) -> None:
    with LocalSandbox(Limits(cpu_seconds=30, wall_seconds=30)) as sandbox:
        sandbox.run("")
        flying = sandbox.submit("while True: pass")
        session = sandbox.open_session(preload="bare")
        time.sleep(0.2)
        (pid,) = server_pids(sandbox)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match="died"):
            flying.result(10)
        assert sandbox.run("print(2)").stdout == "2\n"
        with pytest.raises(SandboxError):
            session.run("x = 1")


def inner_space(pid: int) -> str:
    """The process-id namespace of the server's inner half."""
    (inner,) = children(pid)
    return str(Path(f"/proc/{inner}/ns/pid").readlink())


def processes_in(space: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and str((entry / "ns/pid").readlink()) == space:
                found.append(entry.name)
        except OSError:
            continue
    return found


def stop(pid: int) -> None:
    """Hang a server: its inner half if it has one, which does the work."""
    inner = children(pid)
    nested = inner and str(Path(f"/proc/{inner[0]}/ns/pid").readlink()) != str(
        Path(f"/proc/{pid}/ns/pid").readlink()
    )
    os.kill(inner[0] if nested else pid, signal.SIGSTOP)


@pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning")
@pytest.mark.parametrize("layer", list(Layer))
def test_every_layer_can_be_left_out_alone(layer: Layer) -> None:
    with LocalSandbox(servers=1, off=(layer,)) as sandbox:
        assert sandbox.run("print(1 + 1)").stdout == "2\n"
        (report,) = sandbox.reports()
    # Limits are set whatever is asked.
    assert report.layers[layer].holds is (layer is Layer.RLIMITS)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning")
@pytest.mark.parametrize("off", [(), pytest.param(("namespaces",), marks=pytest.mark.slow)])
def test_a_hung_server_is_an_error_and_is_replaced(
    off: tuple[str, ...], server_pids: ServerPids
) -> None:
    limits = Limits(cpu_seconds=60, wall_seconds=60)
    with LocalSandbox(limits, hung_after=4.0, off=off) as sandbox:
        session = sandbox.open_session(preload="bare")
        (pid,) = server_pids(sandbox)
        flying = sandbox.submit("while True: pass")
        stop(pid)
        with pytest.raises(SandboxError, match="hung"):
            flying.result(30)
        with pytest.raises(SandboxError):
            session.run("x = 1")
        assert sandbox.run("print(2)").stdout == "2\n"
        assert pid not in server_pids(sandbox)
        assert not Path(f"/proc/{pid}").exists()


def test_a_busy_server_is_not_taken_for_hung(server_pids: ServerPids) -> None:
    with LocalSandbox(Limits(cpu_seconds=60, wall_seconds=60), hung_after=2.0) as sandbox:
        sandbox.run("")
        pids = server_pids(sandbox)
        slow = sandbox.submit("import time; time.sleep(5)")
        assert slow.result(60).ok
        assert server_pids(sandbox) == pids


def test_programs_die_with_their_server(server_pids: ServerPids) -> None:
    with LocalSandbox(Limits(cpu_seconds=30, wall_seconds=30)) as sandbox:
        sandbox.run("")
        sandbox.submit("while True: pass")
        (pid,) = server_pids(sandbox)
        space = inner_space(pid)
        assert len(processes_in(space)) >= 2
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while processes_in(space) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_in(space) == []


def test_the_server_dies_with_its_client() -> None:
    code = (
        "import os, time; from torl_env.sandbox import LocalSandbox\n"
        "s = LocalSandbox(); s.run('')\n"
        "servers = [v for t in s._pool._preload_sets.values() for v in t.servers]\n"
        "print(*[server._process.pid for server in servers], flush=True)\n"
        "s.submit('while True: pass'); time.sleep(60)"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert client.stdout is not None
    pid = int(client.stdout.readline())
    client.kill()
    client.wait()
    client.stdout.close()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_killed_while_it_warms_up_leaves_none_behind(
    local: LocalSandbox, wait_until: WaitUntil
) -> None:
    """Its outer half waits outside of the namespaces; the inner one serves, and must go with it."""

    def inner() -> list[int]:
        return [pid for new in ours() - before for pid in children(new)]

    local.run("")
    if local.reports()[0].pid:
        pytest.skip("without namespaces a server is one process")
    before = ours()
    with LocalSandbox() as sandbox:
        sandbox.submit("")
        wait_until(lambda: bool(inner()))
        (outer,), (half,) = ours() - before, inner()
        os.kill(outer, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{half}").exists())


def test_an_open_sandbox_does_not_hold_up_the_exit() -> None:
    code = (
        "from torl_env.sandbox import LocalSandbox\n"
        "s = LocalSandbox(); s.submit('while True: pass'); print(s.run('print(1)').stdout)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_forked_process_gets_its_own_servers(sandbox: LocalSandbox) -> None:
    assert sandbox.run("print(1)").ok
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, sandbox.run("print(5)").stdout.encode())
        sandbox.close()
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 10) == b"5\n"
    os.close(read)
    assert sandbox.run("print(6)").stdout == "6\n"


def test_it_pickles_as_its_configuration(sandbox: LocalSandbox) -> None:
    sandbox.run("")
    other = pickle.loads(pickle.dumps(sandbox))
    try:
        assert other.limits == sandbox.limits
        assert other.run("print(3)").stdout == "3\n"
    finally:
        other.close()


def test_a_server_that_cannot_start_is_an_error() -> None:
    with LocalSandbox(python="/nonexistent/python") as sandbox, pytest.raises(SandboxError):
        sandbox.run("print(1)")


def test_a_python_that_is_none_is_an_error() -> None:
    with (
        LocalSandbox(python="/bin/false") as sandbox,
        pytest.raises(SandboxError, match="exit code 1"),
    ):
        sandbox.run("print(1)")


def test_awaiting(sandbox: LocalSandbox) -> None:
    async def both() -> list[str]:
        results = await asyncio.gather(*(sandbox.arun(f"print({n})") for n in range(5)))
        return [result.stdout for result in results]

    assert asyncio.run(both()) == [f"{n}\n" for n in range(5)]


def test_cancelling_a_task_kills(sandbox: LocalSandbox) -> None:
    async def cancelled() -> None:
        limits = Limits(cpu_seconds=60, wall_seconds=60)
        task = asyncio.create_task(sandbox.arun("while True: pass", limits))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    deadline = time.monotonic() + 5
    while sandbox.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sandbox.running == 0


def test_nothing_of_the_parent_is_inherited(
    sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    with LocalSandbox() as fresh:
        text = fresh.run("import os; print(sorted(os.environ))").stdout
    assert "SECRET" not in text


DETERMINED = {
    "bare": (
        "import random, os, time\n"
        "print({'a', 'b', 'c', 'd'}, random.random(), time.tzname, hash('x'))\n"
        "print(sorted(os.environ.items()))\n"
        "import secrets, uuid; random.seed(); sure = random.SystemRandom().random()\n"
        "print(random.random(), random.Random().random(), sure, uuid.uuid4(), os.getrandom(8))\n"
        "print(secrets.token_hex())",
        "import random, os; random.seed(5); os.urandom(3)",
    ),
    "numpy": (
        "import numpy as np\nprint(np.random.rand(), np.random.default_rng().integers(10**9))",
        "import numpy; numpy.random.seed(7); numpy.random.default_rng().random()",
    ),
    "sympy": (
        "import sympy; from sympy.core.random import rng; print(rng.random())",
        "from sympy.core.random import seed; seed(3)",
    ),
}


@pytest.mark.parametrize(
    "preload",
    [
        "bare",
        "numpy",
        pytest.param("sympy", marks=pytest.mark.slow),
        pytest.param("all", marks=pytest.mark.long),
    ],
)
def test_the_same_program_prints_the_same(sandbox: LocalSandbox, preload: str) -> None:
    code, spoil = DETERMINED.get(preload) or map("\n".join, zip(*DETERMINED.values(), strict=True))
    first = sandbox.run(code)
    assert first.ok, first.stderr
    sandbox.run(spoil)
    assert sandbox.run(code).stdout == first.stdout
    if preload == "all":
        return
    with LocalSandbox() as other:
        assert other.run(code).stdout == first.stdout


def test_only_the_allowed_packages_are_there(sandbox: LocalSandbox) -> None:
    for name in ("torch", "pytest", "gymnasium", "torl_env"):
        assert sandbox.run(f"import {name}").error_type in ("ModuleNotFoundError", "ImportError")


def test_more_packages_on_request(sandbox: LocalSandbox) -> None:
    code = "import iniconfig; print(iniconfig.__name__)"
    assert sandbox.run(code).error_type == "ModuleNotFoundError"
    with LocalSandbox(packages=["iniconfig"]) as other:
        result = other.run(code)
    assert result.stdout == "iniconfig\n", result.stderr


def test_library_tracebacks_show_no_place(sandbox: LocalSandbox) -> None:
    code = (
        "import traceback, sympy\ntry: sympy.sympify('1+')\nexcept Exception: traceback.print_exc()"
    )
    handled = sandbox.run(code)
    raised = sandbox.run("import sympy\nsympy.sympify('1+')")
    missed = sandbox.run("try: from sympy import missing\nfinally: from math import missing")
    assert "cannot import name 'missing' from 'sympy' (sympy/__init__.py)" in missed.stderr
    for text in (missed.stderr, missed.error):
        assert "cannot import name 'missing' from 'math' (" in text
        assert "(/" not in text, text
    for text in (handled.stderr, raised.stderr, raised.error):
        assert "sympy/core/sympify.py" in text or "SympifyError" in text
        assert "/site-packages/" not in text
        assert str(ROOT) not in text


def test_a_broken_layer_is_refused_in_strict_mode() -> None:
    with (
        LocalSandbox(strict=True, off=("landlock",)) as sandbox,
        pytest.raises(SandboxError, match="landlock"),
    ):
        sandbox.run("print(1)")


def test_cancelled_calls_count_as_done() -> None:
    with LocalSandbox(Limits(cpu_seconds=30, wall_seconds=30), concurrency=1) as sandbox:
        futures = [sandbox.submit("while True: pass") for _ in range(4)]
        time.sleep(0.1)
        assert all(future.cancel() for future in futures)
        done, _ = concurrent.futures.wait(futures, timeout=20)
        assert len(done) == 4
        assert sandbox.run("print(1)").ok


def test_odd_arguments_hurt_nobody_else(sandbox: LocalSandbox) -> None:
    with pytest.raises(TypeError, match="text"):
        sandbox.run(b"print(1)")  # type: ignore[arg-type]
    huge = Limits(cpu_seconds=1e12, wall_seconds=1e12, memory_mb=10**9, output_bytes=10**12)
    assert sandbox.run("print(1)", huge).stdout == "1\n"


def test_the_wall_guard_without_proc_scales_with_load() -> None:
    code = (
        "from torl_env.sandbox.forkserver.watch import WaitMeter\n"
        "busy = WaitMeter(-1, lambda: 10_000)\n"
        "assert not busy.exact and 8.0 < busy.waits(1, 10.0).sure <= 10.0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_crowd_never_turns_a_right_program_into_a_timeout() -> None:
    limits = Limits(cpu_seconds=5, wall_seconds=0.4)
    work = (
        "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 0.12: pass"
    )
    allowed = os.sched_getaffinity(0)
    # On one processor eight programs wait for each other, whatever else the machine does.
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with LocalSandbox(limits, concurrency=8) as sandbox:
            results = [call.result(120) for call in [sandbox.submit(work) for _ in range(8)]]
    finally:
        os.sched_setaffinity(0, allowed)
    assert max(result.wall_seconds for result in results) > 0.4
    assert all(result.ok for result in results), [result.error for result in results]


def test_programs_read_the_library_whatever_the_mask_of_their_client() -> None:
    before = os.umask(0o077)
    try:
        with LocalSandbox() as sandbox:
            assert sandbox.run("import colorsys; print('found')").stdout == "found\n"
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("code", "status", "own_words"),
    [
        ("1/0", "error", True),
        ("raise SystemExit(3)", "error", True),
        ("x = (", "syntax_error", False),
        ("raise MemoryError('so it says')", "memory", True),
        ("import os; os.pwrite(0, b'\\0torl M' + bytes([1]) + bytes(7) + b'x', 0); os._exit(1)",
         "memory", True),
        ("import os; os._exit(1)", "error", False),
        ("import os; os.abort()", "killed", False),
        ("while True: pass", "timeout", False),
        ("print(1)", "ok", False),
    ],
)  # fmt: skip
def test_what_a_program_says_of_itself_is_marked(
    sandbox: LocalSandbox, code: str, status: str, own_words: bool
) -> None:
    result = sandbox.run(code, Limits(cpu_seconds=0.3))
    assert (result.status, result.self_reported) == (status, own_words)
