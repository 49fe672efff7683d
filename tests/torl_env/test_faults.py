"""What breaks is named, harms nobody else, and leaves nothing behind."""

import asyncio
import gc
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import rewards
from rewards.types import Verdict
from torl_env import ToRLMathEnv, ToRLMathVectorEnv, is_scorable
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox import LocalSandbox, Sandbox
from torl_env.testing import problem_list

PROBLEMS = problem_list([("What is 6*7?", "42"), ("What is 6*8?", "48")])
CALL = "```python\nprint(6*7)\n```"
SHOWN = "\n```output\n42\n```\n"
KILLED = "\n```output\nkilled by SIGKILL\n```\n"


def descendants(root: int) -> list[int]:
    """Ids of the processes under `root`."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [root]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def eventually(check: object, seconds: float = 10.0) -> bool:
    """Whether `check()` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_ctrl_c_ends_the_program_and_not_the_episode() -> None:
    with LocalSandbox() as box:
        env = ToRLMathEnv(PROBLEMS, sandbox=box, limits={"cpu_seconds": 60, "wall_seconds": 60})
        env.reset(seed=0)

        def press() -> None:
            eventually(lambda: box.running)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        presser = threading.Thread(target=press)
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            env.step("```python\nwhile True: pass\n```")
        presser.join()
        assert eventually(lambda: not box.running)
        assert env.step(CALL)[0] == SHOWN
        env.close()


def test_killed_servers_are_replaced_or_the_episode_is_void() -> None:
    before = set(descendants(os.getpid()))
    with LocalSandbox() as box:
        envs = ToRLMathVectorEnv(4, PROBLEMS, sandbox=box, autoreset_mode="Disabled")
        envs.reset(seed=0)
        assert envs.step([CALL] * 4)[0] == (SHOWN,) * 4
        envs.reset(seed=0)
        envs.send(["```python\nimport time; time.sleep(0.5); print(6*7)\n```"] * 4, range(4))
        time.sleep(0.2)
        for pid in descendants(os.getpid()):  # a server comes before what it started
            if pid not in before:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for result in envs.recv(4, timeout=60):
            if result.info["infra_error"]:
                assert (result.truncated, result.reward) == (True, 0.0)
                assert not is_scorable(result.info)
            else:  # it ended first, or the kill of the program itself was still reported
                assert result.observation in (SHOWN, KILLED)
        assert envs.recv(1) == []
        envs.reset(seed=0)
        assert envs.step([CALL] * 4)[0] == (SHOWN,) * 4
        envs.close()
    assert eventually(lambda: set(descendants(os.getpid())) <= before)


def test_a_closed_sandbox_voids_what_still_runs(box: Sandbox) -> None:
    own = LocalSandbox()
    envs = ToRLMathVectorEnv(2, PROBLEMS, sandbox=own, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.send(["```python\nimport time; time.sleep(5)\n```", "\\boxed{1}"], [0, 1])
    assert envs.recv(1)[0].env_id == 1
    own.close()
    (result,) = envs.recv(1)
    assert result.info["infra_error"]
    assert result.truncated
    envs.close()


@pytest.mark.long
def test_too_many_sessions_is_the_machines_fault() -> None:
    with LocalSandbox(sessions=1) as box:
        envs = ToRLMathVectorEnv(
            2, PROBLEMS, sandbox=box, stateful=True, tool_budget=3, autoreset_mode="Disabled"
        )
        envs.reset(seed=0)
        envs.send([CALL], [0])
        assert envs.recv(1)[0].observation == SHOWN
        envs.send([CALL], [1])
        assert "sessions" in envs.recv(1)[0].info["infra_error"]
        envs.send([CALL], [0])
        assert envs.recv(1)[0].observation == SHOWN
        envs.send(["\\boxed{1}"], [0])
        assert envs.recv(1)[0].terminated
        envs.reset(options={"reset_mask": np.array([False, True])})
        envs.send([CALL], [1])
        assert envs.recv(1)[0].observation == SHOWN, "an ended episode gives its session back"
        envs.close()


def test_the_models_own_faults_are_not_the_machines(box: Sandbox) -> None:
    env = ToRLMathEnv(PROBLEMS, sandbox=box, tool_budget=9)
    env.reset(seed=0)
    for program, status in (
        ("import os; os.kill(os.getpid(), 9)", "killed"),
        ("while True: pass", "timeout"),
        ("x = [0] * 10**10", "memory"),
        ("1/0", "error"),
        ("1 +", "syntax_error"),
        ("import sys; sys.exit(3)", "error"),
    ):
        info = env.step(f"```python\n{program}\n```")[4]
        assert (info["tool_status"], info["infra_error"]) == (status, "")
    assert env.step("\\boxed{42}")[4]["tool_errors"] == 6


def test_a_killed_grading_worker_is_no_wrong_answer(box: Sandbox) -> None:
    hard = problem_list([("q", "\\int_0^1 \\sin(x^2) dx")])
    env = ToRLMathEnv(hard, sandbox=box)
    before = set(descendants(os.getpid()))
    stop = threading.Event()

    def killer() -> None:
        while not stop.is_set():
            for pid in set(descendants(os.getpid())) - before:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        env.reset()
        info = env.step("\\boxed{\\int_0^1 \\frac{\\sin(x^2)\\cdot 2}{2} dx}")[4]
    finally:
        stop.set()
        thread.join()
    assert info["verdict"] in (Verdict.CORRECT, Verdict.WRONG, Verdict.UNGRADABLE)
    assert rewards.grade("\\boxed{2}", "2").verdict is Verdict.CORRECT


def test_cancelled_awaits_kill_their_programs(box: Sandbox) -> None:
    async def play() -> None:
        env = ToRLMathEnv(PROBLEMS, sandbox=box)
        env.reset(seed=0)
        waiting = asyncio.create_task(env.astep("```python\nimport time; time.sleep(60)\n```"))
        await asyncio.sleep(0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await env.astep(CALL))[0] == SHOWN
        env.close()

    started = time.monotonic()
    asyncio.run(play())
    assert time.monotonic() - started < 30


def held() -> tuple[int, int, int]:
    """Descriptors, threads and processes of this process."""
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        threading.active_count(),
        len(descendants(os.getpid())),
    )


def test_many_branches_leave_nothing(box: Sandbox) -> None:
    env = ToRLMathEnv(PROBLEMS, sandbox=box, stateful=True, tool_budget=3)
    env.reset(seed=0)
    env.step("```python\nx = 6*7\n```")

    def branches(count: int) -> None:
        for _ in range(count):
            for branch in env.branch(10):
                branch.close()

    branches(3)
    before = held()
    branches(20)
    assert eventually(lambda: all(a <= b + 2 for a, b in zip(held(), before, strict=True))), (
        before,
        held(),
    )
    assert env.step("```python\nprint(x)\n```")[0] == SHOWN
    env.close()


@pytest.mark.slow
def test_a_thousand_branches_leave_nothing(box: Sandbox) -> None:
    env = ToRLMathEnv(PROBLEMS, sandbox=box, stateful=True, tool_budget=3)
    env.reset(seed=0)
    env.step("```python\nx = 6*7\n```")
    before = held()
    for _ in range(1000):
        (branch,) = env.branch(1)
        assert branch.step("```python\nprint(x)\n```")[0] == SHOWN
        branch.close()
    assert eventually(lambda: all(a <= b + 2 for a, b in zip(held(), before, strict=True)))
    env.close()


@pytest.mark.slow
def test_ten_thousand_episodes_grow_nothing(box: Sandbox) -> None:
    envs = ToRLMathVectorEnv(50, sandbox=box)
    envs.reset(seed=0)

    def episodes(rounds: int) -> None:
        for number in range(rounds):
            if number % 20 == 0:
                envs.step([CALL] * 50)
            envs.step(["\\boxed{1}"] * 50)
        gc.collect()

    episodes(40)
    before, memory = held(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    episodes(200)
    after = held()
    assert all(a <= b + 2 for a, b in zip(after, before, strict=True)), (before, after)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000
    envs.close()


def test_envs_give_everything_back(box: Sandbox) -> None:
    def one() -> None:
        envs = ToRLMathVectorEnv(8, PROBLEMS, sandbox=box, tool_budget=2)
        envs.reset(seed=0)
        envs.step([CALL] * 4 + ["\\boxed{1}"] * 4)
        envs.close()

    for _ in range(2):
        one()
    gc.collect()
    before = held()
    for _ in range(10):
        one()
    gc.collect()
    assert eventually(lambda: all(a <= b + 2 for a, b in zip(held(), before, strict=True))), (
        before,
        held(),
    )


class Flaky(Listed):
    """A source that cannot give its `n`-th problem."""

    def __init__(self, n: int) -> None:
        super().__init__("flaky", list(PROBLEMS))
        self.left = n

    def at(self, index: int) -> Problem:
        self.left -= 1
        if self.left == 0:
            raise OSError("the disk is gone")
        return super().at(index)


def test_a_source_that_fails_loses_no_step(box: Sandbox) -> None:
    # One look when the envs are made, three draws at the reset, then the second of three.
    envs = ToRLMathVectorEnv(3, Flaky(6), sandbox=box)
    envs.reset(seed=0)
    with pytest.raises(OSError, match="the disk is gone"):
        envs.step(("\\boxed{no}",) * 3)
    results = {result.env_id: result for result in envs.recv(3)}
    assert [results[i].reward for i in range(3)] == [-1.0] * 3
    for i, result in results.items():
        assert result.final is not None
        assert result.final.info["verdict"] == "wrong"
        assert result.info["turn"] == 0
        assert envs.get_state(i).episode.segments[0].text == result.observation
    assert envs.step((CALL,) * 3)[4]["turn"].tolist() == [1, 1, 1]


def test_a_source_that_fails_leaves_nothing_half_sent(box: Sandbox) -> None:
    envs = ToRLMathVectorEnv(2, Flaky(5), sandbox=box, autoreset_mode="NextStep")
    envs.reset(seed=0)
    envs.step(("\\boxed{no}",) * 2)
    with pytest.raises(OSError, match="the disk is gone"):
        envs.step((CALL, CALL))
    assert envs.step((CALL, CALL))[4]["turn"].tolist() == [0, 0]
