"""GRPO and its switches against numbers worked out by hand; every switch off is plain GRPO."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.core.advantages import group_relative, leave_one_out
from agents.core.algorithm import Algorithm
from agents.core.loss import DAPO, GSPO, Loss
from agents.core.losses import clipped
from agents.core.types import Trajectory
from agents.grpo import GRPO

rewards_of_a_group = st.lists(st.sampled_from([-1.5, -1.0, 0.0, 1.0]), min_size=2, max_size=16)


def group(*rewards):
    return [
        Trajectory(
            *("p", (1,), (2, 3), (1, 1), (0.0, 0.0), (), r or 0.0, "", "", 0, 0, "", False),
            scorable=r is not None,
        )
        for r in rewards
    ]


def credit(algorithm, *rewards):
    return [row[0] for row in algorithm.assign_credit([group(*rewards)])]


def test_each_baseline_by_hand():
    """Rewards 1, 0, 0: mean 1/3, unbiased std sqrt(1/3); the others' means 0, 1/2, 1/2."""
    std = math.sqrt(1 / 3)
    plain = credit(GRPO(), 1.0, 0.0, 0.0)
    assert plain == pytest.approx([2 / 3 / std, -1 / 3 / std, -1 / 3 / std], rel=1e-5)
    assert credit(GRPO(scale_by_std=False), 1.0, 0.0, 0.0) == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    assert credit(GRPO(baseline="leave_one_out"), 1.0, 0.0, 0.0) == [1.0, -0.5, -0.5]


@pytest.mark.parametrize("baseline", ["group", "leave_one_out"])
def test_a_lost_sample_counts_in_no_baseline(baseline):
    algorithm = GRPO(baseline=baseline)
    first, *others = credit(algorithm, 1.0, 0.0, 0.0)
    assert credit(algorithm, 1.0, None, 0.0, 0.0) == [first, 0.0, *others]


@given(rewards_of_a_group)
def test_leave_one_out_is_the_unscaled_baseline_times_g_over_g_minus_one(rewards):
    size = len(rewards)
    plain = group_relative(rewards, scale_by_std=False)
    assert leave_one_out(rewards) == pytest.approx([a * size / (size - 1) for a in plain])


@given(rewards_of_a_group)
def test_order_within_a_group_changes_no_advantage(rewards):
    for algorithm in (GRPO(), GRPO(baseline="leave_one_out"), GRPO(scale_by_std=False)):
        forward, back = credit(algorithm, *rewards), credit(algorithm, *rewards[::-1])
        assert forward == pytest.approx(back[::-1])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "expected"),
    [
        (1.0, 2.0, Loss(), -2.0),
        (1.5, 1.0, Loss(), -1.2),
        (1.5, 1.0, DAPO, -1.28),
        (0.5, 1.0, Loss(), -0.5),
        (0.5, -1.0, Loss(), 0.8),
        (9.0, -1.0, Loss(), 9.0),
        (9.0, -1.0, Loss(dual_clip=3.0), 3.0),
        (9.0, 1.0, Loss(dual_clip=3.0), -1.2),
    ],
)
def test_the_clipped_loss_by_hand(ratio, advantage, loss, expected):
    computed = clipped(torch.tensor([[ratio]]).log(), torch.tensor([[advantage]]), loss)
    assert computed.item() == pytest.approx(expected)


def test_presets_differ_from_plain_grpo_only_where_they_say():
    plain = Loss()
    assert (DAPO.clip_low, DAPO.mean, DAPO.ratio) == (plain.clip_low, plain.mean, plain.ratio)
    assert (GSPO.mean, GSPO.ratio) == ("sequence", "sequence")
    assert GRPO().loss == plain
    assert (GRPO().resample, GRPO().baseline, plain.nll, plain.kl) == (0, "group", 0.0, 0.0)


def test_an_algorithm_without_credit_says_so():
    with pytest.raises(NotImplementedError, match="Algorithm must say how it assigns credit"):
        Algorithm().assign_credit([])
