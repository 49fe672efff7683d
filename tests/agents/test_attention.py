"""The attention that decodes faster says what the model's own says."""

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from agents.core.policies.decode_attention import NAME, attend, decode_faster
from agents.core.testing.tiny import byte_tokenizer, tiny_model


class Layer:
    training = False
    num_key_value_groups = 3
    is_causal = True


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_it_equals_the_fused_kernel(queries, mask):
    query, key, value = random(4, 6, queries, 8), random(4, 2, 9, 8), random(4, 2, 9, 8) + 1
    allowed = torch.ones(4, 1, queries, 9, dtype=torch.bool)
    allowed[1, ..., :4] = allowed[2, ..., -2:] = False
    given = {
        "none": None,
        "bool": allowed,
        "float": torch.zeros(allowed.shape).masked_fill(~allowed, -1e30),
    }[mask]
    ours, _ = attend(Layer(), query, key, value, given, scaling=0.4)
    theirs, _ = sdpa_attention_forward(Layer(), query, key, value, given, scaling=0.4)
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_model_with_an_attention_of_its_own_keeps_it():
    model = tiny_model(byte_tokenizer())
    model.set_attn_implementation("eager")
    decode_faster(model)
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    decode_faster(model)
    assert model.config._attn_implementation == NAME


def test_a_cap_on_the_scores_is_never_ignored():
    query, key = random(1, 2, 1, 8), random(1, 2, 9, 8)
    with pytest.raises(ValueError, match="softcap"):
        attend(Layer(), query, key, key, None, softcap=30.0)
