import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.core.policies.sampling import draw, inverse_cumulative, nucleus
from agents.core.types import Sampling


def test_frequencies_follow_the_distribution():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().repeat(4000, 1)
    uniforms = [(i + 0.5) / 4000 for i in range(4000)]
    ids, logprobs, _ = draw(logits, uniforms, Sampling())
    assert [ids.count(i) for i in range(3)] == [2000, 1000, 1000]
    assert logprobs[0] == pytest.approx(-0.6931472)


@given(st.integers(1, 600), st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_blocks_find_the_id_that_one_long_sum_finds(width, seed, uniform):
    """Up to ids whose sums differ by rounding alone."""
    torch.manual_seed(seed)
    mass = torch.rand(1, width).pow(4)
    (found,) = inverse_cumulative(mass, [uniform]).tolist()
    sums = mass[0].double().cumsum(0)
    level = uniform * sums[-1]
    # A block is summed in float32.
    rounding = 1e-6 * sums[-1]
    assert mass[0, found] > 0
    assert sums[found] >= level - rounding
    assert found == 0 or sums[found - 1] <= level + rounding


def test_temperature_sharpens():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    _, (logprob,), _ = draw(logits, [0.1], Sampling(temperature=0.5))
    # Squared and renormalised: 0.25 / (0.25 + 0.0625 + 0.0625) = 2/3.
    assert logprob == pytest.approx(torch.tensor(2 / 3).log().item())


def test_greedy_ignores_the_uniform():
    logits = torch.tensor([[0.1, 3.0, 0.2]])
    assert draw(logits, [0.0], Sampling(0.0))[0] == draw(logits, [0.999], Sampling(0.0))[0] == [1]


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=20), st.floats(0, 1, exclude_max=True))
def test_a_draw_never_leaves_the_nucleus(logits, uniform):
    row = torch.tensor([logits])
    kept = nucleus(torch.log_softmax(row, -1), 0.7)
    ids, logprobs, _ = draw(row, [uniform], Sampling(top_p=0.7))
    assert kept[0, ids[0]] > float("-inf")
    assert kept.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert logprobs[0] == pytest.approx(kept[0, ids[0]].item(), abs=1e-5)


def test_a_row_draws_the_same_whoever_else_is_there():
    torch.manual_seed(0)
    logits = torch.randn(5, 50)
    uniforms = [0.1, 0.3, 0.5, 0.7, 0.9]
    together = draw(logits, uniforms, Sampling())[0]
    alone = [draw(logits[i : i + 1], uniforms[i : i + 1], Sampling())[0][0] for i in range(5)]
    assert together == alone
