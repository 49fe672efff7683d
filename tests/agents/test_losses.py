"""Published losses: each against its formula, the trainer against ours, contradictions refused."""

import copy
import json
from dataclasses import replace
from math import exp, log

import pytest
import torch
from one_step import BATCH, PROBLEMS, log_likelihood, norm_of, one_step, same, trainer_of
from transformers import AutoModelForCausalLM

from agents.core.loss import CISPO, DR_GRPO, LOSSES, SAPO, Loss
from agents.core.losses import entropy_threshold, importance_ratio, surrogate
from agents.core.trainer.options import TrainingError
from agents.grpo import GRPO
from agents.ppo import PPO
from torl.algorithms import make_algorithm
from torl.console import CommandError


def sigmoid(x):
    return 1 / (1 + exp(-x))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "expected"),
    [
        # The gradient of each id is the value times d log p: a cap, and nothing cut away.
        (9.0, 1.0, CISPO, -5.0 * log(9.0)),
        (9.0, -1.0, CISPO, 5.0 * log(9.0)),
        (0.5, 2.0, CISPO, -0.5 * 2.0 * log(0.5)),
        (1.0, 1.0, SAPO, -2.0),
        (3.0, 1.0, SAPO, -4 * sigmoid(2.0)),
        (3.0, -1.0, SAPO, 4 / 1.05 * sigmoid(2.1)),
    ],
)
def test_cispo_and_sapo_by_hand(ratio, advantage, loss, expected):
    now, one = torch.tensor([[log(ratio)]]), torch.ones(1, 1)
    computed = surrogate(now, torch.zeros(1, 1), advantage * one, one, loss)
    assert computed.item() == pytest.approx(expected, rel=1e-5)


def test_sapo_has_the_plain_gradient_where_nothing_has_moved():
    now = torch.zeros(1, 2, requires_grad=True)
    one = torch.ones(1, 2)
    advantages = torch.tensor([[2.0, -3.0]])
    surrogate(now, torch.zeros(1, 2), advantages, one, SAPO).sum().backward()
    assert now.grad.tolist() == [pytest.approx([-2.0, 3.0])]


def recorded(model, tokenizer, path, loss, **options):
    """The inputs, log-probabilities and loss of each pass of one batch."""
    passes = []
    trainer = trainer_of(
        copy.deepcopy(model), tokenizer, path, algorithm=GRPO(loss=loss), **options
    )
    inner = trainer._compute_loss

    def compute(model, inputs):
        value = inner(model, inputs)
        passes.append((inputs, trainer.pass_logprobs.detach(), value.item()))
        return value

    trainer._compute_loss = compute
    trainer.train()
    return passes


FAST = ("cispo", "gspo")
NAMES = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in LOSSES]


@pytest.mark.parametrize("name", NAMES)
def test_the_trainer_computes_the_named_loss(model, tokenizer, tmp_path, name):
    """Over three passes, in which the policy moves away from the one that sampled."""
    loss = LOSSES[name]
    options = {"epochs": 3, "learning_rate": 0.05, "max_tokens": 7}
    passes = recorded(model, tokenizer, tmp_path, loss, **options)
    ratios = []
    for inputs, logprobs, computed in passes:
        mask = inputs["completion_mask"] * inputs["tool_mask"]
        old = inputs["old_per_token_logps"]
        each = surrogate(logprobs, old, inputs["advantages"], mask, loss) * mask
        if loss.mean == "token":
            expected = each.sum() / sum(sum(t.loss_mask) for t in BATCH)
        elif loss.mean == "sequence":
            expected = (each.sum(1) / mask.sum(1)).sum() / len(BATCH)
        else:
            expected = each.sum() / (len(BATCH) * 7)
        assert computed == pytest.approx(expected.item(), rel=1e-4, abs=1e-7)
        ratios.append((((logprobs - old) * mask).exp() - 1).abs().max().item())
    assert ratios[0] < 1e-5
    assert ratios[-1] > 0.2


def test_constant_mean_is_the_hand_made_one(model, tokenizer, tmp_path):
    algorithm = GRPO(scale_by_std=False, loss=DR_GRPO)
    _, norm = one_step(model, tokenizer, tmp_path, algorithm=algorithm, max_tokens=50)
    loss = 0.0
    for t in BATCH[:4]:
        logp = (log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum()
        loss = loss - t.reward * logp / (8 * 50)
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)


def entropies(model, t):
    logits = model(torch.tensor([[*t.prompt_ids, *t.ids]])).logits[0, len(t.prompt_ids) - 1 : -1]
    logp = torch.log_softmax(logits, -1)
    return -(logp.exp() * logp).sum(-1)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_the_entropy_bonus_is_the_hand_made_one(tokenizer, tmp_path, micro_batch, spread_model):
    """Over all sampled ids, those of groups without signal too, however the batch is cut."""
    algorithm = GRPO(loss=Loss(entropy=0.3))
    _, norm = one_step(
        spread_model, tokenizer, tmp_path, algorithm=algorithm, micro_batch=micro_batch
    )
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    loss = 0.0
    for i, t in enumerate(BATCH):
        mask = torch.tensor(t.loss_mask)
        advantage = t.reward / (4 / 3) ** 0.5 if i < 4 else 0.0
        loss = loss - advantage * (log_likelihood(spread_model, t) * mask).sum() / tokens
        loss = loss - 0.3 * (entropies(spread_model, t) * mask).sum() / tokens
    assert norm == pytest.approx(norm_of(spread_model, loss), rel=1e-3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["loss_entropy"] < 0


@pytest.fixture
def spread_model(tokenizer):
    """What it writes next depends on every id, so that entropies differ."""
    from agents.core.testing.tiny import tiny_model

    torch.manual_seed(0)
    return tiny_model(tokenizer, spread=0.5)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_only_the_most_uncertain_tokens_learn(tokenizer, tmp_path, micro_batch, spread_model):
    algorithm = GRPO(loss=Loss(entropy_top=0.2))
    _, norm = one_step(
        spread_model, tokenizer, tmp_path, algorithm=algorithm, micro_batch=micro_batch
    )
    with torch.no_grad():
        each = [entropies(spread_model, t)[torch.tensor(t.loss_mask) > 0] for t in BATCH]
    everyone = torch.cat(each).sort(descending=True).values
    tokens = len(everyone)
    threshold = everyone[round(0.2 * tokens) - 1]
    loss = 0.0
    for t in BATCH[:4]:
        mask = torch.tensor(t.loss_mask) * (entropies(spread_model, t).detach() >= threshold)
        advantage = t.reward / (4 / 3) ** 0.5
        loss = loss - advantage * (log_likelihood(spread_model, t) * mask).sum() / tokens
    assert norm == pytest.approx(norm_of(spread_model, loss), rel=1e-3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["entropy_threshold"] == pytest.approx(threshold.item(), rel=1e-4)


def test_it_holds_for_a_critic_too(tokenizer, tmp_path, spread_model):
    """PPO's advantages come after the batch is scored, and are masked in the same way."""
    algorithm = PPO(whiten=False, value_weight=0.0, loss=Loss(entropy_top=0.2))
    _, norm = one_step(spread_model, tokenizer, tmp_path, algorithm=algorithm)
    threshold = json.loads((tmp_path / "metrics.jsonl").read_text())["entropy_threshold"] - 1e-4
    loss = 0.0
    for t in BATCH:
        mask = torch.tensor(t.loss_mask) * (entropies(spread_model, t).detach() >= threshold)
        loss = loss - t.reward * (log_likelihood(spread_model, t) * mask).sum()
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    assert norm == pytest.approx(norm_of(spread_model, loss / tokens), rel=1e-3)


def test_a_share_of_tokens_has_at_least_one():
    assert entropy_threshold(torch.tensor([0.5, 0.1]), 0.01) == 0.5


def test_geometric_rejection_does_not_grow_with_length():
    """A steady gap of 0.01 a token: a long response is kept as a short one is."""
    for length in (10, 1000):
        gap, mask = torch.full((1, length), 0.01), torch.ones(1, length)
        assert importance_ratio(gap, mask, "geometric_mask", 1.02).item() == 1.0
        assert importance_ratio(gap, mask, "geometric_mask", 1.005).item() == 0.0
        assert importance_ratio(-gap, mask, "geometric_mask", 1.005).item() == 0.0
    long = torch.full((1, 1000), 0.01)
    assert importance_ratio(long, torch.ones(1, 1000), "sequence_mask", 2.0).item() == 0.0


def test_responses_that_left_the_sampler_behind_are_not_punished(model, tokenizer, tmp_path):
    """Where the sampler's log-probabilities are far off, only positive advantages are left."""
    far = [replace(t, logprobs=[9.0 * m for m in t.loss_mask]) for t in BATCH]
    algorithm = GRPO(loss=Loss(off_policy_kl=1.0))
    _, norm = one_step(model, tokenizer, tmp_path, far, algorithm=algorithm)
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    loss = 0.0
    for t in (t for t in BATCH[:4] if t.reward > 0):
        logp = (log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum()
        loss = loss - t.reward / (4 / 3) ** 0.5 * logp / tokens
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)


@pytest.mark.slow
def test_the_reference_is_reset_and_resumes(model, tokenizer, tmp_path):
    """After two of three steps the reference is the policy of then, in a resumed run as well."""
    model.save_pretrained(tmp_path / "start")
    options = {"problems": PROBLEMS * 3, "save_every": 1, "learning_rate": 0.01}

    def train(path, steps, every, checkpoint=None):
        trained = AutoModelForCausalLM.from_pretrained(tmp_path / "start").eval()
        algorithm = GRPO(loss=Loss(kl=0.5, kl_reset=every))
        trainer = trainer_of(trained, tokenizer, path, algorithm=algorithm, steps=steps, **options)
        trainer.train(resume_from_checkpoint=checkpoint)
        weights = {n: p.detach().clone() for n, p in trained.named_parameters()}
        return weights, [row["kl"] for row in trainer.state.log_history if "kl" in row]

    whole, distances = train(tmp_path / "whole", 3, 2)
    plain, further = train(tmp_path / "plain", 3, 0)
    assert distances[1] > 1e-4
    assert distances[2] < 1e-6
    assert further[2] > further[1]
    assert not same(whole, plain, 1e-4)
    train(tmp_path / "killed", 2, 2)
    resumed, _ = train(tmp_path / "killed", 3, 2, str(tmp_path / "killed" / "checkpoint-2"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_lora_has_no_reference_to_reset(model, tokenizer, tmp_path):
    pytest.importorskip("peft")
    from agents.core.models.lora import Lora, with_lora

    adapted = with_lora(model, Lora(2))
    algorithm = GRPO(loss=Loss(kl=0.5, kl_reset=2))
    with pytest.raises(TrainingError, match="with LoRA it is the model without adapters"):
        trainer_of(adapted, tokenizer, tmp_path, algorithm=algorithm)


def test_losses_and_filters_on_the_command_line():
    made = make_algorithm("grpo", ("loss=gspo", "drop=overlong,void", "nll=0.1"), {}).loss
    assert made == replace(LOSSES["gspo"], drop=("overlong", "void"), nll=0.1)
    assert make_algorithm("ppo", ("entropy=0.01",), {}).loss.entropy == 0.01
    with pytest.raises(CommandError, match="loss is one of grpo, dapo, dr_grpo, gspo"):
        make_algorithm("grpo", ("loss=gsop",), {})
    with pytest.raises(CommandError, match="never clips"):
        make_algorithm("thor", ("surrogate=cispo",), {})
