"""The vector environment: equal to the scalar one, concurrent, three ways to begin again."""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from torl_env import StepResult, ToRLMathEnv, ToRLMathVectorEnv, is_scorable
from torl_env.sandbox import SubprocessSandbox
from torl_env.sandbox.types import Sandbox
from torl_env.testing import FaultySandbox, problem_list

PROBLEMS = problem_list([(f"What is {n}+{n}?", str(2 * n)) for n in range(50)])
CALL = "```python\nprint(6*7)\n```"
FAIL = "```python\n1/0\n```"
ANSWER = "\\boxed{4}"


def sleep(seconds: float) -> str:
    return f"```python\nimport time; time.sleep({seconds}); print('awake')\n```"


def make(sandbox: Sandbox, num_envs: int = 4, **options: Any) -> ToRLMathVectorEnv:
    return ToRLMathVectorEnv(num_envs, problems=PROBLEMS, sandbox=sandbox, **options)


def same(left: Any, right: Any) -> bool:
    """Deep equality of infos: dicts, arrays of numbers and arrays of objects."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.tolist() == right.tolist()
    return bool(left == right)


ACTION = st.sampled_from([CALL, FAIL, ANSWER, "no answer", "", "\\boxed{0}", "```\n"])


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from([AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP]),
    steps=st.lists(st.tuples(ACTION, ACTION, ACTION), max_size=5),
    seed=st.integers(0, 99),
    over=st.sampled_from(["ignore", "notice", "end"]),
)
def test_vector_equals_scalar_step_by_step(
    mode: AutoresetMode, steps: list[tuple[str, ...]], seed: int, over: str
) -> None:
    options = {"problems": PROBLEMS, "over_budget": over, "reward": "torl_penalty", "max_turns": 3}
    with SubprocessSandbox() as sandbox:
        ours = ToRLMathVectorEnv(3, sandbox=sandbox, autoreset_mode=mode, **options)
        theirs = SyncVectorEnv(
            [lambda: ToRLMathEnv(sandbox=sandbox, **options)] * 3, autoreset_mode=mode
        )
        left, right = ours.reset(seed=seed), theirs.reset(seed=seed)
        assert left[0] == right[0]
        assert same(left[1], right[1])
        for actions in steps:
            mine, their = ours.step(actions), theirs.step(actions)
            assert mine[0] == their[0]
            for a, b in zip(mine[1:4], their[1:4], strict=True):
                assert a.dtype == b.dtype
                assert a.tolist() == b.tolist()
            assert same(mine[4], their[4])
        ours.close()
        theirs.close()


def test_the_number_of_envs_changes_nothing(box: Sandbox) -> None:
    few, many = make(box, 2), make(box, 7)
    assert few.reset(seed=9)[0] == many.reset(seed=9)[0][:2]
    assert few.step([CALL, ANSWER])[0] == many.step([CALL, ANSWER, *[CALL] * 5])[0][:2]


def test_same_step_keeps_the_end(box: Sandbox) -> None:
    envs = make(box, 2)
    envs.reset(seed=0)
    observations, rewards, terminated, _, infos = envs.step([CALL, ANSWER])
    assert rewards.tolist() == [0.0, -1.0]
    assert terminated.tolist() == [False, True]
    assert observations[1].startswith("What is")
    assert infos["final_obs"].tolist() == [None, ""]
    assert infos["final_info"]["verdict"].tolist() == [None, "wrong"]
    assert infos["turn"].tolist() == [1, 0]


def test_next_step_spends_an_action_on_the_reset(box: Sandbox) -> None:
    envs = make(box, 2, autoreset_mode="NextStep")
    envs.reset(seed=0)
    envs.step([ANSWER, CALL])
    observations, rewards, terminated, _, _ = envs.step(["ignored", ANSWER])
    assert observations[0].startswith("What is")
    assert rewards.tolist() == [0.0, -1.0]
    assert terminated.tolist() == [False, True]


def test_disabled_waits_for_a_masked_reset(box: Sandbox) -> None:
    envs = make(box, 3, autoreset_mode=AutoresetMode.DISABLED)
    first, _ = envs.reset(seed=0)
    observations, *_ = envs.step([ANSWER, CALL, CALL])
    with pytest.raises(gym.error.ResetNeeded, match="env 0: the episode is over"):
        envs.step([CALL, CALL, CALL])
    envs.send([ANSWER], [1])
    assert envs.recv(1)[0].terminated
    mask = np.array([True, False, False])
    options = {"reset_mask": mask, "problem_ids": ["list-7"]}
    again, infos = envs.reset(options=options)
    assert again == ("What is 7+7?", "", observations[2])
    assert infos["_problem_id"].tolist() == [True, False, False]
    assert options["reset_mask"] is mask
    assert first[2].startswith("What is")


def test_groups_are_contiguous(box: Sandbox) -> None:
    envs = make(box, 6, autoreset_mode="Disabled")
    observations, infos = envs.reset(
        options={"problem_ids": ["list-3", "list-1", "list-2"], "group_size": 2}
    )
    assert infos["problem_id"].tolist() == [f"list-{i}" for i in (3, 3, 1, 1, 2, 2)]
    assert observations[2] == "What is 1+1?"
    observations, infos = envs.reset(seed=1, options={"group_size": 3})
    ids = infos["problem_id"].tolist()
    assert ids[:3] == ids[:1] * 3
    assert ids[3:] == ids[3:4] * 3
    observations, infos = envs.reset(options={"problem_ids": ["list-3"], "group_size": 4})
    assert observations[4:] == ("", "")
    with pytest.raises(gym.error.ResetNeeded, match="env 5: there is no episode"):
        envs.send(["x"], [5])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"problem_ids": []}, "1 to 4 envs"),
        ({"problem_ids": ["list-1"] * 5}, "1 to 4 envs, got 5 x 1 = 5"),
        ({"group_size": 3}, "must divide the 4 envs"),
        ({"group_size": 0}, "must divide"),
        ({"reset_mask": [True] * 4}, "numpy array of bool"),
        ({"reset_mask": np.zeros(4, bool)}, "one True at least"),
        ({"problem_id": "list-1"}, "got problem_id"),
    ],
)
def test_reset_options_that_make_no_sense(box: Sandbox, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(box).reset(options=options)


def test_send_and_recv(box: Sandbox) -> None:
    envs = make(box, 4, autoreset_mode="Disabled")
    envs.reset(seed=0)
    assert envs.recv(0) == []
    assert envs.recv(1) == []
    envs.send([sleep(1.5), ANSWER, CALL], [3, 0, 2])
    with pytest.raises(ValueError, match="not in flight"):
        envs.send([ANSWER], [3])
    with pytest.raises(ValueError, match="steps are in flight"):
        envs.step([ANSWER] * 4)
    early = envs.recv(2)
    assert {result.env_id for result in early} == {0, 2}
    assert envs.recv(1, timeout=0.01) == []
    envs.send([ANSWER], [2])
    late = envs.recv(99)
    assert [result.env_id for result in late] == [2, 3]
    assert late[1].observation == "\n```output\nawake\n```\n"
    assert isinstance(late[0], StepResult)


def test_a_wrong_send_starts_nothing(box: Sandbox) -> None:
    envs = make(box, 3, autoreset_mode="Disabled")
    envs.reset(seed=0)
    for actions, ids, error in (
        (["x"], [3], ValueError),
        (["x", "y"], [0, 0], ValueError),
        (["x"], [0, 1], ValueError),
        (["x", 3], [0, 1], gym.error.InvalidAction),
    ):
        with pytest.raises(error):
            envs.send(actions, ids)  # type: ignore[arg-type]
        assert envs.recv(0) == []
    with pytest.raises(ValueError, match="takes 3 actions, got 1"):
        envs.step(["x"])
    assert envs.step([ANSWER] * 3)[2].all()


def test_cut_turns(box: Sandbox) -> None:
    envs = make(box, 2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.send([CALL, CALL], [0, 1], cut=[True, False])
    results = {result.env_id: result for result in envs.recv(2)}
    assert results[0].truncated
    assert results[0].info["stop_reason"] == "length"
    assert not results[1].done


STAMPED = "```python\nimport time; print(time.time()); time.sleep({}); print(time.time())\n```"


def ran_at_once(observations: Iterable[str]) -> bool:
    """Whether the last of the programs had started before the first of them ended."""
    times = [observation.split("\n")[2:4] for observation in observations]
    return max(float(start) for start, _ in times) < min(float(end) for _, end in times)


def test_all_calls_of_a_step_run_at_once() -> None:
    with SubprocessSandbox(concurrency=8) as sandbox:
        envs = make(sandbox, 8)
        envs.reset(seed=0)
        assert ran_at_once(envs.step([STAMPED.format(2)] * 8)[0])


def test_a_machine_fault_harms_one_episode_only() -> None:
    with FaultySandbox(lambda code, tries: "bad" in code or tries == 1) as sandbox:
        envs = make(sandbox, 3, autoreset_mode="Disabled")
        envs.reset(seed=0)
        envs.send([CALL, "```python\nbad\n```", ANSWER], [0, 1, 2])
        results = {result.env_id: result for result in envs.recv(3)}
        assert results[0].observation == "\n```output\n42\n```\n"
        assert (results[1].truncated, results[1].reward) == (True, 0.0)
        assert not is_scorable(results[1].info)
        assert not results[0].done
        assert is_scorable(results[2].info)


def test_a_broken_grader_raises_and_the_step_can_be_taken_again(box: Sandbox) -> None:
    broken = True

    def grader(response: str, reference: str) -> Any:
        if broken:
            raise ZeroDivisionError("a bug")
        import rewards

        return rewards.grade(response, reference)

    envs = make(box, 2, autoreset_mode="Disabled", grader=grader)
    envs.reset(seed=0)
    envs.send([ANSWER, CALL], [0, 1])
    results: list[StepResult] = []
    with pytest.raises(ZeroDivisionError):
        results += envs.recv(2)
    broken = False
    envs.send([ANSWER], [0])
    results += envs.recv(2)
    assert {result.env_id for result in results} == {0, 1}


def test_budgets_are_per_episode(box: Sandbox) -> None:
    envs = make(box, 3, tool_budget=2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    for _ in range(2):
        envs.send([CALL], [0])
        assert envs.recv(1)[0].info["action_kind"] == "tool"
    envs.send([CALL] * 3, [0, 1, 2])
    kinds = {result.env_id: result.info["action_kind"] for result in envs.recv(3)}
    assert kinds == {0: "over_budget", 1: "tool", 2: "tool"}


def test_gymnasiums_vector_wrappers(box: Sandbox) -> None:
    for mode in ("SameStep", "NextStep"):
        envs = RecordEpisodeStatistics(make(box, 2, autoreset_mode=mode))
        envs.reset(seed=0)
        envs.step((CALL, ANSWER))
        envs.step((ANSWER, ANSWER))
        lengths = [1, 2, 1] if mode == "SameStep" else [1, 2]
        assert list(envs.length_queue) == lengths
        assert list(envs.return_queue) == [-1.0] * len(lengths)
    infos = DictInfoToList(make(box, 2)).reset(seed=0)[1]
    assert [info["turn"] for info in infos] == [0, 0]


@pytest.mark.parametrize("wrong", [-1, 3])
def test_an_env_that_is_none_is_refused(box: Sandbox, wrong: int) -> None:
    envs = make(box, 3)
    envs.reset(seed=0)
    before = [envs.get_state(i).problem_id for i in range(3)]
    for act in (
        lambda: envs.branch(0, [1, wrong]),
        lambda: envs.branch(wrong, [0]),
        lambda: envs.get_state(wrong),
        lambda: envs.set_state(wrong, envs.get_state(0)),
    ):
        with pytest.raises(ValueError, match=f"envs are 0 to 2, got {wrong}"):
            act()
    assert [envs.get_state(i).problem_id for i in range(3)] == before


def test_await_forms(box: Sandbox) -> None:
    async def play() -> Any:
        envs = make(box, 2)
        envs.reset(seed=0)
        observations, *_ = await envs.astep([CALL, CALL])
        envs.send([ANSWER], [0])
        return observations, await envs.arecv(1)

    observations, results = asyncio.run(play())
    assert observations == ("\n```output\n42\n```\n",) * 2
    assert results[0].env_id == 0


def test_a_cancelled_wait_loses_nothing(box: Sandbox) -> None:
    async def play() -> list[StepResult]:
        envs = make(box, 2)
        envs.reset(seed=0)
        waiting = asyncio.create_task(envs.astep([sleep(1.5), CALL]))
        await asyncio.sleep(0.2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [result.env_id for result in await envs.arecv(1)] == [1]
        return envs.recv(2)

    (last,) = asyncio.run(play())
    assert last.observation == "\n```output\nawake\n```\n"


def test_many_sleepers_hold_up_nobody(box: Sandbox) -> None:
    """More sessions than asyncio has threads of its own on a small machine."""

    async def play() -> bool:
        envs = [ToRLMathEnv(PROBLEMS, sandbox=box, stateful=True, tool_budget=2) for _ in range(12)]
        for env in envs:
            env.reset(seed=0)
        await asyncio.gather(*(env.astep(CALL) for env in envs))
        seen = await asyncio.gather(*(env.astep(STAMPED.format(2)) for env in envs))
        for env in envs:
            env.close()
        return ran_at_once(step[0] for step in seen)

    assert asyncio.run(play())


def test_closing_wakes_up_who_waits() -> None:
    with SubprocessSandbox() as sandbox:
        envs = make(sandbox, 2)
        envs.reset(seed=0)
        envs.send([sleep(60)], [0])
        threading.Timer(0.2, envs.close).start()
        started = time.monotonic()
        with pytest.raises(gym.error.ClosedEnvironmentError, match="closed"):
            envs.recv(1)
        assert time.monotonic() - started < 30
        envs.close()
        with pytest.raises(gym.error.ClosedEnvironmentError):
            envs.send([CALL], [1])


def test_a_reset_abandons_steps_in_flight(box: Sandbox) -> None:
    envs = make(box, 2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.send([sleep(0.3), ANSWER], [0, 1])
    envs.reset(seed=1)
    assert envs.recv(2) == []
    assert envs.step([CALL, CALL])[0] == ("\n```output\n42\n```\n",) * 2


@pytest.fixture
def pair(box: Sandbox) -> Iterator[ToRLMathVectorEnv]:
    envs = make(box, 3, stateful=True, tool_budget=5, autoreset_mode="Disabled")
    envs.reset(seed=0)
    yield envs
    envs.close()


def test_branching_inside_a_vector(pair: ToRLMathVectorEnv) -> None:
    pair.send(["```python\nx = 5\n```"], [0])
    pair.recv(1)
    pair.branch(0, into=[1, 2])
    observations, *_ = pair.step([f"```python\nx += {i}; print(x)\n```" for i in range(3)])
    assert observations == tuple(f"\n```output\n{5 + i}\n```\n" for i in range(3))
    pair.send(["```python\nprint(x)\n```"], [0])
    with pytest.raises(ValueError, match="in flight"):
        pair.get_state(0)
    assert pair.recv(1)[0].observation == "\n```output\n5\n```\n"


def test_an_env_that_never_began_spends_no_action_on_a_reset(box: Sandbox) -> None:
    envs = make(box, num_envs=1, autoreset_mode="NextStep")
    with pytest.raises(gym.error.ResetNeeded, match="there is no episode yet"):
        envs.send([ANSWER], [0])
    envs.close()


def test_a_seed_leaves_the_envs_alone_that_are_not_reset(box: Sandbox) -> None:
    """Env 1 goes on with its own stream of problems."""

    def second_problem(seed: int | None) -> str:
        envs = make(box, num_envs=2, autoreset_mode="Disabled")
        envs.reset(seed=3)
        envs.reset(seed=seed, options={"reset_mask": np.array([True, False])})
        _, infos = envs.reset(options={"reset_mask": np.array([False, True])})
        envs.close()
        return str(infos["problem_id"][1])

    assert second_problem(seed=None) == second_problem(seed=77)
