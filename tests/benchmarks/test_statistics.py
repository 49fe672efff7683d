"""Statistics of evaluations: known values, coverage, and invariances."""

from itertools import combinations
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.thor.selection import answer_clusters
from benchmarks.heldout import statistics as stats


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_hit(samples, data):
    correct = data.draw(st.integers(0, samples))
    k = data.draw(st.integers(1, samples))
    outcomes = [True] * correct + [False] * (samples - correct)
    subsets = list(combinations(outcomes, k))
    assert stats.pass_at_k(samples, correct, k) == pytest.approx(
        sum(map(any, subsets)) / len(subsets)
    )


def test_pass_at_k_refuses_more_draws_than_samples():
    with pytest.raises(ValueError, match="pass@5 needs at least 5"):
        stats.pass_at_k(4, 1, 5)


@pytest.mark.parametrize(
    ("votes", "correct", "expected"),
    [
        (["7", "7", "8"], [True, True, False], 1.0),
        (["7", "8", "8"], [True, False, False], 0.0),
        (["1/2", "0.5", "3", "3", "3"], [True, True, False, False, False], 0.0),
        (["1/2", "0.5", "3"], [True, True, False], 1.0),
        (["7", "8"], [True, False], 0.5),
        (["", "", "7"], [False, False, True], 1.0),
        (["", ""], [False, False], 0.0),
    ],
)
def test_majority(votes, correct, expected):
    assert stats.majority_at_k(answer_clusters(votes), correct, len(votes)) == expected


def test_majority_of_one_is_the_accuracy():
    votes, correct = [0] * 30 + [1] * 70, [True] * 30 + [False] * 70
    assert stats.majority_at_k(votes, correct, 1) == pytest.approx(0.3)
    assert stats.majority_at_k(votes, correct, 3) == pytest.approx(0.216, abs=0.1)
    assert stats.majority_at_k(votes, correct, 1, seed=3) == stats.majority_at_k(
        votes, correct, 1, seed=3
    )


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=8), st.data())
def test_majority_is_the_mean_over_all_subsets(clusters, data):
    k = data.draw(st.integers(1, len(clusters)))
    correct = [cluster == 0 for cluster in clusters]
    subsets = list(combinations(range(len(clusters)), k))
    each = [
        stats.majority_at_k([clusters[i] for i in s], [correct[i] for i in s], k) for s in subsets
    ]
    assert stats.majority_at_k(clusters, correct, k) == pytest.approx(sum(each) / len(each))


def test_wilson_matches_the_published_example():
    # Newcombe 1998, table I: 81 of 263.
    found = stats.wilson(81, 263)
    assert found.low == pytest.approx(0.2553, abs=1e-4)
    assert found.high == pytest.approx(0.3662, abs=1e-4)


def test_mean_of_equal_answers_does_not_claim_certainty():
    found = stats.mean([0.0] * 40, groups=[i // 4 for i in range(40)])
    assert found.value == 0
    assert found.high > 0.2


def test_problems_that_are_all_alike_do_not_claim_certainty():
    half = stats.mean([1, 0] * 3, groups="aabbcc")
    assert (half.low, half.high, half.count) == (stats.wilson(1.5, 3).low, half.high, 3)
    assert half.high - half.low > 0.5
    alike = stats.ratio([1, 2, 1], [2, 4, 2])
    assert (alike.value, alike.low, alike.high) == (half.value, half.low, half.high)


def test_one_answer_to_a_problem_is_a_plain_share():
    assert stats.mean([1] * 3 + [0] * 13) == stats.wilson(3, 16)
    assert stats.mean([1, 1, 0, 0], groups=["a", "a", "b", "b"]) == stats.wilson(1, 2)


def test_answers_to_one_problem_are_not_independent():
    random = np.random.default_rng(0)
    solved = random.integers(0, 2, 25)
    values = np.repeat(solved, 16).astype(float).tolist()
    clustered = stats.mean(values, groups=[i // 16 for i in range(len(values))])
    single = stats.mean(values)
    assert clustered.value == pytest.approx(single.value)
    assert clustered.high - clustered.low > 3 * (single.high - single.low)
    assert clustered == stats.wilson(float(solved.sum()), 25)


def test_problems_weigh_the_same_whatever_their_number_of_answers():
    found = stats.mean([1, 1, 1, 1, 0], groups=["a", "a", "a", "a", "b"])
    assert found.value == 0.5


def test_ninety_five_percent_intervals_cover_ninety_five_percent():
    random = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        chances = random.beta(0.8, 1.2, 40)
        values = (random.random((40, 4)) < chances[:, None]).astype(float).ravel()
        found = stats.mean(values.tolist(), groups=[i // 4 for i in range(160)], seed=trial)
        hits += found.low <= 0.4 <= found.high
    assert 0.90 <= hits / 200 <= 0.99


def test_ratio_ignores_observations_without_a_denominator():
    found = stats.ratio([1, 0, 2], [1, 0, 3], groups=["a", "b", "c"])
    assert found.value == pytest.approx(0.75)
    assert found.count == 2
    assert isnan(stats.ratio([0], [0]).value)
    assert str(stats.ratio([], [])) == "-"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_intervals_hold_their_value_and_repeat(numbers, seed):
    values = [number / 4 for number in numbers]
    found = stats.mean(values, seed=seed)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found == stats.mean(values, seed=seed)


def test_paired_sees_a_small_steady_gain_that_intervals_of_each_run_hide():
    random = np.random.default_rng(2)
    base = (random.integers(0, 5, 200) / 5).tolist()
    better = [min(1.0, value + 0.2) if i % 3 == 0 else value for i, value in enumerate(base)]
    found = stats.paired(base, better)
    assert found.real
    assert found.difference.low > 0
    assert found.losses == 0
    assert stats.mean(base).overlaps(stats.mean(better))


def test_paired_test_keeps_its_level_under_the_null():
    random = np.random.default_rng(3)
    found = [
        stats.paired(
            random.integers(0, 2, 40).tolist(), random.integers(0, 2, 40).tolist(), seed=i
        ).p_value
        for i in range(100)
    ]
    assert np.mean(np.array(found) < 0.05) <= 0.12


def test_paired_exact_p_value_of_four_wins():
    found = stats.paired([0, 0, 0, 0, 1], [1, 1, 1, 1, 1])
    assert found.p_value == pytest.approx(2 / 16)
    assert (found.wins, found.losses) == (4, 0)


def test_paired_is_antisymmetric_and_equal_runs_do_not_differ():
    a, b = [0, 1, 1, 0, 1], [1, 1, 0, 0, 0]
    there, back = stats.paired(a, b), stats.paired(b, a)
    assert there.p_value == back.p_value
    assert there.difference.value == -back.difference.value
    assert stats.paired(a, a).p_value == 1.0
    with pytest.raises(ValueError, match="same problems"):
        stats.paired(a, b[:-1])


@pytest.mark.parametrize("count", [1, 5, 190])
def test_a_difference_that_never_varies_is_no_certainty(count):
    """Tango's score interval, by its definition: where the score of a difference is z."""
    z = 1.959964
    none = stats.paired([0, 1] * count, [0, 1] * count).difference
    assert (none.value, none.low) == (0.0, -none.high)
    pairs = 2 * count
    assert pairs * none.high / (1 - none.high) == pytest.approx(z**2, rel=1e-4)
    every = stats.paired([0] * count, [1] * count).difference
    assert (every.value, every.high) == (1.0, 1.0)
    assert count * (1 - every.low) / (1 + every.low) == pytest.approx(z**2, rel=1e-4)
    worse = stats.paired([1] * count, [0] * count).difference
    assert (worse.low, worse.high) == (-1.0, -every.low)
    half = stats.paired([0.25] * count, [0.75] * count).difference
    assert -1 <= half.low < 0.5 < half.high <= 1
    assert half.high - half.low == pytest.approx(none.high - none.low, rel=1.1)


def test_counts_are_no_shares():
    calls = stats.mean([1, 1, 1, 1], share=False)
    assert calls.value == 1.0
    assert isnan(calls.low)
    assert isnan(calls.high)
    some = stats.mean([0, 1, 1, 1, 1, 1], share=False)
    assert some.low < some.value < some.high


def test_holm_is_monotone_and_bounded():
    assert stats.holm([]) == ()
    assert stats.holm([0.04, 0.01]) == (0.04, 0.02)
    assert stats.holm([0.9, 0.8, 0.7]) == (1.0, 1.0, 1.0)
    assert stats.holm([0.01, 0.02, 0.03]) == pytest.approx((0.03, 0.04, 0.04))


def test_chi_square_refuses_other_shapes_and_empty_margins():
    with pytest.raises(ValueError, match="2 x 2"):
        stats.chi_square([[1, 2, 3]])
    assert isnan(stats.chi_square([[0, 0], [1, 2]])[0])
