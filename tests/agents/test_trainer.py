"""The trainer's own parts: micro-batches change no gradient, observations get none."""

import copy

import pytest
import torch

from agents.core.algorithm import Loss
from agents.core.runs import Run
from agents.core.trainer import RLTrainer, micro_batches
from agents.core.training import Training
from agents.core.types import Trajectory, Turn
from agents.grpo import GRPO
from torl_env.problems.types import Problem

PROBLEMS = [Problem(f"p{i}", f"Q{i}", str(i)) for i in range(2)]


def trajectory(prompt, ids, mask, reward, *, scorable=True):
    turn = Turn("x", "", 0, len(ids), "final", "", "", reward)
    return Trajectory(
        problem_id="p",
        prompt_ids=prompt,
        ids=ids,
        loss_mask=mask,
        logprobs=[0.0] * len(ids),
        turns=(turn,),
        reward=reward,
        verdict="correct" if reward > 0 else "wrong",
        answer="",
        tool_calls=0,
        tool_errors=0,
        stop_reason="final",
        truncated=False,
        scorable=scorable,
    )


BATCH = [
    trajectory((5, 6, 7), (10, 11, 12, 13, 0), (1, 1, 0, 0, 1), 1.0),
    trajectory((5, 6, 7), (14, 15, 0), (1, 1, 1), -1.0),
    trajectory((5, 6, 7), (16, 17, 18, 19, 20, 21, 0), (1, 0, 0, 1, 1, 1, 1), -1.0),
    trajectory((5, 6, 7), (22, 0), (1, 1), 1.0),
    trajectory((8,), (23, 24, 0), (1, 1, 1), 1.0),
    trajectory((8,), (25, 26, 27, 0), (1, 1, 1, 1), 1.0),
    trajectory((8,), (28, 0), (1, 1), 1.0),
    trajectory((8,), (29, 30, 0), (1, 1, 1), 1.0),
]


class FixedActor:
    def __init__(self, rows):
        self.rows = rows

    def sync(self, model):
        pass

    def collect(self, problems, group_size, seed):
        return self.rows


def one_step(model, tokenizer, path, rows=BATCH, micro_batch=8, algorithm=None):
    """Weights after one step from `model`, which stays as it is."""
    trained = copy.deepcopy(model)
    trainer = RLTrainer(
        model=trained,
        tokenizer=tokenizer,
        algorithm=algorithm or GRPO(group_size=4),
        training=Training(
            steps=1,
            prompts_per_step=2,
            group_size=4,
            learning_rate=1e-2,
            micro_batch=micro_batch,
            bf16=False,
        ),
        problems=PROBLEMS,
        actor=FixedActor(rows),
        run=Run(path),
    )
    trainer.train()
    grad_norm = trainer.state.log_history[0]["grad_norm"]
    return {n: p.detach().clone() for n, p in trained.named_parameters()}, grad_norm


def same(a, b, tolerance=2e-4):
    return all(torch.allclose(a[name], b[name], atol=tolerance) for name in a)


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
    loud, _ = one_step(model, tokenizer, tmp_path / "b", algorithm=Loud(group_size=4))
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


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="9 rows must be a multiple of micro_batch = 2"):
        Training(prompts_per_step=3, group_size=3, micro_batch=2)
    with pytest.raises(ValueError, match="clip_low"):
        Loss(clip_low=0.0)
    with pytest.raises(ValueError, match="group of one"):
        GRPO(group_size=1)
