"""Metrics of a batch are those of the whole batch, however it is cut into updates and passes."""

import copy
import json
from dataclasses import replace

import pytest
import torch
import transformers
from one_step import BATCH, log_likelihood, trainer_of

from agents.core.loss import Loss
from agents.grpo import GRPO
from agents.ppo import PPO


def trained(model, tokenizer, path, rows=BATCH, **options):
    """The line of metrics of one batch, its times, and what TRL logged at each update."""
    trainer = trainer_of(copy.deepcopy(model), tokenizer, path, rows, **options)
    trainer.train()
    (row,) = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    (times,) = map(json.loads, (path / "timing.jsonl").read_text().splitlines())
    return row, times, [log for log in trainer.state.log_history if "loss" in log]


@pytest.mark.parametrize("sizes", [{"updates": 2}, {"epochs": 3}, {"updates": 2, "epochs": 2}])
def test_a_line_tells_of_all_updates_of_its_batch(model, tokenizer, tmp_path, sizes):
    row, times, logs = trained(model, tokenizer, tmp_path, learning_rate=0.1, **sizes)
    assert len(logs) == sizes.get("updates", 1) * sizes.get("epochs", 1)
    for name in ("loss", "grad_norm"):
        each = [log[name] for log in logs]
        assert max(each) > min(each) + 1e-3
        assert row[name] == pytest.approx(sum(each) / len(each))
    assert row["frac_reward_zero_std"] == 0.5
    assert row["num_tokens"] == sum(len(t.prompt_ids) + sum(t.loss_mask) for t in BATCH)
    assert times["seconds"] == pytest.approx(sum(log["step_time"] for log in logs), abs=0.01)


def test_another_sampler_is_compared_also_where_a_batch_is_divided(model, tokenizer, tmp_path):
    rows = [
        replace(t, logprobs=[p - 0.5 for p in log_likelihood(model, t).tolist()]) for t in BATCH
    ]
    trainer = trainer_of(copy.deepcopy(model), tokenizer, tmp_path, rows, updates=2)

    class Weights:
        def sync_weights(self):
            pass

    # As TRL is where vLLM samples.
    trainer.use_vllm, trainer._last_loaded_step, trainer.vllm_generation = True, -1, Weights()
    trainer.train()
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["logprob_mismatch"] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("micro_batch", [8, 4, 1])
@pytest.mark.parametrize("more", [{}, {"micro_batch_tokens": 12}], ids=["rows", "tokens"])
def test_shares_and_distances_are_over_all_ids(model, tokenizer, tmp_path, micro_batch, more):
    """At the second update of the same batch the policy has moved, by hand and in the metrics."""
    model.save_pretrained(tmp_path / "start")
    start = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "start").eval()
    loss = Loss(kl=0.1)
    settings = {"algorithm": GRPO(loss=loss), "learning_rate": 0.05, "micro_batch": micro_batch}
    moved = trainer_of(copy.deepcopy(start), tokenizer, tmp_path / "a", **settings)
    moved.train()
    after = moved.accelerator.unwrap_model(moved.model).eval()
    clipped = distance = 0.0
    with torch.no_grad():
        for t in BATCH:
            sign = t.reward if t in BATCH[:4] else 0.0
            gap = log_likelihood(after, t) - log_likelihood(start, t)
            mask = torch.tensor(t.loss_mask)
            beyond = gap.exp() > 1.2 if sign > 0 else gap.exp() < 0.8
            clipped += (beyond * mask).sum().item() * (sign != 0)
            distance += (((-gap).exp() + gap - 1) * mask).sum().item()
    ids = sum(sum(t.loss_mask) for t in BATCH)
    row, _, _ = trained(start, tokenizer, tmp_path / "b", epochs=2, **settings, **more)
    # The first of the two updates is made where nothing has moved.
    assert clipped > 0
    assert row["clip_ratio"] == pytest.approx(clipped / ids / 2, rel=1e-4)
    assert row["kl"] == pytest.approx(distance / ids / 2, rel=1e-3)


def test_trackers_get_a_batch_when_it_is_whole(model, tokenizer, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs tensorboard (pip install tensorboard)")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    algorithm = GRPO(loss=Loss(nll=0.01))
    options = {"algorithm": algorithm, "updates": 2, "report_to": ("tensorboard",)}
    row, _, logs = trained(model, tokenizer, tmp_path, **options)
    told = [log["torl/loss_nll"] for log in logs if "torl/loss_nll" in log]
    assert told == [row["loss_nll"]]


def test_a_critic_learns_from_groups_of_equal_rewards(model, tokenizer, tmp_path, caplog):
    rows = [*BATCH[4:], *(replace(t, reward=-1.0) for t in BATCH[4:])]
    rows = [replace(t, turns=(replace(t.turns[0], reward=t.reward),)) for t in rows]
    row, _, _ = trained(model, tokenizer, tmp_path, rows, algorithm=PPO())
    assert row["frac_reward_zero_std"] == 1
    assert row["grad_norm"] > 0
    assert "teaches nothing" not in caplog.text


def test_lost_rows_are_no_difference_of_rewards(model, tokenizer, tmp_path):
    rows = [BATCH[0], *(replace(t, scorable=False) for t in BATCH[1:4]), *BATCH[4:]]
    row, _, _ = trained(model, tokenizer, tmp_path, rows)
    assert row["grad_norm"] == 0
    assert row["frac_reward_zero_std"] == 1


@pytest.mark.parametrize("micro_batch", [8, 1])
def test_likelihood_counts_right_answers_without_an_id_of_high_entropy(
    model, tokenizer, tmp_path, micro_batch
):
    told = []
    for top in (1.0, 0.05):
        algorithm = GRPO(loss=Loss(nll=0.5, entropy_top=top))
        options = {"algorithm": algorithm, "micro_batch": micro_batch}
        told.append(trained(model, tokenizer, tmp_path / str(top), **options)[0]["loss_nll"])
    assert told[0] > 0
    assert told[1] == pytest.approx(told[0], rel=1e-4)
