"""Wrappers: other views of the same episode, recording, shaping, void turns."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from torl_env import ToRLMathEnv
from torl_env.sandbox.types import Sandbox
from torl_env.testing import FaultySandbox, problem_list
from torl_env.wrappers import (
    Chat,
    MarkVoidTurns,
    Messages,
    RecordTranscript,
    ShapeReward,
    Transcript,
    drop_void_turns,
)

PROBLEMS = problem_list([("What is 6*7?", "42")])
CALL = "I compute.\n```python\nprint(6*7)\n```"
ANSWER = "It is \\boxed{42}."


def make(box: Sandbox, **options: Any) -> ToRLMathEnv:
    return ToRLMathEnv(problems=PROBLEMS, sandbox=box, **options)


def test_transcript(box: Sandbox) -> None:
    env = Transcript(make(box))
    seen = [env.reset(seed=0)[0], env.step(CALL)[0], env.step(ANSWER)[0]]
    assert seen[2] == f"What is 6*7?{CALL}\n```output\n42\n```\n{ANSWER}"
    assert seen[2].startswith(seen[1])
    assert seen[1].startswith(seen[0])


def test_chat(box: Sandbox) -> None:
    env = Chat(make(box, tool_budget=1), system="Be brief.")
    observation, _ = env.reset(seed=0)
    assert observation == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 6*7?"},
    ]
    after, *_ = env.step(CALL)
    assert observation in env.observation_space
    assert after[2:] == [
        {"role": "assistant", "content": CALL},
        {"role": "tool", "content": "42"},
    ]
    env.step(CALL)
    last, *_ = env.step(" " + ANSWER)
    assert last[-1] == {"role": "assistant", "content": f"{CALL} {ANSWER}"}
    assert len(after) == 4, "an observation that was given must not change"
    assert env.tools[0]["function"]["name"] == "python"


def test_the_space_of_messages() -> None:
    space = Messages(seed=1)
    assert space.sample() in space
    assert space.sample() != Messages(seed=2).sample()
    for wrong in ("text", [{"role": "user"}], [{"role": 1, "content": ""}], [3]):
        assert wrong not in space


def test_record(box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.jsonl"
    env = RecordTranscript(make(box), path)
    for text in (ANSWER, "<script>alert(1)</script> \ud83d \\boxed{1}"):
        env.reset(seed=0)
        env.step(CALL)
        env.step(text)
    env.reset()
    env.step(CALL)
    env.close()
    env.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["reward"] for record in records] == [1.0, -1.0]
    assert [segment["role"] for segment in records[0]["segments"]] == [
        "prompt",
        "model",
        "tool",
        "model",
    ]
    assert records[1]["info"]["verdict"] == "wrong"
    page = env.page.read_text()
    assert "2 episodes, mean reward 0.000" in page
    assert "<script>alert" not in page
    assert "http" not in page
    with pytest.raises(ValueError, match=r"must end with \.jsonl"):
        RecordTranscript(make(box), tmp_path / "x.txt")


def test_the_page_takes_no_failure_of_the_machine_for_a_reward(tmp_path: Path) -> None:
    with FaultySandbox(lambda code, tries: True) as broken:
        env = RecordTranscript(make(broken), tmp_path / "runs.jsonl")
        for text in (ANSWER, CALL):
            env.reset(seed=0)
            env.step(text)
        env.close()
    assert "2 episodes, 1 of them not scored, mean reward 1.000" in env.page.read_text()


@pytest.mark.parametrize("most", [0, 1, 2])
def test_the_page_has_the_last_episodes(box: Sandbox, tmp_path: Path, most: int) -> None:
    env = RecordTranscript(make(box), tmp_path / "runs.jsonl", page_episodes=most)
    for word in ("first", "second", "third"):
        env.reset(seed=0)
        env.step(word)
    env.close()
    assert len(env.path.read_text().splitlines()) == 3
    page = env.page.read_text() if env.page.exists() else ""
    shown = [word for word in ("first", "second", "third") if f">{word}<" in page]
    assert shown == ["first", "second", "third"][3 - most :]
    with pytest.raises(ValueError, match="page_episodes must be 0 or more, got -1"):
        RecordTranscript(make(box), tmp_path / "runs.jsonl", page_episodes=-1)


def test_shaping_cancels_over_an_episode(box: Sandbox) -> None:
    def total(env: gym.Env[Any, Any], turns: list[str]) -> float:
        env.reset(seed=0)
        return sum(float(env.step(turn)[1]) for turn in turns)

    def potential(info: Any) -> float:
        return 0.3 * info["tool_calls"]

    for turns in ([ANSWER], [CALL, ANSWER], [CALL, CALL, "no"]):
        plain = total(make(box, tool_budget=2), turns)
        assert total(ShapeReward(make(box, tool_budget=2), potential), turns) == pytest.approx(
            plain
        )
    env = ShapeReward(make(box), potential)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(CALL)
    assert reward == info["reward_terms"]["shaping"] == pytest.approx(0.3)
    _, reward, _, _, info = env.step(ANSWER)
    assert info["reward_terms"] == {"answer": 1.0, "shaping": pytest.approx(-0.3)}
    assert reward == pytest.approx(sum(info["reward_terms"].values()))


def test_shaping_cancels_where_an_episode_is_truncated(box: Sandbox) -> None:
    env = ShapeReward(make(box, tool_budget=1, over_budget="end"), lambda info: 0.5)
    env.reset()
    first = env.step(CALL)[1]
    _, _, _, truncated, info = env.step(CALL)
    assert truncated
    assert first + info["reward_terms"]["shaping"] == 0.0


def test_shaping_is_bounded_and_spares_void_episodes(box: Sandbox) -> None:
    env = ShapeReward(make(box), lambda info: 2.0)
    env.reset()
    with pytest.raises(ValueError, match=r"within \+-1.0, got 2.0"):
        env.step(CALL)
    with FaultySandbox(lambda code, tries: True) as broken:
        env = ShapeReward(make(broken), lambda info: 0.5)
        env.reset()
        assert env.step(CALL)[1] == 0.0
    with FaultySandbox(lambda code, tries: "lost" in code) as broken:
        env = ShapeReward(make(broken, tool_budget=2), lambda info: 0.5)
        env.reset()
        rewards = [float(env.step(code)[1]) for code in (CALL, "```python\nlost\n```")]
        assert rewards == [0.5, -0.5]


@pytest.mark.parametrize(
    ("turns", "void"),
    [
        ([CALL, ANSWER], 0),
        (["\\boxed{1}"], 0),
        (["I do not know."], 1),
        ([CALL, "```python\nprint(1)"], 1),
        ([CALL, CALL, "\n" + ANSWER], 0),
    ],
)
def test_void_turns(box: Sandbox, turns: list[str], void: int) -> None:
    env = MarkVoidTurns(make(box))
    infos = [env.reset(seed=0)[1]]
    infos += [env.step(turn)[4] for turn in turns]
    assert infos[-1]["void_turns"] == void
    assert len(drop_void_turns([infos[1:]], lambda steps: steps)) == 1 - void


def test_episodes_whose_calls_all_failed(box: Sandbox) -> None:
    env = make(box)
    env.reset(seed=0)
    infos = [env.step("```python\n1/0\n```")[4], env.step(ANSWER)[4]]
    assert drop_void_turns([infos], lambda steps: steps) == [infos]
    assert drop_void_turns([infos], lambda steps: steps, all_calls_failed=True) == []


def test_the_wrappers_stack(box: Sandbox, tmp_path: Path) -> None:
    made = gym.make("ToRLMath-v0", sandbox="local")
    env = Chat(MarkVoidTurns(RecordTranscript(made, tmp_path / "a.jsonl")))
    env.reset(seed=0)
    observation, _, _, _, info = env.step("\\boxed{0}")
    assert observation[-1]["content"] == "\\boxed{0}"
    assert info["void_turns"] == 0
    env.close()
    with pytest.raises(TypeError, match="needs a ToRLMathEnv underneath"):
        Transcript(gym.make("CartPole-v1"))
