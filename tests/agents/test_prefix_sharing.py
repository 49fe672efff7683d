"""Responses that share their prompt score, and learn, as if each had read it alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_step import one_step, same, trainer_of

from agents.core.testing.tiny import byte_tokenizer, tiny_model
from agents.core.trainer.logprobs import response_logprobs
from agents.core.trainer.prefix_sharing import can_share, shared_prefix_logprobs
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
    apart = response_logprobs(model, ids, mask, length, len(batch), temperature)
    shared = shared_prefix_logprobs(model, ids, mask, length, 5, temperature)
    for one, other in zip(apart, shared, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=2e-4)


def test_gradients_are_the_same(model):
    prompts, responses = [PROMPTS[0]] * 3 + [PROMPTS[1]], [[20, 21, 22], [23], [24, 25], [26, 27]]
    ids, mask, length = padded(prompts, responses)
    weights = torch.linspace(-1, 1, len(prompts))[:, None]
    found = []
    for scores in (
        response_logprobs(model, ids, mask, length, 4, 1.0),
        shared_prefix_logprobs(model, ids, mask, length, 4, 1.0),
    ):
        model.zero_grad()
        (scores[0] * weights).sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*found, strict=True))
    assert can_share(model)


def test_what_answers_share_is_read_once_by_trunk_and_head(model):
    """A stem of 12 ids and two branches after 10 of them, of 3 and 4: 10 + 2 + 3 + 4 places."""
    stem = list(range(20, 32))
    responses = [stem, [*stem[:10], 40, 41, 42], [*stem[:10], 50, 51, 52, 53]]
    ids, mask, length = padded([PROMPTS[0]] * 3, responses)
    weights = torch.linspace(-1, 1, ids.shape[1])[-length:]
    seen: list[int] = []
    head = model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    found = []
    for read in (shared_prefix_logprobs, response_logprobs):
        model.zero_grad()
        (read(model, ids, mask, length, 3, 1.0)[0] * weights).sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    hook.remove()
    assert seen == [19, 39]
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("micro_batch", [8, 4])
def test_a_step_of_the_trainer_is_the_same(model, tmp_path, micro_batch, monkeypatch):
    """Weights after it, with the rows of a group in one pass or in two."""
    options = {"micro_batch": micro_batch}
    shared, norm = one_step(model, byte_tokenizer(), tmp_path / "shared", **options)
    monkeypatch.setattr("agents.core.trainer.scoring.shares_prompts", lambda *_: False)
    plain, other_norm = one_step(model, byte_tokenizer(), tmp_path / "plain", **options)
    assert other_norm == pytest.approx(norm, rel=1e-3)
    assert same(plain, shared, tolerance=1e-3)


def test_prompts_are_shared_unless_a_critic_reads_every_row(model, tmp_path):
    assert trainer_of(model, byte_tokenizer(), tmp_path / "grpo").shares_prompts()
    assert not trainer_of(
        model, byte_tokenizer(), tmp_path / "ppo", algorithm=PPO()
    ).shares_prompts()


SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.mark.parametrize(
    ("family", "options", "shares"),
    [
        ("Llama", {}, True),
        ("Qwen2", {"use_sliding_window": False}, True),
        ("Gemma2", {"final_logit_softcapping": 0.3, "sliding_window": 4}, False),
        ("Cohere", {"logit_scale": 3.0}, True),
        ("Granite", {"logits_scaling": 0.2}, True),
        ("Mistral", {"sliding_window": 4}, False),
    ],
)
def test_families_score_as_their_own_head_does(family, options, shares):
    """Caps, scales and windows; what the model itself says is the measure."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SMALL, **options, pad_token_id=0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    ids = torch.randint(1, 40, (3, 12))
    mask = torch.ones_like(ids)
    said = torch.log_softmax(model(ids).logits.float() / 0.7, -1)[:, 3:-1]
    wanted = said.gather(-1, ids[:, 4:, None]).squeeze(-1)
    assert torch.allclose(response_logprobs(model, ids, mask, 8, 2, 0.7)[0], wanted, atol=1e-4)
    assert can_share(model) is shares
    if shares:
        assert torch.allclose(
            shared_prefix_logprobs(model, ids, mask, 8, 2, 0.7)[0], wanted, atol=1e-4
        )
