"""The scalar environment: transitions, info, rewards, seeds, truth about failures."""

import asyncio
import gc
import random
import threading
import time
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import Attempt, Reward
from rewards.types import Grade, Verdict
from torl_env import INFO_KEYS, ProblemError, SandboxError, ToRLMathEnv, is_scorable
from torl_env.sandbox import SubprocessSandbox
from torl_env.sandbox.types import Sandbox
from torl_env.testing import FaultySandbox, problem_list

SECRET = "7919pi"  # letters, for numbers of a generator are in its state
PROBLEMS = problem_list([("Multiply the 1000th prime by pi.", SECRET), ("What is 6*7?", "42")])
CALL = "```python\nprint(6*7)\n```"


def make(sandbox: Sandbox, **options: object) -> ToRLMathEnv:
    return ToRLMathEnv(problems=PROBLEMS, sandbox=sandbox, **options)  # type: ignore[arg-type]


def test_an_episode(box: Sandbox) -> None:
    env = make(box)
    question, info = env.reset(options={"problem_id": "list-1"})
    assert question == "What is 6*7?"
    assert tuple(info) == INFO_KEYS
    assert info["stop"] == ("```output", "\n```\n")
    seen = env.step("I compute.\n" + CALL)
    assert seen[:4] == ("\n```output\n42\n```\n", 0.0, False, False)
    assert seen[4]["tool_status"] == "ok"
    assert seen[4]["stop"] == ()
    seen = env.step("It is \\boxed{42}.")
    assert seen[:4] == ("", 1.0, True, False)
    assert seen[4] == {
        "problem_id": "list-1",
        "split": "",
        "turn": 2,
        "action_kind": "final",
        "tool_status": "",
        "error_type": "",
        "output_chars": 0,
        "output_truncated": False,
        "tool_calls": 1,
        "tool_errors": 0,
        "verdict": "correct",
        "answer": "42",
        "reward_terms": {"answer": 1.0},
        "stop_reason": "final",
        "infra_error": "",
        "stop": (),
        "continue_generation": False,
    }


@pytest.mark.parametrize(
    ("reward", "turns", "total"),
    [
        ("torl", [CALL, "\\boxed{42}"], 1.0),
        ("torl", ["\\boxed{41}"], -1.0),
        ("torl_penalty", ["```python\n1/0\n```", "\\boxed{42}"], 0.5),
        ("torl_penalty", ["\\boxed{42}"], 1.0),
        ("thor", ["\\boxed{41}"], 0.0),
        ("limr", ["\\boxed{41}"], -0.5),
        ("limr", ["41"], -1.0),
        ("limr", ["\\boxed{}"], -1.0),
        ("limr", ["\\boxed{41"], -1.0),
        ("limr", ["\\boxed{41} and \\boxed{42"], -1.0),
    ],
)
def test_presets(box: Sandbox, reward: str, turns: list[str], total: float) -> None:
    env = make(box, reward=reward)
    env.reset(options={"problem_id": "list-1"})
    for turn in turns:
        _, last, _, _, info = env.step(turn)
    assert last == total == sum(info["reward_terms"].values())


@pytest.mark.parametrize(("turn", "total"), [("It is 41.", -1.0), ("It is \\boxed{41}.", -0.5)])
def test_a_box_is_a_box_whoever_grades(box: Sandbox, turn: str, total: float) -> None:
    env = make(box, reward="limr", grader=lambda *_: Grade(Verdict.WRONG, "41", "another"))
    env.reset(options={"problem_id": "list-1"})
    assert env.step(turn)[1] == total


def test_a_reward_sees_the_whole_attempt(box: Sandbox) -> None:
    seen: list[Attempt] = []

    def watch(attempt: Attempt) -> float:
        seen.append(attempt)
        return 0.25

    env = make(box, reward=Reward("watch", {"watch": watch}), tool_budget=2)
    seen.clear()  # a new reward is tried once for each verdict
    env.reset(options={"problem_id": "list-1"})
    env.step("```python\n1/0\n```")
    env.step(CALL)
    assert env.cut("It is \\boxed{41}. And")[1] == 0.25
    env.reset(options={"problem_id": "list-1"})
    env.step("I do not know.")
    counts = [replace(one, length=0, question="", response="", reference="") for one in seen]
    assert counts == [
        Attempt(Verdict.WRONG, tool_calls=2, tool_errors=1, turns=3, truncated=True, boxed=True),
        Attempt(Verdict.NO_ANSWER, turns=1, truncated=False, boxed=False),
    ]
    assert (seen[1].question, seen[1].reference) == ("What is 6*7?", "42")
    assert (seen[1].response, seen[1].length) == ("I do not know.", 14)
    assert seen[0].response.endswith("```output\n42\n```\nIt is \\boxed{41}. And")


@pytest.mark.parametrize(
    ("text", "verdict", "reward"),
    [
        ("I think \\boxed{42}. But", "correct", 1.0),
        ("I thi", "no_answer", -1.0),
        (CALL, "no_answer", -1.0),
    ],
)
def test_a_cut_turn_is_graded_as_it_stands(
    box: Sandbox, text: str, verdict: str, reward: float
) -> None:
    env = make(box)
    env.reset(options={"problem_id": "list-1"})
    _, got, terminated, truncated, info = env.cut(text)
    assert (got, terminated, truncated) == (reward, False, True)
    assert (info["verdict"], info["stop_reason"]) == (verdict, "length")
    assert is_scorable(info)


def test_answers_in_code_and_in_outputs_do_not_count(box: Sandbox) -> None:
    env = make(box)
    for text in (
        "```python\nprint('\\boxed{42}')",
        "```python\n# \\boxed{42}\n```\n```output\n\\boxed{42}\n```\nDone.",
    ):
        env.reset(options={"problem_id": "list-1"})
        assert env.step(text)[4]["verdict"] == "no_answer"
    env.reset(options={"problem_id": "list-1"})
    env.step("```python\nprint(r'\\boxed{42}')\n```")
    assert env.step("As shown.")[4]["verdict"] == "no_answer"


@pytest.mark.parametrize(
    ("parser", "turns"),
    [
        ("xml", ["<python>print('\\boxed{42}')</python>", "As shown."]),
        ("xml", ["<output>\\boxed{42}</output> Done."]),
        ("hermes", ['<tool_call>{"name": "x", "\\boxed{42}": 1}</tool_call>', "Done."]),
        ("hermes", ["<tool_response>\\boxed{42}</tool_response> Done."]),
        ("fenced", ["I copy the question."]),
    ],
)
def test_only_the_models_own_words_are_graded(box: Sandbox, parser: str, turns: list[str]) -> None:
    env = make(box, parser=parser, prompt="{question} Like this: \\boxed{42}")
    env.reset(options={"problem_id": "list-1"})
    for turn in turns:
        _, _, ended, _, info = env.step(turn)
    assert ended
    assert info["verdict"] == "no_answer"


def test_the_answer_reaches_neither_the_sandbox_nor_the_model(box: Sandbox) -> None:
    class Watching(SubprocessSandbox):
        seen: list[str] = []  # noqa: RUF012

        def run(self, code: str, limits: object = None) -> object:  # type: ignore[override]
            self.seen.append(code)
            return super().run(code, None)

    look = "```python\nimport os, sys\nprint(sorted(os.environ), sys.argv, list(globals()))\n```"
    with Watching() as watching:
        env = make(watching, tool_budget=3)
        for options in ({"problem_id": "list-0"},):
            texts: list[object] = list(env.reset(options=options))
            for turn in (look, look, "I do not know: \\boxed{1}"):
                texts += env.step(turn)
        assert SECRET not in repr(texts)
        assert SECRET not in "".join(watching.seen)
        assert SECRET not in env.get_state().to_json()
        env.close()


def test_ungradable_is_not_wrong(box: Sandbox) -> None:
    env = make(box, grader=lambda response, reference: Grade(Verdict.UNGRADABLE, "x", "limit"))
    env.reset()
    _, reward, terminated, truncated, info = env.step("\\boxed{1}")
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["verdict"] == "ungradable"
    assert info["reward_terms"] == {}
    assert not is_scorable(info)


def test_a_machine_fault_is_tried_again() -> None:
    with FaultySandbox(lambda code, tries: tries == 1) as sandbox:
        env = make(sandbox)
        env.reset(options={"problem_id": "list-1"})
        observation, _, _, _, info = env.step(CALL)
        assert observation == "\n```output\n42\n```\n"
        assert (info["tool_calls"], info["tool_errors"], info["infra_error"]) == (1, 0, "")


def test_a_machine_that_fails_twice_voids_the_episode() -> None:
    with FaultySandbox(lambda code, tries: True) as sandbox:
        env = make(sandbox, reward="torl_penalty")
        env.reset()
        observation, reward, terminated, truncated, info = env.step(CALL)
        assert (observation, reward, terminated, truncated) == ("", 0.0, False, True)
        assert info["infra_error"] == "SandboxError: a worker was killed"
        assert info["stop_reason"] == "infra_error"
        assert (info["tool_calls"], info["tool_errors"], info["reward_terms"]) == (0, 0, {})
        assert not is_scorable(info)
        assert sandbox.tries == {"print(6*7)": 2}
        env.reset()
        with pytest.raises(gym.error.ResetNeeded):
            env.step(CALL) and env.step(CALL)


def test_a_sandbox_that_does_not_open_voids_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Sandbox:
        raise SandboxError("no kernel")

    monkeypatch.setattr("torl_env.sandbox.shared.sandbox_factory", lambda spec: broken)
    # A description of its own: what another test has opened under "local" would be shared.
    env = ToRLMathEnv(problems=PROBLEMS, sandbox="local:concurrency=3")
    env.reset()
    assert env.step(CALL)[4]["infra_error"] == "SandboxError: no kernel"
    env.close()


def test_actions_at_the_wrong_time_or_of_the_wrong_type(box: Sandbox) -> None:
    env = make(box)
    with pytest.raises(gym.error.ResetNeeded, match=r"no episode yet; call reset\(\)"):
        env.step("x")
    env.reset()
    with pytest.raises(gym.error.InvalidAction, match=r"text \(str\), got int"):
        env.step(3)  # type: ignore[arg-type]
    env.step("\\boxed{1}")
    with pytest.raises(gym.error.ResetNeeded, match="the episode is over"):
        env.step("x")


def test_bad_arguments(box: Sandbox) -> None:
    env = make(box)
    with pytest.raises(ProblemError):
        env.reset(options={"problem_id": "list-99"})
    with pytest.raises(ValueError, match="options of reset are problem_id; got problem"):
        env.reset(options={"problem": 1})
    for options in ({"problem_id": 3}, {"problem_id": ["list-1"]}):
        with pytest.raises(ValueError, match="the id of a problem is text"):
            env.reset(options=options)
    for wrong in (["problem_id"], {3: 4}, 5):
        with pytest.raises(ValueError, match="options of reset are"):
            env.reset(options=wrong)  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match="holds no problems"):
        ToRLMathEnv(problems=problem_list([]))
    with pytest.raises(ValueError, match="when you make it"):
        ToRLMathEnv(problems=PROBLEMS, split="train")
    with pytest.raises(ValueError, match="parser must be one of"):
        make(box, parser="prose")
    with pytest.raises(ValueError, match="unknown sandbox 'docker': expected local"):
        ToRLMathEnv(problems=PROBLEMS, sandbox="docker")
    with pytest.raises(ValueError, match="no such"):
        make(box, reward="no such")
    with pytest.raises(ValueError, match="render_mode must be"):
        make(box, render_mode="human")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "\x00",
        "\ud800 half a pair",
        "\u202eright to left \\boxed{42}",
        "x" * 1_000_000,
        "```python\n" * 200,
        "```python\n```\n" * 200,
        "```" * 200,
        "```python\nprint('\x00')\n```",
        "```python\nprint('\ud800')\n```",
        "```python\n# \u202e\nprint('שלום')\n```",
        "```python\n" + "x = 1\n" * 160_000 + "```",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_strange_actions_have_a_clear_outcome(box: Sandbox, text: str) -> None:
    env = make(box)
    env.reset(seed=1)
    observation, _, terminated, truncated, info = env.step(text)
    assert not truncated or info["stop_reason"] in ("length",)
    assert terminated or truncated or "```output\n" in observation
    assert info["infra_error"] == ""


def test_rendering_is_the_transcript(box: Sandbox) -> None:
    env = make(box, render_mode="ansi")
    env.reset(options={"problem_id": "list-1"})
    env.step(CALL)
    assert env.render() == "What is 6*7?" + CALL + "\n```output\n42\n```\n"
    assert make(box).render() is None


def test_the_prompt_is_an_option(box: Sandbox) -> None:
    env = make(box, prompt="Solve {question} now {x}.")
    assert env.reset(options={"problem_id": "list-1"})[0] == "Solve What is 6*7? now {x}."


def test_seeds_decide_everything(box: Sandbox) -> None:
    def play(seed: int) -> list[object]:
        env = ToRLMathEnv(sandbox=box)
        random.seed(time.time_ns())
        np.random.seed(random.randrange(2**32))
        seen: list[object] = [env.reset(seed=seed)]
        seen.append(env.step("```python\nprint(hash(frozenset([1,2,3])))\n```"))
        seen.append(env.step("\\boxed{3}"))
        seen.extend(env.reset() for _ in range(3))
        return seen

    assert play(7) == play(7)
    assert play(7) != play(8)


@pytest.mark.parametrize("wrong", ["", "\nprint(1 + (i for i in []))"])
def test_where_an_object_lies_is_not_seen(wrong: str) -> None:
    seen = set()
    for _ in range(2):
        # Processes of their own, whose memory the kernel lays out anew.
        with SubprocessSandbox() as opened:
            env = make(opened)
            env.reset(seed=0)
            code = f"print(i for i in []); print(object(), print.__call__, len){wrong}"
            seen.add(env.step(f"```python\n{code}\n```")[0])
    assert len(seen) == 1
    assert "generator object" in seen.pop()


def test_the_global_generators_are_left_alone(box: Sandbox) -> None:
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    env = make(box)
    env.reset(seed=5)
    env.step("\\boxed{1}")
    env.action_space.sample()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_awaiting_a_step_leaves_the_loop_free(box: Sandbox) -> None:
    order: list[str] = []

    async def step(env: ToRLMathEnv) -> str:
        order.append("begins")
        seen = await env.astep("```python\nimport time; time.sleep(0.2); print('done')\n```")
        order.append("ends")
        return str(seen[0])

    async def play() -> list[str]:
        envs = [make(box) for _ in range(4)]
        for env in envs:
            await env.areset(seed=0)
        seen = await asyncio.gather(*map(step, envs))
        finals = await asyncio.gather(*(env.astep("\\boxed{1}") for env in envs))
        assert all(final[2] for final in finals)
        await asyncio.gather(*(env.aclose() for env in envs))
        return seen

    assert asyncio.run(play()) == ["\n```output\ndone\n```\n"] * 4
    # A step that held the loop would end before the next one begins.
    assert order[:4] == ["begins"] * 4


@pytest.mark.parametrize("stateful", [False, True])
def test_a_cancelled_await_leaves_the_episode_as_it_was(box: Sandbox, stateful: bool) -> None:
    async def play() -> None:
        env = make(box, stateful=stateful, tool_budget=2)
        env.reset(options={"problem_id": "list-1"})
        before = env.get_state()
        sleep = asyncio.create_task(env.astep("```python\nimport time; time.sleep(60)\n```"))
        await asyncio.sleep(0.1)
        sleep.cancel()
        cancelled = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await sleep
        assert time.monotonic() - cancelled < 30
        assert env.get_state().episode == before.episode
        assert (await env.astep(CALL))[0] == "\n```output\n42\n```\n"
        env.close()

    asyncio.run(play())


def test_closing_during_a_step_ends_it() -> None:
    with SubprocessSandbox(concurrency=1) as sandbox:
        sandbox.submit("import time; time.sleep(60)")
        env = make(sandbox)
        env.reset()
        threading.Timer(0.2, env.close).start()
        started = time.monotonic()
        with pytest.raises(gym.error.ClosedEnvironmentError, match="closed while its step ran"):
            env.step(CALL)
        assert time.monotonic() - started < 30


def test_closing_twice_and_using_after(box: Sandbox) -> None:
    env = make(box)
    env.reset(seed=0)
    env.close()
    env.close()
    for use in (lambda: env.step(CALL), lambda: env.step("\\boxed{1}"), env.reset):
        with pytest.raises(gym.error.ClosedEnvironmentError, match="closed: make a new one"):
            use()
    ToRLMathEnv.__new__(ToRLMathEnv).close()


def test_the_shared_sandbox_is_closed_with_the_last_env(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[SubprocessSandbox] = []

    def open_one() -> SubprocessSandbox:
        opened.append(SubprocessSandbox())
        return opened[-1]

    monkeypatch.setattr("torl_env.sandbox.shared.sandbox_factory", lambda spec: open_one)
    envs = [ToRLMathEnv(PROBLEMS, sandbox="unsafe") for _ in range(2)]
    assert opened == []
    for env in envs:
        env.reset(seed=0)
        assert "42" in env.step(CALL)[0]
    (branch,) = envs[0].branch(1)
    assert branch.step(CALL)[4]["continue_generation"]
    assert len(opened) == 1
    envs[0].close()
    del branch
    gc.collect()
    envs[1].reset()
    assert "42" in envs[1].step(CALL)[0]
    envs[1].close()
    with pytest.raises(SandboxError, match="closed"):
        opened[0].run("1")


def test_the_spec_of_a_made_env_can_be_read(box: Sandbox) -> None:
    env = gym.make("ToRLMath-v0", sandbox="local", tool_budget=3)
    assert env.spec is not None
    assert env.spec.kwargs["tool_budget"] == 3
    assert "ToRLMath-v0" in env.spec.to_json()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([CALL, "```python\nx\n```", "\\boxed{42}", "", "a"]), max_size=5))
def test_never_both_and_always_the_same_keys(turns: list[str]) -> None:
    with SubprocessSandbox() as sandbox:
        env = make(sandbox, over_budget="notice", max_turns=3)
        env.reset(seed=0)
        for turn in turns:
            _, reward, terminated, truncated, info = env.step(turn)
            assert not (terminated and truncated)
            assert tuple(info) == INFO_KEYS
            assert bool(info["stop_reason"]) == (terminated or truncated)
            if terminated or truncated:
                break
            assert reward == 0.0


def test_a_cancelled_turn_leaves_no_variable_behind(box: Sandbox) -> None:
    """It may have run half: the interpreter is rebuilt from the turns before."""

    async def main() -> str:
        env = make(box, stateful=True, tool_budget=5)
        env.reset(seed=0)
        await env.astep("```python\nx = 1; print(x)\n```")
        endless = "```python\nx = 2; import time; time.sleep(60)\n```"
        started = asyncio.create_task(env.astep(endless))
        await asyncio.sleep(0.5)
        started.cancel()
        with pytest.raises(asyncio.CancelledError):
            await started
        seen, *_ = await env.astep("```python\nprint(x)\n```")
        await env.aclose()
        return seen

    assert asyncio.run(main()) == "\n```output\n1\n```\n"
