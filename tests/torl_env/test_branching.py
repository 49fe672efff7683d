"""Sessions, snapshots and branches."""

import copy
import json
import os
import pickle
import threading
import time

import gymnasium as gym
import pytest

from torl_env import EnvState, ToRLMathEnv, ToRLMathVectorEnv
from torl_env.config import EnvConfig
from torl_env.episode_runner import EpisodeRunner
from torl_env.errors import SandboxError
from torl_env.sandbox import Limits, SubprocessSandbox
from torl_env.sandbox.types import Sandbox
from torl_env.testing import children, problem_list
from torl_env.tools import CodeSession, LoggedTurn

PROBLEMS = problem_list([(f"What is {n}+{n}?", str(2 * n)) for n in range(50)])


def code(text: str) -> str:
    return f"```python\n{text}\n```"


def shown(text: str) -> str:
    return f"\n```output\n{text}\n```\n"


@pytest.fixture
def env(box: Sandbox) -> ToRLMathEnv:
    made = ToRLMathEnv(problems=PROBLEMS, sandbox=box, stateful=True, tool_budget=9)
    made.reset(seed=0)
    return made


@pytest.mark.long
def test_variables_stay_within_an_episode_only(env: ToRLMathEnv) -> None:
    env.step(code("x = 3"))
    assert env.step(code("print(x)"))[0] == shown("3")
    env.reset(seed=0)
    assert env.step(code("print(x)"))[0] == shown("NameError: name 'x' is not defined")


def test_without_a_session_nothing_stays(box: Sandbox) -> None:
    env = ToRLMathEnv(problems=PROBLEMS, sandbox=box, tool_budget=2)
    env.reset(seed=0)
    env.step(code("x = 3"))
    assert "NameError" in env.step(code("print(x)"))[0]


def test_branches_are_independent(env: ToRLMathEnv) -> None:
    env.step(code("x = [1]"))
    branches = env.branch(3)
    for i, branch in enumerate(branches):
        assert branch.step(code(f"x.append({i}); print(x)"))[0] == shown(f"[1, {i}]")
    assert env.step(code("print(x)"))[0] == shown("[1]")
    for branch in branches:
        seen = branch.step("\\boxed{0}")
        assert seen[2]
        assert seen[4]["tool_calls"] == 2
    assert env.reset()[0] == branches[0].reset()[0] == branches[1].reset()[0]
    for branch in branches:
        branch.close()


def test_a_copy_stands_where_its_original_stands(env: ToRLMathEnv) -> None:
    env.step(code("x = [1]"))
    env.notes = ["mine"]  # as an env of one's own may keep
    twin = copy.deepcopy(env)
    assert twin.step(code("x.append(2); print(x)"))[0] == shown("[1, 2]")
    assert env.step(code("print(x)"))[0] == shown("[1]")
    twin.notes.append("its")
    assert env.notes == ["mine"]
    assert twin.reset()[0] == env.reset()[0]
    env.close()
    twin.reset()
    assert twin.step(code("print(1)"))[0] == shown("1")
    twin.close()


def test_a_copy_without_an_episode_draws_as_its_original(box: Sandbox) -> None:
    env = ToRLMathEnv(problems=PROBLEMS, sandbox=box)
    env.reset(seed=0)
    expected = [env.reset()[0] for _ in range(3)]
    fresh = ToRLMathEnv(problems=PROBLEMS, sandbox=box)
    fresh.np_random = gym.utils.seeding.np_random(0)[0]
    twin = copy.deepcopy(fresh)
    for one in (fresh, twin):
        one.reset()
        assert [one.reset()[0] for _ in range(3)] == expected


def test_a_branch_outlives_its_original() -> None:
    env = ToRLMathEnv(problems=PROBLEMS, sandbox="subprocess", stateful=True, tool_budget=9)
    env.reset(seed=0)
    branches = [*env.branch(1), copy.deepcopy(env)]
    env.step(code("x = 1"))
    branches += env.branch(1)
    env.close()
    for branch in branches:
        assert branch.step(code("print(5)"))[0] == shown("5")
        branch.close()


def test_a_pickled_env_stands_where_it_stood() -> None:
    options = {"problems": PROBLEMS, "sandbox": "subprocess", "stateful": True, "tool_budget": 9}
    env = gym.wrappers.RecordEpisodeStatistics(gym.make("ToRLMath-v0", **options))
    early = pickle.loads(pickle.dumps(env))
    env.reset(seed=0)
    env.step(code("x = 41"))
    late = pickle.loads(pickle.dumps(env))
    assert late.step(code("x += 1; print(x)"))[0] == shown("42")
    assert env.step(code("print(x)"))[0] == shown("41")
    assert late.reset() == env.reset() == (early.reset(seed=0), early.reset())[1]
    for one in (env, early, late):
        one.close()


def test_a_vector_env_says_what_to_pickle() -> None:
    envs = ToRLMathVectorEnv(2, PROBLEMS)
    with pytest.raises(TypeError, match=r"pickle envs\.config"):
        pickle.dumps(envs)
    envs.close()


def test_copies_use_one_sandbox() -> None:
    before = set(children(os.getpid()))
    options = {"sandbox": "local:concurrency=2", "tool_budget": 9}
    env = gym.make("ToRLMath-v0", problems=PROBLEMS, **options)
    env = gym.wrappers.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    env.step(code("print(1)"))
    opened = set(children(os.getpid()))
    twins = [copy.deepcopy(env) for _ in range(2)]
    assert set(children(os.getpid())) <= opened
    for twin in twins:
        assert twin.step(code("print(1)"))[0] == shown("1")
    for one in (env, *twins):
        one.close()
    assert set(children(os.getpid())) <= before


def test_a_state_brings_everything_back(env: ToRLMathEnv) -> None:
    env.step(code("x = 1"))
    state = env.get_state()
    ways = []
    for _ in range(2):
        seen: list[object] = [env.step(code("x += 1; print(x)")), env.step("\\boxed{3}")]
        seen.append(env.reset())
        ways.append(seen)
        env.set_state(state)
    assert ways[0] == ways[1]


def test_a_state_survives_json_and_another_env(env: ToRLMathEnv, box: Sandbox) -> None:
    env.step(code("x = '🙂'"))
    env.step("half a pair \ud83d\n" + code("1/0"))
    text = env.get_state().to_json()
    stored = EnvState.from_json(json.loads(json.dumps(text)))
    assert stored.episode == env.get_state().episode
    assert stored.code == (LoggedTurn("x = '🙂'"), LoggedTurn("1/0", ok=False))
    other = ToRLMathEnv(problems=PROBLEMS, sandbox=box, stateful=True, tool_budget=9)
    other.set_state(stored)
    assert other.step(code("print(x * 2)"))[0] == shown("🙂🙂")
    assert other.step("\\boxed{1}")[4]["tool_errors"] == 1
    assert other.reset()[0] == env.reset()[0]
    with pytest.raises(ValueError, match="not a state of format"):
        EnvState.from_json("{}")


def test_an_ended_episode_can_be_kept(env: ToRLMathEnv) -> None:
    env.step("\\boxed{0}")
    state = EnvState.from_json(env.get_state().to_json())
    assert state.episode.ending == "final"


def test_a_live_state_is_independent_of_its_env(env: ToRLMathEnv) -> None:
    env.step(code("x = 1"))
    with env.get_state(live=True) as state:
        env.step(code("x = 2"))
        env.set_state(state)
        assert env.step(code("print(x); x = 7"))[0] == shown("1")
        env.set_state(state)
        assert env.step(code("print(x)"))[0] == shown("1")


def test_a_rebuilt_interpreter_has_the_files_of_failed_turns(box: Sandbox) -> None:
    session = CodeSession(box.session)
    assert session.run("open('data', 'w').write('17'); 1/0", Limits())[0].error_type
    assert session.run("d = open('data').read()", Limits())[0].ok
    assert session.run("x = (", Limits())[0].error_type == "SyntaxError"
    rebuilt = session.renewed(session.log)
    execution, lost = rebuilt.run("print(d)", Limits())
    rebuilt.close()
    assert (execution.stdout, execution.error, lost) == ("17\n", "", False)


def test_a_turn_that_ends_otherwise_when_rebuilt_is_the_machines_fault(box: Sandbox) -> None:
    log = (LoggedTurn("while True: pass"), LoggedTurn("y = 1"))
    limits = Limits(cpu_seconds=0.2)
    session = CodeSession(box.session, log)
    for _ in range(2):
        with pytest.raises(SandboxError, match="turn 1 of its log, which ended well"):
            session.run("print(y)", limits)
    other = CodeSession(box.session, (LoggedTurn("y = 1", ok=False),))
    with pytest.raises(SandboxError, match="which failed, now ended with: ok"):
        other.run("print(y)", limits)


def test_a_turn_within_its_limits_is_rebuilt_with_room(box: Sandbox) -> None:
    burn = "import time\nwhile time.process_time() < 0.45: y = 1"
    session = CodeSession(box.session, (LoggedTurn(burn),))
    assert session.run("print(y)", Limits(cpu_seconds=0.3))[0].stdout == "1\n"
    session.close()


class Wrapped:
    """A real session, for what goes wrong around one."""

    restarted = False

    def __init__(self, box: Sandbox) -> None:
        self.box, self.inner = box, box.session()

    def branch(self) -> object:
        raise NotImplementedError

    def close(self) -> None:
        self.inner.close()


def begun_over(session: type[Wrapped], box: Sandbox) -> ToRLMathEnv:
    """An environment whose sessions are these, with `x = 1` run."""

    class Box(SubprocessSandbox):
        def session(self, limits: object = None) -> Wrapped:
            return session(box)

    env = ToRLMathEnv(problems=PROBLEMS, sandbox=Box(), stateful=True, tool_budget=4)
    env.reset(seed=0)
    env.step(code("x = 1"))
    return env


def test_a_session_whose_variables_are_lost_says_so(box: Sandbox) -> None:
    class Forgetful(Wrapped):
        """A session that restarts when it is told to die."""

        def run(self, program: str, limits: object = None) -> object:
            self.restarted = program == "die"
            if self.restarted:
                self.inner = self.box.session()
                return self.inner.run("raise MemoryError")
            return self.inner.run(program)

    env = begun_over(Forgetful, box)
    observation = env.step(code("die"))[0]
    assert observation == shown(
        "[the interpreter was restarted: earlier variables are lost]\nMemoryError"
    )
    assert env.get_state().code == ()
    assert "NameError" in env.step(code("x"))[0]


@pytest.mark.parametrize("fault", [SandboxError("gone"), KeyboardInterrupt()])
def test_a_turn_that_broke_off_leaves_nothing_in_the_interpreter(
    box: Sandbox, fault: BaseException
) -> None:
    """It ran, and its result was lost: what follows begins with a replay of the turns before it."""
    faults = [fault]

    class Breaking(Wrapped):
        """A session whose turn fails after it has changed a variable."""

        def run(self, program: str, limits: object = None) -> object:
            result = self.inner.run(program)
            if "+= 1" in program and faults:
                raise faults.pop()
            return result

    env = begun_over(Breaking, box)
    if isinstance(fault, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            env.step(code("x += 1; print(x)"))
    assert env.step(code("x += 1; print(x)"))[0] == shown("2")


def test_a_turn_whose_step_is_undone_is_not_run_again(box: Sandbox) -> None:
    """The program has run and its step is thrown away before it was over."""
    runner = EpisodeRunner(EnvConfig(problems=PROBLEMS, stateful=True, tool_budget=9), lambda: box)
    runner.reset(PROBLEMS[0])
    for action in ("x = 1", "x += 1"):
        step = runner.step(code(action))
        work = next(step)
        assert callable(work)
        outcome = work()
        if action == "x += 1":
            step.close()
        else:
            with pytest.raises(StopIteration):
                step.send(outcome)
    step = runner.step(code("print(x)"))
    work = next(step)
    assert callable(work)
    assert work().stdout == "1\n"
    runner.close()


def test_a_session_opens_only_when_it_is_used(box: Sandbox) -> None:
    opened = []

    def open_session() -> object:
        opened.append(1)
        return box.session()

    session = CodeSession(open_session)
    copy = session.branch()
    session.close()
    assert opened == []
    copy.run("x = 1", Limits())
    assert opened == [1]


def test_closing_kills_the_turn_that_runs_and_waits_for_nothing(box: Sandbox) -> None:
    session = CodeSession(box.session)
    session.run("x = 1", Limits())
    failed: list[SandboxError] = []

    def burn() -> None:
        try:
            session.run("while True: pass", Limits(cpu_seconds=60, wall_seconds=120))
        except SandboxError as error:
            failed.append(error)

    thread = threading.Thread(target=burn)
    thread.start()
    time.sleep(0.5)
    session.close()
    thread.join(20)
    assert not thread.is_alive(), "the program would run for a minute"
    assert "was closed" in str(failed[0])
