"""Trajectories by hand and at random, a collector that answers from a seed, a sandbox."""

import json
import random
import sys
import zlib
from dataclasses import asdict
from pathlib import Path

import pytest

# For `chromium`, which several test modules share.
sys.path.append(str(Path(__file__).parent))

from agents.core.rollout.behaviour import behaviour
from agents.core.run import transcripts
from agents.core.types import Trajectory, Turn
from benchmarks.heldout import Header, fingerprint
from benchmarks.heldout.evaluate import finish
from benchmarks.report import open_run
from benchmarks.report.page import write_page
from torl_env.problems.types import Problem

CODE = "I compute.\n```python\nprint(6*7)\n```\n"
OUTPUT = "```output\n42\n```\n"


def turn(text, observation="", status="", error="", reward=0.0, kind="final"):
    return Turn(text, observation, 0, len(text), kind, status, error, reward)


def tool_turn(status="ok", error=""):
    seen = OUTPUT if status == "ok" else f"```output\n{error}: no\n```\n"
    return turn(CODE, seen, status, error, kind="tool")


def final_turn(answer="42"):
    return turn(f"So the answer is \\boxed{{{answer}}}.", reward=1.0)


def make_trajectory(problem_id="p0", sample=0, correct=True, turns=None, **changes):
    turns = (tool_turn(), final_turn()) if turns is None else tuple(turns)
    statuses = [t.tool_status for t in turns if t.tool_status]
    values = {
        "problem_id": problem_id,
        "prompt_ids": (1, 2),
        "ids": (3, 4, 5),
        "loss_mask": (1, 0, 1),
        "logprobs": (-0.5, 0.0, -0.25),
        "turns": turns,
        "reward": 1.0 if correct else -1.0,
        "verdict": "correct" if correct else "wrong",
        "answer": "42" if correct else "41",
        "tool_calls": len(statuses),
        "tool_errors": sum(status != "ok" for status in statuses),
        "stop_reason": "answer",
        "truncated": False,
        "scorable": True,
        "reward_terms": {"answer": 1.0 if correct else -1.0},
        "question": "What is 6 x 7?",
        "reference": "42",
        "level": "2",
        "subject": "arithmetic",
        "sample": sample,
    }
    return Trajectory(**(values | changes))


def random_trajectory(problem, sample, seed, skill=0.5):
    rng = random.Random(zlib.crc32(f"{problem.id}/{sample}/{seed}".encode()))
    correct = rng.random() < skill
    calls = rng.randrange(1, 3) if rng.random() < 0.2 + 0.8 * skill else 0
    turns = [
        tool_turn() if rng.random() < 0.5 + 0.4 * skill else tool_turn("error", "NameError")
        for _ in range(calls)
    ]
    if rng.random() < 0.2:
        turns.append(turn(CODE, kind="over_budget"))
    turns.append(final_turn() if correct else final_turn("41"))
    if rng.random() < 0.2:
        turns.append(turn("And a check.\n" + CODE, kind="over_budget"))
    return make_trajectory(
        problem.id,
        sample,
        correct,
        turns,
        level=problem.level,
        subject=problem.subject,
        question=problem.question,
        scorable=rng.random() > 0.05,
    )


@pytest.fixture
def problems():
    return [
        Problem(
            f"p{i}", f"What is {i} + {i}?", str(2 * i), "test", "held-out", str(i % 3 + 1), "add"
        )
        for i in range(10)
    ]


@pytest.fixture
def collect():
    """Answers in an order of its own, which depends on nothing but the seed."""

    def answers(problems, k, seed):
        found = [random_trajectory(p, sample, seed) for p in problems for sample in range(k)]
        random.Random(seed).shuffle(found)
        yield from found

    return answers


@pytest.fixture
def make():
    return make_trajectory


def build_run(path, steps=16, seed=0, name="run"):
    """A run directory as training writes it, small but with everything in it."""
    rng = random.Random(seed)
    run = path / name
    (run / "transcripts").mkdir(parents=True)
    (run / "config.json").write_text(
        json.dumps({"options": {"model": "models/SmolLM2-135M", "steps": steps}})
    )
    problems = [
        Problem(
            f"q{i}", f"What is ${i} + {i}$?", str(2 * i), "procedural:easy", "train", str(1 + i % 3)
        )
        for i in range(8)
    ]
    lines = [{"step": i, "stage": "sft", "loss": 2.0 / (i + 1)} for i in range(5)]
    for step in range(steps):
        skill = 0.25 + 0.65 * (1 - 0.8 ** (step + 1))
        found = [
            random_trajectory(p, s, seed * 1000 + step, skill) for p in problems for s in range(4)
        ]
        with (run / "transcripts" / f"step-{step:06}.jsonl").open("w") as file:
            file.writelines(json.dumps(t.to_json()) + "\n" for t in found)
        numbers = {"step": step, "stage": "rl", **asdict(behaviour(found))}
        numbers |= {"reward": 2 * numbers["accuracy"] - 1, "loss": rng.gauss(0, 0.1)}
        lines.append({k: None if v != v else v for k, v in numbers.items()})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for stage in ("before", "after"):
        skill = 0.25 if stage == "before" else 0.85
        held = [random_trajectory(p, s, seed, skill) for p in problems for s in range(4)]
        header = Header(
            model=f"runs/{name}/{stage}", problems="procedural:easy", count=8, k=4, seed=0,
            fingerprint=fingerprint(problems), grader="torl 1", settings={"tool_budget": 1},
        )  # fmt: skip
        finish(run / "eval" / f"{stage}.jsonl", header, held)
    return run


@pytest.fixture
def run_dir(tmp_path):
    return build_run(tmp_path)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory):
    """One for all tests of a module; what they add to it, each must bear."""
    return build_run(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def sandbox(box):
    return box


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    from chromium import Browser

    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def show(browser, run_dir):
    """Puts answers alone on a page and opens it."""
    for file in (*(run_dir / "transcripts").iterdir(), *(run_dir / "eval").iterdir()):
        file.unlink()

    curves = (run_dir / "metrics.jsonl").read_text()

    def write(*answers, step=3, branches=(), fragment="", options=None, drawn=False):
        # Six charts take most of the time that a page takes.
        metrics = curves if drawn else '{"step": 0, "stage": "sft", "loss": 1.0}\n'
        (run_dir / "metrics.jsonl").write_text(metrics)
        transcripts.write(run_dir / "transcripts", step, 0, answers)
        transcripts.write(run_dir / "branches", step, 0, branches)
        path = run_dir / "report.html"
        write_page([open_run(run_dir)], path, options)
        browser.open(path, fragment)
        browser.wait("found.length > 0")
        return browser

    browser.events.clear()
    browser.screen(1200)
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    yield write
    assert browser.problems() == []


@pytest.fixture
def make_run(tmp_path):
    return lambda **kw: build_run(tmp_path, **kw)


@pytest.fixture(name="turn")
def turn_fixture():
    return turn


@pytest.fixture(name="tool_turn")
def tool_turn_fixture():
    return tool_turn
