"""Passes cut by tokens: as many as fit, and the gradient of the whole batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_step import one_step, same, trajectory

from agents.core.loss import LOSSES, Loss
from agents.core.trainer.batch import to_tensors
from agents.core.trainer.options import Training
from agents.core.trainer.passes import by_tokens, loss_in_passes
from agents.grpo import GRPO
from agents.ppo import PPO


def batch_of(sizes):
    """Rows of (prompt, length of the prompt, length of the response)."""
    rows = [trajectory((p,) * n, tuple(range(10, 10 + m)), (1,) * m, 1.0) for p, n, m in sizes]
    return to_tensors(rows, [[float(i)] * len(t.ids) for i, t in enumerate(rows)], 0)


def rows_of(parts):
    return [int(credit) for part in parts for credit in part["advantages"].amax(1)]


def test_passes_hold_as_many_rows_as_fit():
    parts = by_tokens(batch_of([(5, 2, n) for n in (1, 1, 2, 2, 3, 4, 18, 28)]), 24)
    assert [len(p["advantages"]) for p in parts] == [4, 2, 1, 1]
    assert rows_of(parts) == list(range(8))


def test_a_shared_prompt_counts_once_a_pass():
    same_prompt = batch_of([(5, 10, 2)] * 4)
    assert [len(p["advantages"]) for p in by_tokens(same_prompt, 16, shared=True)] == [3, 1]
    two = batch_of([(5, 10, 2), (6, 10, 2), (6, 10, 2)])
    assert [len(p["advantages"]) for p in by_tokens(two, 26, shared=True)] == [3]
    assert [len(p["advantages"]) for p in by_tokens(two, 25, shared=True)] == [2, 1]


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 30)), min_size=1),
    st.integers(1, 90),
    st.booleans(),
    st.integers(0, 30),
)
def test_every_row_is_in_one_pass_and_processes_cut_between_the_same(sizes, most, shared, more):
    batch = batch_of(sizes)
    alone = by_tokens(batch, most, shared=shared)
    assert rows_of(alone) == list(range(len(sizes)))
    for part in alone:
        padded = part["prompt_ids"].numel() + part["completion_ids"].numel()
        assert shared or padded <= most or len(part["advantages"]) == 1
    other = batch_of([(p, n, max(1, (7 * m + more) % 30)) for p, n, m in sizes])

    def lengths_of(rows):
        masks = rows["prompt_mask"], rows["completion_mask"]
        return torch.cat([mask.sum(1) for mask in masks])

    def agree(lengths):
        return torch.maximum(lengths_of(batch), lengths_of(other)).tolist()

    if not shared:
        both = [by_tokens(rows, most, agree=agree) for rows in (batch, other)]
        counts = [[len(part["advantages"]) for part in parts] for parts in both]
        assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [
        (GRPO(), {}),
        (GRPO(loss=LOSSES["dr_grpo"]), {}),
        (GRPO(loss=Loss(mean="sequence", nll=0.5)), {"updates": 2}),
        (GRPO(loss=Loss(entropy=0.1)), {}),
        (GRPO(loss=LOSSES["gspo"]), {"epochs": 2}),
        (PPO(), {"epochs": 2}),
    ],
)
def test_the_update_is_that_of_the_whole_batch(model, tokenizer, tmp_path, algorithm, more):
    """Also of means over responses, of which a pass holds another share than its tokens."""
    options = {"algorithm": algorithm, "learning_rate": 1e-3, **more}
    whole, norm = one_step(model, tokenizer, tmp_path / "a", **options)
    cut, cut_norm = one_step(model, tokenizer, tmp_path / "b", micro_batch_tokens=22, **options)
    assert norm > 1e-3
    assert cut_norm == pytest.approx(norm, rel=1e-4)
    assert same(whole, cut, 2e-5)


def test_each_pass_but_the_last_is_gone_before_the_next():
    """What a pass keeps for its backward pass is freed: the point of cutting it."""
    weight = torch.ones(4, requires_grad=True)
    alive, most = set(), []

    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            alive.add(id(ctx))
            ctx.key = id(ctx)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            alive.discard(ctx.key)
            return 2 * ctx.saved_tensors[0] * grad

    class Accelerator:
        gradient_state = type("State", (), {"sync_gradients": True})()
        gradient_state._set_sync_gradients = lambda on: None
        no_sync = staticmethod(lambda model: torch.enable_grad())
        backward = staticmethod(torch.Tensor.backward)

    def loss_of(part, share):
        most.append(len(alive))
        return Keeps.apply(weight).sum() * share

    parts = [{"advantages": torch.zeros(n)} for n in (1, 2, 1)]
    loss_in_passes(parts, loss_of, Accelerator, None).backward()
    assert most == [0, 0, 0]
    assert torch.equal(weight.grad, torch.full((4,), 2.0))


def test_a_plan_and_a_scoring_pass_take_the_rows_that_fit():
    training = Training(prompts_per_step=8, group_size=8, micro_batch_tokens=4000)
    assert (training.pass_rows(), training.passes()) == (64, 1)
    assert [training.rows_at_once(n) for n in (100, 1000, 9000)] == [40, 4, 1]
