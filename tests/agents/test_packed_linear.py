"""Packed weights: the same products, whatever happens to the weights."""

import copy

import pytest
import torch
from torch import nn

from agents.core.policies.packed_linear import (
    PackedLinear,
    forget_packed,
    pack_weights,
    reading_packed,
)


class Model(nn.Module):
    """Two layers, one with a bias, as a policy sees a model."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(48, 96), nn.Linear(96, 32, bias=False)
        self.to(dtype)
        self.device, self.dtype = torch.device("cpu"), dtype

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5, 64, 100])
def test_products_are_those_of_plain_weights(dtype, rows):
    plain = Model(dtype)
    packed = copy.deepcopy(plain)
    pack_weights(packed)
    x = torch.randn(rows, 3, 48).to(dtype)
    with torch.no_grad(), reading_packed():
        assert torch.allclose(packed(x), plain(x), atol=1e-2 if dtype == torch.bfloat16 else 1e-5)


def test_weights_that_change_are_packed_again():
    model = Model(torch.float32)
    pack_weights(model)
    assert type(model.first) is PackedLinear
    x = torch.randn(4, 48)
    with torch.inference_mode(), reading_packed():
        before = model(x)
        model.second.weight.copy_(2 * model.second.weight)
        assert torch.allclose(model(x), 2 * before, atol=1e-5)
    model.load_state_dict({name: torch.zeros_like(p) for name, p in model.named_parameters()})
    with torch.no_grad(), reading_packed():
        assert not model(x).any()


def test_weights_that_change_without_a_trace_are_read_by_everybody_but_an_open_sampler():
    model = Model(torch.float32)
    pack_weights(model)
    x = torch.randn(4, 48)
    with torch.no_grad():
        with reading_packed():
            before = model(x)
        model.second.weight.data.zero_()
        assert not model(x).any()
        with reading_packed():
            assert torch.equal(model(x), before)
            forget_packed(model)
            assert not model(x).any()


def test_a_packed_model_learns_and_is_copied_like_any_other():
    model = Model(torch.float32)
    pack_weights(model)
    x = torch.randn(4, 48)
    with torch.no_grad(), reading_packed():
        before = model(x)
    other = copy.deepcopy(model)
    model(x).sum().backward()
    assert model.first.weight.grad is not None
    with torch.no_grad(), reading_packed():
        other.second.weight.zero_()
        assert not other(x).any()
        assert torch.equal(model(x), before)
