"""The peak that `--dry-run` plans, against every byte that a whole training allocates."""

import gc

import pytest
import torch
from one_step import PROBLEMS, FixedSampler, trainer_of, trajectory
from transformers import AutoModelForCausalLM, LlamaConfig

from agents.core.models.lora import Lora, with_lora
from agents.core.trainer.memory import plan_memory
from agents.core.trainer.options import Training
from agents.grpo import GRPO
from agents.ppo import PPO

PROMPT, RESPONSE, GROUP = 48, 80, 4
CONFIG = LlamaConfig(
    vocab_size=2000,
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def rows():
    """Full rows: two groups of one prompt each, rewards that teach something."""
    random = torch.Generator().manual_seed(0)

    def ids(count):
        return tuple(torch.randint(5, 2000, (count,), generator=random).tolist())

    prompts = [ids(PROMPT) for _ in PROBLEMS]
    return [
        trajectory(prompt, ids(RESPONSE), (1,) * RESPONSE, reward)
        for prompt in prompts
        for reward in (1.0, -1.0, 1.0, -1.0)
    ]


def measured_peak(tokenizer, path, lora_rank=0, **training):
    """The most bytes that two steps hold at once, the model's own weights included."""
    # What an earlier test left would be given back while this one is counted.
    gc.collect()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG)
    if lora_rank:
        model = with_lora(model, Lora(lora_rank))
    own = sum(p.nbytes for p in model.parameters())
    trainer = trainer_of(
        model, tokenizer, path, sampler=FixedSampler(rows()), save_every=9, **training
    )
    with torch.profiler.profile(profile_memory=True) as profile:
        trainer.train()
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return own + most


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"micro_batch_tokens": 300},
        pytest.param({"dtype": "bfloat16", "micro_batch": 4}, marks=pytest.mark.slow),
        pytest.param({"activation_checkpointing": True}, marks=pytest.mark.slow),
        pytest.param({"algorithm": PPO(critic="head")}, marks=pytest.mark.slow),
        pytest.param({"lora_rank": 8}, marks=pytest.mark.slow),
        pytest.param({"lora_rank": 8, "dtype": "bfloat16"}, marks=pytest.mark.slow),
    ],
    ids=["shared", "tokens", "bfloat16", "checkpointing", "critic", "lora", "lora, bfloat16"],
)
def test_the_planned_peak_is_the_real_one(tokenizer, tmp_path, more):
    real = measured_peak(tokenizer, tmp_path, steps=2, max_tokens=RESPONSE, **more)
    algorithm = more.get("algorithm", GRPO())
    sizes = {n: v for n, v in more.items() if n not in ("algorithm", "lora_rank")}
    training = Training(
        **{"prompts_per_step": 2, "group_size": GROUP, "micro_batch": 8, "dtype": "float32"}
        | sizes,
        max_tokens=RESPONSE,
    )
    plan = plan_memory(
        CONFIG,
        training,
        prompt_tokens=PROMPT,
        sampler_bytes=0,
        shares=isinstance(algorithm, GRPO),
        lora_rank=more.get("lora_rank", 0),
    )
    assert plan.peak == pytest.approx(real, rel=0.15)
