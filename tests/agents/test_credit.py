"""Shaping and turn-level credit against numbers worked out by hand, and against their theorem."""

import json
from dataclasses import replace
from functools import cache
from math import cos, pi, sin, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_step import BATCH, one_step, trajectory

from agents.core.credit import OTC, Overlong, Potential, Ran, ToolCost, shaped
from agents.core.run import transcripts
from agents.core.types import Turn
from agents.grpo import GRPO, GTPO
from agents.ppo import PPO
from agents.ppo.gae import step_rewards
from agents.thor import THOR
from torl.algorithms import make_algorithm


def episode(statuses, reward, *, scorable=True):
    """One id a turn and one of tool output between; the last turn is paid."""
    turns, mask = [], []
    for i, status in enumerate(statuses):
        paid = reward if i == len(statuses) - 1 else 0.0
        turns.append(Turn("x", "", 2 * i, 2 * i + 1, "tool", status, "", paid))
        mask += [1, 0]
    ids = tuple(range(len(mask)))
    made = trajectory((1,), ids, mask, reward, turns=tuple(turns), scorable=scorable)
    return replace(made, tool_calls=sum(s != "" for s in statuses))


def calls(*counts, right=True):
    return [
        replace(episode(["ok"] * n + [""], 1.0 if right else -1.0), tool_calls=n) for n in counts
    ]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        # The fewest calls of a right answer are 1: f = 2 m / (m + 1), r = sin(f pi / 2).
        (calls(1, 2, 3), [1.0, sin(2 * pi / 3), sin(3 * pi / 4)]),
        # They are 0: cos(m pi / (2 m + 4)).
        (calls(0, 1, 2), [1.0, cos(pi / 6), cos(pi / 4)]),
        # A wrong answer with fewer calls is no optimum, and is not shaped.
        ([*calls(2, 4), *calls(0, right=False)], [1.0, sin(2 * pi / 3), -1.0]),
        (calls(0, 3, right=False), [-1.0, -1.0]),
    ],
)
def test_otc_by_hand(group, expected):
    assert [t.reward for t in shaped(group, [OTC(smooth=4)])] == pytest.approx(expected)


def test_a_lost_row_is_no_optimum_and_keeps_its_reward():
    lost = replace(calls(0)[0], scorable=False)
    found = shaped([lost, *calls(2)], [OTC()])
    assert [t.reward for t in found] == [1.0, 1.0]


def test_calls_cost_by_how_easy_the_problem_is():
    """Two of four right: 0.1 x 1/2 a call; none right: 0.1 x 1/4."""
    group = [*calls(2, 0), *calls(3, 1, right=False)]
    assert [t.reward for t in shaped(group, [ToolCost(0.1)])] == pytest.approx(
        [0.9, 1.0, -1.15, -1.05]
    )
    none = calls(2, 0, 0, 0, right=False)
    assert shaped(none, [ToolCost(0.1)])[0].reward == pytest.approx(-1.05)


@pytest.mark.parametrize(
    ("ids", "punished"), [(80, 0.0), (90, -0.5), (100, -1.0), (150, -1.0), (81, -0.05)]
)
def test_soft_overlong_punishment_by_hand(ids, punished):
    t = trajectory((1,), (0,) * ids, (1,) * ids, 1.0)
    (found,) = shaped([t], [Overlong(max_tokens=100, cache=20)])
    assert found.reward == pytest.approx(1.0 + punished)
    assert found.turns[-1].reward == pytest.approx(1.0 + punished)


statuses = st.lists(st.sampled_from(["", "ok", "error", "timeout"]), min_size=1, max_size=6)


@given(statuses, st.floats(0.1, 1.0), st.floats(-2, 2))
def test_a_potential_adds_nothing_to_any_episode(statuses, gamma, weight):
    """Its discounted sum is -phi(start), which is 0 before any program."""
    t = episode(statuses, 1.0)
    (amounts,) = Potential(weight, gamma).added([t])
    assert sum(gamma**i * x for i, x in enumerate(amounts)) == pytest.approx(0.0, abs=1e-9)


GAMMA, TURNS = 0.9, 3
ACTIONS = ("ok", "error", "")


@cache
def value(before, shaping):
    """Value of a state, and of each action: run a program, fail, or answer; at most three turns.

    An answer right after a program that ran is right in 0.9 of cases, any other in 0.3.
    """
    if len(before) == TURNS or (before and before[-1] == ""):
        return 0.0, ()
    worth = []
    for action in ACTIONS:
        turns = (*before, action)
        over = action == "" or len(turns) == TURNS
        right = 0.9 if action == "" and before and before[-1] == "ok" else 0.3
        paid = (right if action == "" else 0.0) - 0.02 * (action != "")
        # The shaping is that of the real class, of an episode that ends here or goes on.
        t = episode([*turns] if over else [*turns, ""], 0.0)
        added = sum(one.added([t])[0][len(turns) - 1] for one in shaping)
        worth.append(paid + added + GAMMA * value(turns, shaping)[0])
    return max(worth), tuple(worth)


def states():
    grown = [()]
    for _ in range(TURNS - 1):
        grown += [(*s, a) for s in grown for a in ("ok", "error") if (*s, a) not in grown]
    return grown


@pytest.mark.parametrize("weight", [0.5, -3.0])
def test_potential_shaping_changes_no_optimal_policy(weight):
    """Ng, Harada, Russell, theorem 1: Q' = Q - phi, in every state of a small decision process."""
    potential = Potential(weight, GAMMA)
    for state in states():
        plain, moved = value(state, ())[1], value(state, (potential,))[1]
        phi = weight * potential.phi([Turn("", "", 0, 0, "", s, "", 0.0) for s in state])
        assert moved == pytest.approx([q - phi for q in plain])
        assert moved.index(max(moved)) == plain.index(max(plain))


def test_a_reward_for_running_does_change_it():
    """After a program that ran it pays to answer; paid for programs, one runs another."""
    assert ACTIONS[value(("ok",), ())[1].index(max(value(("ok",), ())[1]))] == ""
    paid = value(("ok",), (Ran(0.8),))[1]
    assert ACTIONS[paid.index(max(paid))] == "ok"


def credit(algorithm, *group):
    rows = algorithm.assign_credit([shaped(group, algorithm.shaping)])
    return [[row[turn.start] for turn in t.turns] for row, t in zip(rows, group, strict=True)]


GROUP = (
    episode(["ok", ""], 1.0),
    episode(["error", "ok", ""], 1.0),
    episode([""], -1.0),
    episode(["ok", ""], 0.0, scorable=False),
)


def test_turn_level_credit_by_hand():
    """gamma 1/2, programs paid 0.1: returns of the turns are
    [0.1 + 0.5, 1], [-0.1 + 0.05 + 0.25, 0.1 + 0.5, 1] and [-1]."""
    algorithm = GTPO(gamma=0.5, shaping="ran(weight=0.1)")
    firsts = [0.6, 0.2, -1.0]
    mean = sum(firsts) / 3
    std = sqrt(sum((x - mean) ** 2 for x in firsts) / 2)
    found = credit(algorithm, *GROUP)
    assert [row[0] for row in found[:3]] == pytest.approx([(x - mean) / std for x in firsts], 1e-4)
    # Second turns: 1 and 0.6; their unbiased deviation is 0.4 / sqrt(2).
    assert [found[0][1], found[1][1]] == pytest.approx([sqrt(0.5), -sqrt(0.5)], 1e-4)
    # Nobody else has a third turn, and a lost row has no credit.
    assert found[1][2] == 0.0
    assert found[3] == [0.0, 0.0]


def test_turns_of_all_indices_compared_by_hand():
    algorithm = GTPO(gamma=0.5, compare="group", scale_by_std=False)
    returns = [[0.5, 1.0], [0.25, 0.5, 1.0], [-1.0]]
    mean = sum(map(sum, returns)) / 6
    found = credit(algorithm, *GROUP)[:3]
    assert found == [pytest.approx([x - mean for x in row]) for row in returns]


def test_without_discount_or_shaping_turns_are_credited_as_episodes():
    group = [episode(["ok", ""], r) for r in (1.0, -1.0, -1.0)]
    turns = credit(GTPO(gamma=1.0), *group)
    episodes = credit(GRPO(), *group)
    assert turns == [pytest.approx(row) for row in episodes]


def test_tool_output_has_no_credit():
    (row, *_) = GTPO(gamma=0.5).assign_credit([GROUP])
    assert row[1] == row[3] == 0.0


def test_a_critic_learns_from_shaped_steps(model, tokenizer, tmp_path):
    """PPO's own rewards are those of the turns, so that a potential reaches them."""
    seen = []

    class Watched(PPO):
        def prepare(self, batch):
            seen.append(step_rewards(batch.trajectories, batch.mask))
            return PPO.prepare(self, batch)

    turns = (
        Turn("x", "", 0, 2, "tool", "ok", "", 0.0),
        Turn("x", "", 4, 5, "final", "", "", 1.0),
    )
    rows = [replace(BATCH[0], turns=turns), *BATCH[1:]]
    one_step(model, tokenizer, tmp_path, rows, algorithm=Watched(shaping="potential(weight=0.2)"))
    assert seen[0][0, :5].tolist() == pytest.approx([0.0, 0.2, 0.0, 0.0, 0.8])
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["reward_shaped"] == pytest.approx(row["reward"])


def test_metrics_and_transcripts_keep_the_reward_of_the_environment(model, tokenizer, tmp_path):
    rows = [replace(t, tool_calls=i) for i, t in enumerate(BATCH)]
    algorithm = GRPO(shaping="tool_cost(weight=0.1)")
    moved, _ = one_step(model, tokenizer, tmp_path / "a", rows, algorithm=algorithm)
    plain, _ = one_step(model, tokenizer, tmp_path / "b", rows)
    assert any(not torch.equal(moved[name], plain[name]) for name in moved)
    row, other = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("a", "b")
    )
    assert row["reward"] == other["reward"]
    # 0.1 x 1/2 x (0 + 1 + 2 + 3) and 0.1 x (4 + 5 + 6 + 7) less, over eight rows.
    assert row["reward_shaped"] == pytest.approx(row["reward"] - (0.3 + 2.2) / 8)
    kept = [trajectory.reward for _, trajectory in transcripts.read(tmp_path / "a" / "transcripts")]
    assert kept == [t.reward for t in BATCH]


def test_shaping_on_the_command_line():
    words = "overlong(max_tokens=110, cache=20) + tool_cost"
    expected = (Overlong(110, 20), ToolCost())
    for name, kind in (("grpo", GRPO), ("gtpo", GTPO), ("ppo", PPO), ("thor", THOR)):
        made = make_algorithm(name, (f"shaping={words}",), {})
        assert type(made) is kind
        assert made.shaping == expected
