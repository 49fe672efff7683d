"""The trainer's own parts: micro-batches change no gradient, observations get none."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from one_step import (
    BATCH,
    PROBLEMS,
    FixedSampler,
    log_likelihood,
    norm_of,
    one_step,
    same,
    trainer_of,
    trajectory,
)

from agents.core.loss import Loss
from agents.core.rollout.engine import Rollout
from agents.core.testing.tiny import tiny_model
from agents.core.trainer.batch import micro_batches
from agents.core.trainer.options import Training, TrainingError
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling
from agents.grpo import GRPO
from torl_env.problems.types import Problem


def test_packing_and_order_change_no_update(model, tokenizer, tmp_path):
    """ToRL's released loss depended on how sequences were packed into micro-batches."""
    whole, norm = one_step(model, tokenizer, tmp_path / "a")
    split, split_norm = one_step(model, tokenizer, tmp_path / "b", micro_batch=2)
    order = [3, 1, 0, 2, 6, 7, 5, 4]
    turned, turned_norm = one_step(model, tokenizer, tmp_path / "c", [BATCH[i] for i in order])
    assert norm > 1e-3
    assert split_norm == pytest.approx(norm, rel=1e-4)
    assert turned_norm == pytest.approx(norm, rel=1e-4)
    assert same(whole, split)
    assert same(whole, turned)


def test_the_update_is_the_hand_made_one(model, tokenizer, tmp_path):
    """-sum(A * logp * mask) / tokens: the clipped loss at ratio 1, over all sampled tokens."""
    _, norm = one_step(model, tokenizer, tmp_path)
    # Group 1: rewards 1, -1, -1, 1, mean 0, unbiased std sqrt(4/3); group 2: all equal, so 0.
    advantage = 1 / (4 / 3) ** 0.5
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    loss = 0.0
    for t in BATCH[:4]:
        logits = model(torch.tensor([[*t.prompt_ids, *t.ids]])).logits[
            0, len(t.prompt_ids) - 1 : -1
        ]
        logp = torch.log_softmax(logits, -1).gather(-1, torch.tensor(t.ids)[:, None]).squeeze(-1)
        loss = loss - t.reward * advantage * (logp * torch.tensor(t.loss_mask)).sum() / tokens
    loss.backward()
    expected = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    assert norm == pytest.approx(expected.item(), rel=1e-3)


def test_observation_tokens_get_no_gradient(model, tokenizer, tmp_path):
    """Credit on an observation id is ignored: the gradient at its logits is exactly zero."""

    class Loud(GRPO):
        def assign_credit(self, groups):
            credit = super().assign_credit(groups)
            for row, t in zip(credit, [t for g in groups for t in g], strict=True):
                for i, sampled in enumerate(t.loss_mask):
                    row[i] += 0.0 if sampled else 1e6
            return credit

    quiet, _ = one_step(model, tokenizer, tmp_path / "a")
    loud, _ = one_step(model, tokenizer, tmp_path / "b", algorithm=Loud())
    assert all(torch.equal(quiet[name], loud[name]) for name in quiet)


def test_a_fault_of_the_machine_teaches_nothing(model, tokenizer, tmp_path):
    """The row leaves no trace: another reward and other text in it give the same update."""
    faults = [
        trajectory((5, 6, 7), (31, 32, 0), (1, 1, 1), reward, scorable=False)
        for reward in (-1.0, 1.0)
    ]
    faults[1] = trajectory((5, 6, 7), (40, 41, 42, 43, 0), (1,) * 5, 1.0, scorable=False)
    first, norm = one_step(model, tokenizer, tmp_path / "a", [*BATCH[:3], faults[0], *BATCH[4:]])
    second, other = one_step(model, tokenizer, tmp_path / "b", [*BATCH[:3], faults[1], *BATCH[4:]])
    assert norm == pytest.approx(other, rel=1e-5)
    assert same(first, second, 1e-6)


def test_all_groups_equal_is_a_step_without_gradient(model, tokenizer, tmp_path):
    _, norm = one_step(model, tokenizer, tmp_path, [*BATCH[4:], *BATCH[4:]])
    assert norm == 0.0


def test_micro_batches_keep_every_row_that_moves_the_policy():
    rows = torch.arange(8)
    mask = torch.ones(8, 5, dtype=torch.long)
    advantages = torch.zeros(8, 5)
    advantages[[1, 4, 6]] = 1.0
    batch = {
        "prompt_ids": rows[:, None].repeat(1, 3),
        "prompt_mask": torch.ones(8, 3, dtype=torch.long),
        "completion_ids": rows[:, None].repeat(1, 5),
        "completion_mask": mask,
        "advantages": advantages,
        "num_items_in_batch": torch.tensor(40),
    }
    parts = micro_batches(batch, 2, keep_all=False)
    kept = torch.cat([part["completion_ids"][:, 0] for part in parts]).tolist()
    assert sorted(kept) == [1, 4, 6]
    assert sum(len(part["advantages"]) for part in micro_batches(batch, 2, keep_all=True)) == 8


def mean_of_responses(model, rows, advantages):
    """The gradient norm of -mean over responses of the mean over their ids, by hand."""
    loss = 0.0
    for t, advantage in zip(rows, advantages, strict=True):
        logp = log_likelihood(model, t)
        mask = torch.tensor(t.loss_mask)
        loss = loss - advantage * (logp * mask).sum() / mask.sum() / len(rows)
    return norm_of(model, loss)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_the_mean_over_responses_is_the_hand_made_one(model, tokenizer, tmp_path, micro_batch):
    """Rows without advantage are part of that mean, and so is a row of one id."""
    algorithm = GRPO(loss=Loss(mean="sequence"))
    _, norm = one_step(model, tokenizer, tmp_path, micro_batch=micro_batch, algorithm=algorithm)
    advantages = [t.reward / (4 / 3) ** 0.5 for t in BATCH[:4]] + [0.0] * 4
    assert norm == pytest.approx(mean_of_responses(model, BATCH, advantages), rel=1e-3)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_likelihood_of_positive_samples_is_the_hand_made_one(
    model, tokenizer, tmp_path, micro_batch
):
    algorithm = GRPO(loss=Loss(nll=0.5))
    _, norm = one_step(model, tokenizer, tmp_path, micro_batch=micro_batch, algorithm=algorithm)
    positive = [t for t in BATCH[:4] if t.reward > 0]
    count = sum(sum(t.loss_mask) for t in positive)
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    loss = 0.0
    for t in BATCH[:4]:
        logp = (log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum()
        loss = loss - t.reward / (4 / 3) ** 0.5 * logp / tokens
        loss = loss - (0.5 * logp / count if t.reward > 0 else 0.0)
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    nll = -sum((log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum() for t in positive)
    assert row["loss_nll"] == pytest.approx((0.5 * nll / count).item(), rel=1e-3)


def test_the_divided_batch_takes_as_many_steps_and_writes_one_line(model, tokenizer, tmp_path):
    options = {"updates": 2, "epochs": 2, "micro_batch": 2}
    divided, _ = one_step(model, tokenizer, tmp_path / "a", **options)
    whole, _ = one_step(model, tokenizer, tmp_path / "b")
    assert not same(divided, whole)
    assert len((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "a" / "checkpoint-4" / "complete").exists()
    row = json.loads((tmp_path / "a" / "metrics.jsonl").read_text())
    assert row["step"] == 1
    assert row["clip_ratio"] > 0


def test_groups_without_signal_are_replaced(model, tokenizer, tmp_path):
    """Of the two groups the second teaches nothing; the one problem left is tried in its place."""

    class Sampler(FixedSampler):
        asked = ()

        def collect(self, problems, group_size, seed):
            self.asked = (*self.asked, [p.id for p in problems])
            return BATCH if len(problems) == 2 else [replace(t, problem_id="p2") for t in BATCH[:4]]

    sampler = Sampler(BATCH)
    problems = [*PROBLEMS, Problem("p2", "Q2", "2")]
    algorithm = GRPO(resample=3)
    one_step(model, tokenizer, tmp_path, sampler=sampler, algorithm=algorithm, problems=problems)
    assert sampler.asked == (["p0", "p1"], ["p2"])
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert (row["groups_resampled"], row["groups_zero_variance"], row["frac_reward_zero_std"]) == (
        1,
        0,
        0.0,
    )


def test_extra_terms_add_up_over_micro_batches(model, tokenizer, tmp_path):
    """A user's own term, here the entropy-like mean of the log-probabilities."""

    class Mine(GRPO):
        def prepare(self, batch):
            assert batch.input_ids.shape[0] == len(batch.trajectories) == 8
            return {"twice": 2 * batch.mask}

        def extra_loss(self, batch):
            assert torch.equal(batch.prepared["twice"], 2 * batch.mask)
            return {"mine": batch.mean(batch.logprobs)}

    norms = []
    for micro_batch in (8, 2):
        path = tmp_path / str(micro_batch)
        _, norm = one_step(model, tokenizer, path, micro_batch=micro_batch, algorithm=Mine())
        norms.append((norm, json.loads((path / "metrics.jsonl").read_text())["loss_mine"]))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    total = sum((log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum() for t in BATCH)
    assert norms[0][1] == pytest.approx((total / tokens).item(), rel=1e-4)


def test_a_step_in_which_everything_was_lost_stops_the_run(model, tokenizer, tmp_path):
    lost = [replace(t, scorable=False, infra_error="the machine is on fire") for t in BATCH]
    with pytest.raises(TrainingError, match="all 8 episodes of step 1 were lost: the machine"):
        one_step(model, tokenizer, tmp_path, lost)


def test_a_loss_that_is_no_number_stops_the_run(model, tokenizer, tmp_path):
    class Broken(GRPO):
        def extra_loss(self, batch):
            return {"broken": batch.mean(batch.logprobs * float("nan"))}

    with pytest.raises(TrainingError, match="the loss of step 1 is nan: expected a finite number"):
        one_step(model, tokenizer, tmp_path, algorithm=Broken())


def test_a_gradient_that_is_no_number_leaves_no_checkpoint(model, tokenizer, tmp_path):
    """The loss is finite, its gradient is not: 0 * d sqrt(x)/dx at x = 0."""

    class Steep(GRPO):
        def extra_loss(self, batch):
            return {"steep": batch.mean((batch.logprobs * 0.0).sqrt() * 0.0)}

    with pytest.raises(TrainingError, match="the gradient's norm of step 1 is nan"):
        one_step(model, tokenizer, tmp_path, algorithm=Steep())
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_step_that_teaches_nothing_is_told(model, tokenizer, tmp_path, caplog):
    one_step(model, tokenizer, tmp_path, [*BATCH[4:], *BATCH[4:]])
    assert "step 1 teaches nothing: in each of its groups all rewards are equal, 1" in caplog.text
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["frac_reward_zero_std"] == 1.0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("can't allocate memory: you tried"),
    ],
)
def test_too_little_memory_for_sampling_names_the_options(model, tokenizer, tmp_path, error):
    class Large(FixedSampler):
        def collect(self, problems, group_size, seed):
            raise error

    with pytest.raises(TrainingError, match=r"step 1 was sampled, 8 rows .* --prompts, --group or"):
        one_step(model, tokenizer, tmp_path, sampler=Large(BATCH))


def test_too_little_memory_names_the_option(model, tokenizer, tmp_path):
    class Greedy(GRPO):
        def extra_loss(self, batch):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match=r"in step 1 with 8 rows \(--micro-batch\) a pass"):
        one_step(model, tokenizer, tmp_path, algorithm=Greedy())


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="16 rows cannot be divided among 3 updates"):
        Training(prompts_per_step=2, group_size=8, updates=3)
    with pytest.raises(ValueError, match="updates and epochs must be at least 1"):
        Training(epochs=0)
    with pytest.raises(ValueError, match="importance_mode is one of token_truncate, token_mask"):
        Training(importance_mode="word")


@pytest.mark.parametrize(
    ("prompts", "group", "micro_batch", "updates", "rows"),
    [(8, 8, 16, 1, 16), (3, 3, 2, 1, 1), (3, 8, 16, 1, 12), (2, 8, 16, 2, 8), (5, 7, 16, 1, 7)],
)
def test_a_pass_has_rows_that_divide_the_batch(prompts, group, micro_batch, updates, rows):
    sizes = Training(
        prompts_per_step=prompts, group_size=group, micro_batch=micro_batch, updates=updates
    )
    assert sizes.pass_rows() == rows
    assert sizes.passes() * rows == prompts * group


def test_a_group_of_one_is_refused_where_samples_are_compared(model, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="group_size of at least 2, got 1"):
        trainer_of(model, tokenizer, tmp_path, group_size=1)


def test_every_rollout_is_sampled_with_the_weights_of_the_moment(model, tokenizer, tmp_path):
    seen = []

    class Watching(CopySampler):
        def collect(self, problems, group_size, seed):
            seen.append([p.detach().clone() for p in mine.parameters()])
            return BATCH

    trained, mine = copy.deepcopy(model), tiny_model(tokenizer)
    sampler = Watching(Rollout(None, None, None, Sampling()), mine)
    trainer_of(
        trained, tokenizer, tmp_path, sampler=sampler, problems=PROBLEMS * 2, steps=2
    ).train()
    first, second = seen
    assert all(map(torch.equal, first, model.parameters()))
    assert not all(map(torch.equal, first, second))
    sampler.sync(trained)
    assert all(map(torch.equal, mine.parameters(), trained.parameters()))
