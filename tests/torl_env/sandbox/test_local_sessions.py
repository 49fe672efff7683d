"""Sessions of a local sandbox: their bound, their end, their branches, and those that lie."""

import concurrent.futures
import contextlib
import gc
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from torl_env.errors import SandboxError
from torl_env.sandbox import Limits, LocalSandbox, Session, Status
from torl_env.testing import descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux")
ServerPids = Callable[[LocalSandbox], list[int]]
WaitUntil = Callable[[Callable[[], bool]], None]


def test_sessions_are_bounded_with_a_clear_error() -> None:
    with LocalSandbox(sessions=2) as sandbox:
        one, two = (sandbox.open_session(preload="bare") for _ in range(2))
        with pytest.raises(SandboxError, match="at most 2"):
            sandbox.open_session(preload="bare")
        with pytest.raises(SandboxError, match="at most 2"):
            one.branch()
        two.close()
        one.branch().close()
        one.close()


def test_a_forgotten_session_is_closed() -> None:
    with LocalSandbox(sessions=1) as sandbox:
        sandbox.open_session(preload="bare").run("x = 1")
        gc.collect()
        sandbox.open_session(preload="bare").close()


def test_a_killed_turn_in_place_restarts_the_session() -> None:
    with LocalSandbox(Limits(cpu_seconds=0.3)) as sandbox:
        session = sandbox.open_session(preload="bare", in_place=True)
        session.run("x = 1")
        assert session.run("while True: pass").status is Status.TIMEOUT
        assert session.restarted
        assert session.run("x").error_type == "NameError"
        assert not session.restarted
        session.close()


def close_during(
    sandbox: LocalSandbox, session: Session, program: str, place: str, wait_until: WaitUntil
) -> None:
    """Close a session while a turn of it is `running` or `waiting`, which ends the turn."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        turn = pool.submit(session.run, program)
        wait_until(lambda: getattr(sandbox, place) == 1)
        session.close()
        with pytest.raises(SandboxError, match="closed"):
            turn.result(10)


@pytest.mark.parametrize("in_place", [False, True])
def test_closing_a_session_kills_its_running_turn(in_place: bool, wait_until: WaitUntil) -> None:
    limits = Limits(cpu_seconds=60, wall_seconds=60)
    with LocalSandbox(limits, concurrency=1) as sandbox:
        session = sandbox.open_session(preload="bare", in_place=in_place)
        close_during(sandbox, session, "while True: pass", "running", wait_until)
        # The only place is free again.
        assert sandbox.run("print(1)").stdout == "1\n"
        wait_until(lambda: sandbox.running == 0)
        with pytest.raises(SandboxError, match="closed"):
            session.run("x = 1")


def test_cancelling_a_turn_in_a_queue_of_one(wait_until: WaitUntil) -> None:
    with LocalSandbox(Limits(cpu_seconds=60, wall_seconds=60), concurrency=1) as sandbox:
        session = sandbox.open_session(preload="bare")
        endless = sandbox.submit("while True: pass")
        close_during(sandbox, session, "x = 1", "waiting", wait_until)
        assert endless.cancel()
        assert sandbox.run("print(1)").stdout == "1\n"


def test_a_hundred_branches_of_one_session() -> None:
    with LocalSandbox(Limits(processes=8)) as sandbox:
        trunk = sandbox.open_session(preload="bare")
        trunk.run("x = 1")
        twigs = [trunk.branch() for _ in range(100)]
        assert {twig.run("x += 1; print(x)").stdout for twig in twigs} == {"2\n"}
        assert trunk.run("print(x)").stdout == "1\n"
        for twig in twigs:
            twig.close()
        assert trunk.run("x = 3").ok


HOSTILE_SESSION = """
import os, socket, threading, time
def spam():
    while True:
        for data in (b"D", b"H", b"Z" * 200, b"L", b"D\\x01\\x00\\x00\\x00\\x00"):
            try: socket.socket(fileno=os.dup(3)).send(data)
            except OSError: return
threading.Thread(target=spam, daemon=True).start()
"""


def test_a_lying_session_hurts_only_itself(sandbox: LocalSandbox, server_pids: ServerPids) -> None:
    liar, honest = sandbox.open_session(preload="bare"), sandbox.open_session(preload="bare")
    honest.run("x = 1")
    pids = server_pids(sandbox)
    try:
        liar.run(HOSTILE_SESSION + "time.sleep(0.2)")
        liar.run("time.sleep(0.2)")
    except SandboxError:
        pass
    assert honest.run("print(x)").stdout == "1\n"
    assert sandbox.run("print(2)").stdout == "2\n"
    assert server_pids(sandbox) == pids
    honest.close()


def stopped(pids: list[int]) -> list[int]:
    """Processes of sessions below these servers, all of which sleep between turns."""
    found: list[int] = []
    for child in [below for pid in pids for below in descendants(pid)]:
        # It may be gone by now.
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{child}/stat").read_text()
            found += [child] if stat.rpartition(")")[2].split()[0] == "T" else []
    return found


def test_a_spare_that_is_lost_between_turns_costs_nothing(
    server_pids: ServerPids, wait_until: WaitUntil
) -> None:
    with LocalSandbox() as sandbox, sandbox.open_session(preload="bare") as session:
        pids = server_pids(sandbox)
        wait_until(lambda: len(stopped(pids)) == 1)
        first = stopped(pids)
        assert session.run("x = 41").ok
        # The head after the turn, and the next turn's process beside it.
        wait_until(lambda: len(stopped(pids)) == 2 and first[0] not in stopped(pids))
        head, spare = sorted(stopped(pids))
        os.kill(spare, signal.SIGKILL)
        wait_until(lambda: stopped(pids) == [head] and not Path(f"/proc/{spare}").exists())
        assert session.run("x += 1; print(x)").stdout == "42\n"
        assert not session.restarted
        session.close()
        wait_until(lambda: stopped(pids) == [])


def test_a_session_whose_first_process_is_killed_early_is_opened_all_the_same(
    server_pids: ServerPids,
) -> None:
    """Who kills it is a neighbour, where the layers that part them are off; see `_open`."""
    with LocalSandbox() as sandbox, concurrent.futures.ThreadPoolExecutor(1) as pool:
        sandbox.open_session(preload="bare").close()
        (server,) = server_pids(sandbox)
        early = 0
        for _ in range(30):
            known = set(descendants(server))
            opening = pool.submit(sandbox.open_session, preload="bare")
            while not opening.done():
                if new := set(descendants(server)) - known:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(new.pop(), signal.SIGKILL)
                        early += not opening.done()
                    break
            opening.result(30).close()
        assert early


@pytest.mark.parametrize("pause", [0.0, 0.03])
def test_turns_see_the_last_good_state_however_soon_they_come(
    sandbox: LocalSandbox, pause: float
) -> None:
    steps = random.Random(7).choices(["good", "bad", "killed", "branch", "limits"], k=40)
    limits, value = Limits(cpu_seconds=5, open_files=40), 0
    with sandbox.open_session(preload="bare") as session:
        session.run("x = 0; import os")
        for step in steps:
            time.sleep(pause)
            if step == "good":
                value += 1
                assert session.run("x += 1; print(x)").stdout == f"{value}\n"
            elif step == "bad":
                assert not session.run("x = -1; 1/0").ok
            elif step == "killed":
                assert session.run("x = -1; os.abort()").status is Status.KILLED
            elif step == "branch":
                with session.branch() as branch:
                    assert branch.run("print(x); x = -1").stdout == f"{value}\n"
            else:
                # The limits are those of the turn, not those of when its process was made.
                many = "f = [open('/dev/null') for _ in range(60)]"
                assert session.run(many, limits).error_type == "OSError"
                assert session.run(f"{many}; del f").ok
        assert not session.restarted


class Interrupted(BaseException):
    """As `KeyboardInterrupt`, which pytest would take for its own."""


def interrupt_after(seconds: float) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)


LONG = Limits(cpu_seconds=60, wall_seconds=60)


def test_an_interrupted_turn_is_undone_and_its_session_goes_on(sandbox: LocalSandbox) -> None:
    session = sandbox.open_session(LONG, preload="bare")
    session.run("x = 1")
    interrupt_after(0.3)
    with pytest.raises(Interrupted):
        session.run("x = 2\nwhile True: pass")
    assert (session.run("print(x)").stdout, session.restarted) == ("1\n", False)
    session.close()


def test_an_interrupted_turn_in_place_says_that_variables_are_lost(sandbox: LocalSandbox) -> None:
    session = sandbox.open_session(LONG, preload="bare", in_place=True)
    session.run("x = 1")
    interrupt_after(0.3)
    with pytest.raises(Interrupted):
        session.run("while True: pass")
    assert (session.run("x").error_type, session.restarted) == ("NameError", True)
    session.close()


def test_an_interrupted_program_is_killed(sandbox: LocalSandbox, wait_until: WaitUntil) -> None:
    interrupt_after(0.3)
    with pytest.raises(Interrupted):
        sandbox.run("while True: pass", LONG)
    wait_until(lambda: sandbox.running == 0)


def test_a_fork_of_its_process_neither_hangs_on_a_session_nor_ends_it(
    sandbox: LocalSandbox, wait_until: WaitUntil
) -> None:
    """A turn runs in another thread, which holds the session, and is not in the fork."""
    session = sandbox.open_session(LONG, preload="bare")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        turn = pool.submit(session.run, "import time\ntime.sleep(2)\nx = 1")
        wait_until(lambda: sandbox.running == 1)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            try:
                for use in (lambda: session.run("x"), session.branch):
                    with pytest.raises(SandboxError, match="fork of its process"):
                        use()
                session.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert turn.result().ok
    assert session.run("print(x)").stdout == "1\n"
    session.close()
