"""LoRA through PEFT: adapters learn, the rest stays, the sampler gets both together."""

import copy

import pytest
import torch
from one_step import one_step, trainer_of

from agents.core.acting import CopyActor
from agents.core.lora import Lora, plain_weights, with_lora


def test_without_adapters_the_plain_weights_are_the_weights(model):
    pairs = zip(plain_weights(model), model.parameters(), strict=True)
    assert all(mine is theirs for mine, theirs in pairs)


def test_rank_is_checked():
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        Lora(rank=0)


@pytest.fixture
def adapted(model):
    pytest.importorskip("peft", reason="PEFT is an extra")
    torch.manual_seed(1)
    return with_lora(copy.deepcopy(model), Lora(rank=4))


def test_only_adapters_learn_and_the_sampler_gets_the_sum(model, adapted, tokenizer, tmp_path):
    trainer_of(adapted, tokenizer, tmp_path).train()
    base = dict(model.named_parameters())
    for name, weight in adapted.get_base_model().named_parameters():
        if "lora_" not in name:
            assert torch.equal(weight, base[name.replace(".base_layer", "")])

    class Rollout:
        def forget(self):
            pass

    sampler = copy.deepcopy(model)
    CopyActor(Rollout(), sampler).sync(adapted)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        told, expected, before = (m(ids).logits for m in (sampler, adapted.eval(), model))
    assert torch.allclose(told, expected, atol=1e-5)
    assert not torch.allclose(told, before, atol=1e-3)


def test_the_first_loss_is_that_of_the_plain_model(model, adapted, tokenizer, tmp_path):
    """Fresh adapters add nothing, so both see the same advantages and log-probabilities."""
    from agents.core.runs import Run
    from agents.ppo import PPO

    one_step(model, tokenizer, tmp_path / "a", algorithm=PPO())
    trainer_of(adapted, tokenizer, tmp_path / "b", algorithm=PPO()).train()
    first, second = (Run(tmp_path / x).read_metrics("rl")[0] for x in "ab")
    assert second["entropy"] == pytest.approx(first["entropy"], rel=1e-4)
    assert second["loss_value"] == pytest.approx(first["loss_value"], rel=1e-4)
