"""Log-probabilities in chunks, and rows packed into a tree, against plain ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.core.testing.tiny import byte_tokenizer, tiny_model
from agents.core.trainer import logprobs
from agents.core.trainer.logprobs import head_logprobs
from agents.core.trainer.prefix_sharing import Tree


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("rows", [100, 4])
def test_the_head_says_what_a_plain_log_softmax_says(monkeypatch, rows, temperature):
    """11 places at once, and 4 at a time: values, entropies and gradients."""
    torch.manual_seed(0)
    model = tiny_model(byte_tokenizer(), spread=0.5)
    head = model.get_output_embeddings()
    monkeypatch.setattr(logprobs, "HELD", rows * 4 * model.config.vocab_size)
    widths = []
    head.register_forward_pre_hook(lambda module, args: widths.append(len(args[0])))
    states = torch.randn(11, model.config.hidden_size, requires_grad=True)
    ids, weights = torch.randint(0, model.config.vocab_size, (11,)), torch.randn(11)

    found, entropy = head_logprobs(model, states, ids, temperature)
    (found * weights).sum().backward()
    got = [states.grad.clone(), head.weight.grad.clone()]
    states.grad = head.weight.grad = None

    plain = torch.log_softmax(states @ head.weight.T / temperature, -1)
    (plain.gather(-1, ids[:, None])[:, 0] * weights).sum().backward()
    assert torch.allclose(found, plain.gather(-1, ids[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(entropy, -(plain.exp() * plain).sum(-1), atol=1e-5)
    for ours, theirs in zip(got, (states.grad, head.weight.grad), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert max(widths) <= rows


@given(st.lists(st.lists(st.integers(0, 1), max_size=40), min_size=1, max_size=6))
def test_a_tree_holds_every_row_and_shows_each_id_all_before_it(rows):
    tree = Tree.of(rows)
    assert len(tree.ids) == len(tree.positions) <= sum(map(len, rows))
    for row, places in zip(rows, tree.places, strict=True):
        assert [tree.ids[p] for p in places] == row
        assert [tree.positions[p] for p in places] == list(range(len(row)))
        for node in tree.nodes:
            if set(range(node.start, node.end)) & set(places):
                seen = [p for start, end in node.above for p in range(start, end)]
                assert [*seen, *range(node.start, node.end)] == places[
                    : len(seen) + node.end - node.start
                ]
