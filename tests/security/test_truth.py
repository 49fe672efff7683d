"""Under any program, plain or in a session, `SandboxError` never comes: it is the machine's word.

A policy that could turn its loss into "the machine failed" would leave the baseline, and learning
would find that. The corpus is every hostile program of tests/security/programs, and random ones.
"""

import concurrent.futures
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torl_env.sandbox import Execution, Limits, LocalSandbox, Status
from torl_env.sandbox.forkserver.config import Layer
from torl_env.testing import children, descendants

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux"),
    pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning"),
]
LIMITS = Limits(cpu_seconds=0.4, wall_seconds=1.2, memory_mb=256, output_bytes=4096, processes=64)
PATIENT = replace(LIMITS, cpu_seconds=5.0, wall_seconds=20.0)
"""Of honest turns, whatever else the machine does."""
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox(layers_off: tuple[str, ...]) -> Iterator[LocalSandbox]:
    with LocalSandbox(LIMITS, off=layers_off) as opened:
        yield opened


def in_a_session(sandbox: LocalSandbox, code: str, in_place: bool) -> Execution:
    """The program as a turn between honest ones, and as a branch; only a fault raises."""
    with sandbox.open_session(preload="bare", in_place=in_place) as session:
        assert session.run("x = 41", PATIENT).ok
        result, lost = session.run(code), session.restarted
        after = session.run("print(x + 1)", PATIENT)
        # In place, and where the turn succeeded, the variables may be anything or gone.
        if not (in_place or result.ok or lost or session.restarted):
            assert after.stdout == "42\n", (code, result, after)
        with session.branch() as branch:
            branch.run("y = 1")
        session.run("z = 1")
    return result


@pytest.mark.long
@pytest.mark.parametrize("in_place", [False, pytest.param(True, marks=SLOW)])
def test_hostile_programs_as_turns(
    sandbox: LocalSandbox, in_place: bool, categories: dict[str, list[Any]]
) -> None:
    layers = sandbox.warm()[0].layers
    held = frozenset(str(layer) for layer, state in layers.items() if state.holds)
    attacks = [
        attack
        for attacks in categories.values()
        for attack in attacks
        if attack.spares_the_server(held)
    ]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = [attack.code.replace("@NUL@", "\0") for attack in attacks]
        results = list(pool.map(lambda code: in_a_session(sandbox, code, in_place), codes))
    for attack, result in zip(attacks, results, strict=True):
        if attack.name.startswith("session/") and (not attack.by or attack.by & held):
            assert "ESCAPED" not in result.stdout + result.stderr, (attack.name, result)
            assert str(result.status) in attack.statuses, (attack.name, result)
    assert sandbox.run("print(2)").stdout == "2\n"


def test_a_turn_that_ends_its_interpreter_is_no_success(sandbox: LocalSandbox) -> None:
    with sandbox.open_session(preload="bare") as session:
        session.run("x = 1")
        ended = session.run("x = 2; import os; os._exit(0)")
        assert (ended.status, ended.exit_code) == (Status.ERROR, 0)
        assert ended.error == "the turn ended its interpreter, so what it set is lost"
        assert not session.restarted
        assert session.run("print(x)").stdout == "1\n"


def test_one_that_kills_itself_when_it_is_large_says_so_of_itself(sandbox: LocalSandbox) -> None:
    code = "import os; x = bytearray(62 << 20); os.kill(os.getpid(), 9)"
    result = sandbox.run(code, replace(PATIENT, memory_mb=64))
    assert (result.status, result.self_reported) == (Status.MEMORY, True)


@pytest.mark.parametrize("in_place", [False, True])
def test_the_limits_of_a_turn_are_its_own(sandbox: LocalSandbox, in_place: bool) -> None:
    half = (
        "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 0.25: pass"
    )
    with sandbox.open_session(
        Limits(cpu_seconds=0.5), preload="bare", in_place=in_place
    ) as session:
        assert [session.run(half).status for _ in range(4)] == [Status.OK] * 4


def test_files_left_open_do_not_keep_the_next_turn_from_running(sandbox: LocalSandbox) -> None:
    fill = (
        "import os; held = []\n"
        "try:\n  while True: held.append(os.open('/dev/null', 0))\nexcept OSError: pass"
    )
    with sandbox.open_session(Limits(open_files=32), preload="bare") as session:
        assert session.run(fill).ok
        assert session.run("print(len(held) > 20)").stdout == "True\n"
        assert session.run("open('/dev/null')").error_type == "OSError"
        assert session.run("[os.close(one) for one in held]; open('/dev/null')").ok


@pytest.mark.long
def test_two_thread_bombs_leave_their_neighbours_alone(sandbox: LocalSandbox) -> None:
    layers = sandbox.warm()[0].layers
    if not (layers[Layer.SECCOMP].holds or layers[Layer.USER].holds):
        pytest.skip(
            "threads are counted by seccomp's notifications, or for each user by the kernel"
        )
    bomb = (
        "import threading, time\nshut = threading.Lock()\nshut.acquire()\n"
        "threading.stack_size(65536)\ntry:\n"
        "  while True: threading.Thread(target=shut.acquire, daemon=True).start()\n"
        "except RuntimeError: time.sleep(0.8)"
    )
    honest = (
        "import threading\nthreads = [threading.Thread(target=int) for _ in range(20)]\n"
        "[one.start() for one in threads]; [one.join() for one in threads]; print('done')"
    )
    limits = Limits(cpu_seconds=5, wall_seconds=30)
    bombs = [sandbox.submit(bomb, limits) for _ in range(2)]
    results = [call.result() for call in [sandbox.submit(honest, limits) for _ in range(10)]]
    assert [result.stdout for result in results] == ["done\n"] * 10
    assert all(call.result().ok for call in bombs)


def oom_scores(sandbox: LocalSandbox) -> tuple[list[int], list[int]]:
    """`oom_score_adj` of servers and of programs.

    The outer half of a server, which only waits in the trainer's namespaces, is neither.
    """
    servers, programs = list[int](), list[int]()
    for top in sandbox.server_pids():
        for pid in (top, *descendants(top)):
            score = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
            below = children(pid)
            if not below:
                programs.append(score)
            elif not all(children(child) for child in below):
                servers.append(score)
    return servers, programs


def test_programs_are_offered_to_the_kernel_before_the_trainer(sandbox: LocalSandbox) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    if own >= 500:
        pytest.skip(f"this process itself is offered, with {own}")
    call = sandbox.submit("import time; time.sleep(100)", replace(LIMITS, wall_seconds=200))
    servers, programs, deadline = list[int](), list[int](), time.monotonic() + 60
    # A server takes its programs' score while it forks one.
    while True:
        with contextlib.suppress(FileNotFoundError):
            servers, programs = oom_scores(sandbox)
            if {*programs} == {1000} and servers and all(own < one < 1000 for one in servers):
                break
        assert time.monotonic() < deadline, (servers, programs)
        time.sleep(0.05)
    call.cancel()


LINES = st.sampled_from(
    """
os.write({n}, b"H")
os.write({n}, b"\\0torl M")
os.close({n})
os.dup2({n}, {m})
os.closerange({n}, {m})
os._exit({n})
sys.exit({n})
sys.exit("words")
raise MemoryError
raise KeyboardInterrupt
raise SystemExit(None)
os.kill(os.getpid(), {s})
signal.signal({s}, signal.SIG_IGN)
signal.signal({s}, signal.SIG_DFL)
signal.raise_signal({s})
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
sys.stdout.close()
sys.stderr = None
del sys.stdout
sys.stdin.read()
resource.setrlimit({r}, (0, 0))
resource.setrlimit({r}, (resource.getrlimit({r})[1],) * 2)
threading.Thread(target=os._exit, args=({n},), daemon=True).start()
threading.Thread(target=time.sleep, args=(0.2,)).start()
threading.Thread(target=lambda: 1 / 0).start()
atexit.register(os._exit, {n})
atexit.register(lambda: 1 / 0)
ctypes.string_at({n})
ctypes.CDLL(None).abort()
ctypes.CDLL(None).prctl({n}, {m}, 0, 0, 0)
ctypes.CDLL(None).syscall({c}, {n}, {m}, 0, 0, 0, 0)
ctypes.memset(id({n}), 0, 64)
sys.setrecursionlimit(10**6)
f = lambda: f(); f()
x = bytearray(10**{d})
print("x" * 10**{d})
x = [0] * 10**{d}
time.sleep(0.01)
gc.collect(); gc.disable()
sys.modules.clear()
vars(builtins).clear()
builtins.exec = builtins.compile = None
sys._getframe(1).f_globals.clear()
sys._getframe(2).f_globals.clear()
sys.settrace(lambda *a: 1 / 0)
sys.excepthook = lambda *a: os._exit({n})
globals().clear()
del __builtins__
""".strip().splitlines()
)
PROGRAMS = st.lists(
    st.builds(
        lambda line, n, m, s, d: line.format(
            n=n,
            m=m,
            s=s,
            c=m,
            d=d,
            r=("resource.RLIMIT_" + ("AS", "NOFILE", "CPU", "FSIZE", "NPROC")[n % 5]),
        ),
        LINES,
        st.integers(0, 12),
        st.integers(0, 460),
        st.integers(1, 64),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=5,
).map(
    lambda lines: (
        "import atexit, builtins, ctypes, gc, os, resource, signal, sys, threading, time\n"
        + "\n".join(lines)
    )
)


EXAMPLES = os.environ.get("TORL_FUZZ", "")
"""How many random programs; by default few, and the same every time."""


@settings(
    max_examples=int(EXAMPLES or 60),
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(code=PROGRAMS, in_place=st.booleans())
def test_random_programs_are_answered_with_a_status(
    sandbox: LocalSandbox, code: str, in_place: bool
) -> None:
    beside = sandbox.submit("print(6 * 7)")
    assert isinstance(sandbox.run(code), Execution)
    in_a_session(sandbox, code, in_place)
    assert beside.result().stdout == "42\n"
