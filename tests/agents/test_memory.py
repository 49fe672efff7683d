"""The memory that is planned against what autograd and the optimiser really hold."""

from copy import deepcopy

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

from agents.core.models.lora import trunk
from agents.core.trainer.memory import measure, plan_memory
from agents.core.trainer.options import Training

SHAPE = {
    "vocab_size": 500,
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, num_key_value_heads=2, intermediate_size=256),
    "qwen2": Qwen2Config(**SHAPE, num_key_value_heads=4, intermediate_size=512),
    "gpt2": GPT2Config(vocab_size=500, n_embd=128, n_layer=3, n_head=4),
}


def really_kept(config, rows, length, bf16, checkpointing=False):
    """Bytes that autograd keeps of a forward pass on real tensors; weights themselves apart."""
    model = AutoModelForCausalLM.from_config(config).train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.randint(0, 500, (rows, length))
    mask = torch.ones_like(ids)
    # Rows of a micro-batch differ in length, and a mask that hides something costs its own memory.
    mask[0, : length // 2] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        trunk(model)(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(("rows", "length"), [(2, 96), (6, 200)])
def test_planned_activations_are_the_real_ones(family, rows, length, bf16):
    planned = measure(CONFIGS[family], rows, length, bf16=bf16).kept
    assert planned == pytest.approx(really_kept(CONFIGS[family], rows, length, bf16), rel=0.05)


def test_checkpointing_keeps_the_inputs_of_the_blocks():
    config = LlamaConfig(**{**SHAPE, "num_hidden_layers": 12}, intermediate_size=256)
    found = measure(config, 4, 128, bf16=False)
    inputs = really_kept(config, 4, 128, bf16=False, checkpointing=True)
    assert found.inputs == pytest.approx(inputs, rel=0.15)
    assert found.inputs + found.block < found.kept / 3


def test_weights_gradients_and_moments_are_what_a_step_holds():
    training = Training(micro_batch=8, max_tokens=32)
    plan = plan_memory(CONFIGS["llama"], training, prompt_tokens=16)
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"])
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    held = [t for state in optimizer.state.values() for t in state.values() if t.dim()]
    assert plan.weights == sum(p.nbytes for p in model.parameters())
    assert plan.gradients == sum(p.grad.nbytes for p in model.parameters())
    assert plan.optimizer == sum(t.nbytes for t in held)


def test_sharing_out_divides_state_and_gathers_a_block():
    training = Training(micro_batch=8, max_tokens=32)
    alone = plan_memory(CONFIGS["llama"], training, prompt_tokens=16)
    shared = plan_memory(CONFIGS["llama"], training, prompt_tokens=16, processes=4, sharded=True)
    assert shared.weights == alone.weights / 4
    assert shared.gathered > 0
    assert alone.gathered == 0


def test_the_cache_is_as_large_as_the_library_makes_it():
    # A copy, because `from_config` writes the type into its configuration.
    config = deepcopy(CONFIGS["llama"])
    training = Training(prompts_per_step=2, group_size=2, micro_batch=4, max_tokens=20)
    plan = plan_memory(config, training, prompt_tokens=12)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    cache = model(input_ids=torch.zeros(4, 32, dtype=torch.long), use_cache=True).past_key_values
    real = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert plan.cache == real


@pytest.mark.parametrize("bf16", [True, False])
def test_planned_logits_are_the_most_that_a_pass_holds_at_once(monkeypatch, bf16):
    """Counted as they are allocated, forward and backward; in one chunk and in several."""
    from agents.core.trainer import logprobs

    places, vocabulary = 96, 4000
    # A thin head, or its gradient would be as large as the logits.
    thin = {"vocab_size": vocabulary, "hidden_size": 8, "num_attention_heads": 2}
    config = LlamaConfig(**{**SHAPE, **thin}, intermediate_size=16)
    head = AutoModelForCausalLM.from_config(config)
    states = torch.randn(places, 8, requires_grad=True)
    for rows in (places, places // 3):
        monkeypatch.setattr(logprobs, "HELD", rows * 4 * vocabulary)
        with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                found, _ = logprobs.head_logprobs(head, states, torch.zeros(places).long(), 1.0)
            found.sum().backward()
        held = most = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                most = max(most, held)
        sizes = {"prompts_per_step": 1, "group_size": 2, "micro_batch": 2, "max_tokens": 48}
        training = Training(**sizes, dtype="bfloat16" if bf16 else "float32")
        plan = plan_memory(config, training, prompt_tokens=8)
        assert plan.logits == pytest.approx(most, rel=0.15)
