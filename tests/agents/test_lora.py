"""LoRA through PEFT: adapters learn, the rest stays, the sampler gets both together."""

import copy
import json
import weakref

import pytest
import torch
from one_step import one_step, trainer_of

from agents.core.models.lora import Lora, plain_weights, with_lora
from agents.core.trainer.weight_sync import CopySampler


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


def test_first_weights_are_those_of_the_seed(model):
    pytest.importorskip("peft", reason="PEFT is an extra")
    made = []
    for noise, seed in ((5, 0), (6, 0), (6, 1)):
        torch.manual_seed(noise)
        made.append(with_lora(copy.deepcopy(model), Lora(rank=4, seed=seed)).state_dict())
    names = [name for name in made[0] if "lora_A" in name]
    assert all(torch.equal(made[0][name], made[1][name]) for name in names)
    assert not any(torch.equal(made[0][name], made[2][name]) for name in names)


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
    CopySampler(Rollout(), sampler).sync(adapted)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        computed, expected, before = (m(ids).logits for m in (sampler, adapted.eval(), model))
    assert torch.allclose(computed, expected, atol=1e-5)
    assert not torch.allclose(computed, before, atol=1e-3)


def test_the_first_loss_is_that_of_the_plain_model(model, adapted, tokenizer, tmp_path):
    """Fresh adapters add nothing, so both see the same advantages and log-probabilities."""
    from agents.core.run.folder import Run
    from agents.ppo import PPO

    one_step(model, tokenizer, tmp_path / "a", algorithm=PPO())
    trainer_of(adapted, tokenizer, tmp_path / "b", algorithm=PPO()).train()
    first, second = (Run(tmp_path / x).read_metrics("rl")[0] for x in "ab")
    assert second["entropy"] == pytest.approx(first["entropy"], rel=1e-4)
    assert second["loss_value"] == pytest.approx(first["loss_value"], rel=1e-4)


def saved(model, adapted, tokenizer, folder, label):
    """Adapters that change something, beside the weights they are for."""
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    adapted.peft_config["default"].base_model_name_or_path = str(folder / "base")
    adapted.save_pretrained(folder / label)
    tokenizer.save_pretrained(folder / label)


def test_adapters_on_file_load_as_the_plain_model_they_make(model, adapted, tokenizer, tmp_path):
    from agents.core.models import loading

    saved(model, adapted, tokenizer, tmp_path, "adapters")
    loading.check(str(tmp_path / "adapters"))
    loaded, _ = loading.load(str(tmp_path / "adapters"), device="cpu")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        computed, expected, before = (m(ids).logits for m in (loaded, adapted.eval(), model))
    assert torch.allclose(computed, expected, atol=1e-4)
    assert not torch.allclose(computed, before, atol=1e-2)
    assert not any("lora_" in name for name, _ in loaded.named_parameters())
    assert loading.load(str(tmp_path / "adapters"), "bfloat16")[0].dtype is torch.bfloat16


def test_weights_of_adapters_are_merged_one_layer_at_a_time(adapted, monkeypatch):
    """All products at once are as large as the model: 26 GB at 7B."""
    from agents.core.models import lora

    made = []

    def delta(layer):
        product = layer.get_delta_weight("default")
        made.append(weakref.ref(product))
        return product

    monkeypatch.setattr(lora, "delta_of", delta)
    most = 0
    for weight in plain_weights(adapted):
        most = max(most, sum(product() is not None for product in made))
        del weight
    assert len(made) > 8
    assert most <= 1


def test_new_adapters_on_an_earlier_runs_keep_what_that_has_learned(
    model, adapted, tokenizer, tmp_path
):
    """They name what they adapt; on the bare base evaluation and KL would lose the first ones."""
    from agents.core.algorithm import Loss
    from agents.core.models import loading
    from agents.grpo import GRPO

    saved(model, adapted, tokenizer, tmp_path, "first")
    start = loading.merged_start(str(tmp_path / "first"), tmp_path / "start")
    assert loading.merged_start(start, tmp_path / "again") == start, "plain weights stay"
    second = with_lora(loading.load(start, device="cpu")[0], Lora(rank=2))
    trainer = trainer_of(second, tokenizer, tmp_path, algorithm=GRPO(loss=Loss(kl=0.1)), steps=1)
    trainer.train()
    ids = torch.tensor([[5, 6, 7, 8]])
    loaded, _ = loading.load(str(tmp_path / "checkpoint-1"), device="cpu")
    with torch.no_grad():
        assert torch.allclose(loaded(ids).logits, second.eval()(ids).logits, atol=1e-4)
        with second.disable_adapter():
            reference = second(ids).logits
        assert torch.allclose(reference, adapted.eval()(ids).logits, atol=1e-4)
    # The first step is at the start itself: its distance from the reference is none.
    assert trainer.state.log_history[0]["kl"] == pytest.approx(0.0, abs=1e-6)


def test_all_weights_of_an_earlier_run_with_adapters_are_compared_with_these(
    model, adapted, tokenizer, tmp_path
):
    """Not with the bare base, which the merged weights still have for a name."""
    from torl.training.run import train

    saved(model, adapted, tokenizer, tmp_path, "first")
    options = {"problems": "procedural:easy:L1", "warm_start": 0, "eval_problems": 0, "steps": 1}
    sizes = {"prompts": 2, "group": 2, "max_tokens": 8, "dtype": "float32", "threads": 1}
    first = str(tmp_path / "first")
    run = train(first, out=tmp_path / "run", set=("kl=0.1",), **options, **sizes)
    (row,) = map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())
    assert row["kl"] == pytest.approx(0.0, abs=1e-6)


def test_adapters_of_a_lost_model_say_what_is_missing(tmp_path):
    from agents.core.models import loading

    file = tmp_path / "adapter_config.json"
    file.write_text('{"base_model_name_or_path": "./nowhere/at/all"}')
    with pytest.raises(loading.ModelError, match="no model at '\\./nowhere"):
        loading.check(str(tmp_path))
    file.write_text("{}")
    with pytest.raises(loading.ModelError, match="does not say what it adapts"):
        loading.check(str(tmp_path))


@pytest.mark.slow
def test_a_run_with_adapters_goes_on_and_is_evaluated(model, tokenizer, tmp_path):
    """Three steps at once end with the adapters of two steps and one more after a restart."""
    pytest.importorskip("peft", reason="PEFT is an extra")
    import subprocess
    import sys

    from safetensors.torch import load_file

    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")

    def torl(*words):
        command = [sys.executable, "-m", "torl", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def train(out, steps):
        torl(
            *("train", "--model", tmp_path / "base", "--out", out, "--lora-rank", 4),
            *("--problems", "procedural:easy:L1", "--warm-start", 0, "--steps", steps),
            *("--prompts", 2, "--group", 4, "--max-tokens", 24, "--eval-problems", 0),
            *("--save-every", 1, "--threads", 1, "--reward", "limr"),
        )

    train(tmp_path / "whole", 3)
    train(tmp_path / "parts", 2)
    config = tmp_path / "parts" / "config.json"
    config.write_text(config.read_text().replace('"steps": 2', '"steps": 3'))
    torl("train", "--out", tmp_path / "parts", "--resume")
    both = [
        load_file(tmp_path / name / "checkpoint-3" / "adapter_model.safetensors")
        for name in ("whole", "parts")
    ]
    assert both[0].keys() == both[1].keys()
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
    records = tmp_path / "records.jsonl"
    torl(
        *("eval", "--model", tmp_path / "whole", "--problems", "procedural:easy:L1"),
        *("--count", 2, "--max-tokens", 20, "--out", records),
    )
    assert len(records.read_text().splitlines()) == 3
