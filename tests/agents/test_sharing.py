"""Responses that share their prompt score, and learn, as if each had read it alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_step import one_step, same, trainer_of

from agents.core.scoring import score_responses
from agents.core.sharing import can_share, score_sharing
from agents.core.testing import byte_tokenizer, tiny_model
from agents.ppo import PPO


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return tiny_model(byte_tokenizer(), spread=0.5)


def padded(prompts, responses):
    left, right = max(map(len, prompts)), max(map(len, responses))
    ids, mask = [], []
    for prompt, response in zip(prompts, responses, strict=True):
        before, after = left - len(prompt), right - len(response)
        ids.append([0] * before + prompt + response + [0] * after)
        mask.append([0] * before + [1] * (len(prompt) + len(response)) + [0] * after)
    return torch.tensor(ids), torch.tensor(mask), right


rows = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(2, 250), min_size=1, max_size=9)),
    min_size=1,
    max_size=8,
)
PROMPTS = ([5, 6, 7], [5, 6, 7, 8, 9, 10], [11])


@settings(max_examples=25, deadline=None)
@given(rows, st.sampled_from([1.0, 0.7]))
def test_scores_are_those_of_rows_by_themselves(model, batch, temperature):
    ids, mask, length = padded([PROMPTS[i] for i, _ in batch], [r for _, r in batch])
    apart = score_responses(model, ids, mask, length, len(batch), temperature)
    shared = score_sharing(model, ids, mask, length, 5, temperature)
    for one, other in zip(apart, shared, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=2e-4)


def test_gradients_are_the_same(model):
    prompts, responses = [PROMPTS[0]] * 3 + [PROMPTS[1]], [[20, 21, 22], [23], [24, 25], [26, 27]]
    ids, mask, length = padded(prompts, responses)
    weights = torch.linspace(-1, 1, len(prompts))[:, None]
    found = []
    for scores in (
        score_responses(model, ids, mask, length, 4, 1.0),
        score_sharing(model, ids, mask, length, 4, 1.0),
    ):
        model.zero_grad()
        (scores[0] * weights).sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*found, strict=True))
    assert can_share(model)


@pytest.mark.parametrize("micro_batch", [8, 4])
def test_a_step_of_the_trainer_is_the_same(model, tmp_path, micro_batch):
    """Weights after it, with the rows of a group in one pass or in two."""
    shared = {"micro_batch": micro_batch, "share_prompts": True}
    plain, norm = one_step(model, byte_tokenizer(), tmp_path / "plain")
    packed, other_norm = one_step(model, byte_tokenizer(), tmp_path / "packed", **shared)
    assert other_norm == pytest.approx(norm, rel=1e-3)
    assert same(plain, packed, tolerance=1e-3)


def test_a_critic_reads_every_row_by_itself(model, tmp_path):
    trainer = trainer_of(model, byte_tokenizer(), tmp_path, algorithm=PPO(), share_prompts=True)
    assert not trainer._shares()
