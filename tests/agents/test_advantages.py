import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.advantages import group_relative

# Rewards 1, -1, -1, -1: mean -1/2, unbiased variance (9/4 + 3/4) / 3 = 1, std 1.
WORKED = ([1.0, -1.0, -1.0, -1.0], [1.5, -0.5, -0.5, -0.5])


def test_a_worked_example():
    rewards, expected = WORKED
    assert group_relative(rewards) == pytest.approx(expected, rel=1e-5)


def test_an_unscorable_sample_counts_nowhere():
    rewards, expected = WORKED
    assert group_relative([*rewards, None]) == [*group_relative(rewards), 0.0]
    assert group_relative([*rewards, None])[:4] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [1.0], [1.0, None], [None, None]])
def test_no_signal_means_zero(rewards):
    assert group_relative(rewards) == [0.0] * len(rewards)


@given(st.lists(st.sampled_from([-1.5, -1.0, 0.0, 1.0]), min_size=2, max_size=32))
def test_sums_to_zero_and_ignores_order_shift_and_scale(rewards):
    advantages = group_relative(rewards, epsilon=0.0)
    assert math.fsum(advantages) == pytest.approx(0, abs=1e-9)
    turned = group_relative(rewards[::-1], epsilon=0.0)[::-1]
    moved = group_relative([3 * r + 7 for r in rewards], epsilon=0.0)
    assert advantages == pytest.approx(turned)
    assert advantages == pytest.approx(moved)
