"""PPO: its advantages against a slow loop of their definition, its critic inside the trainer."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_step import BATCH, FixedSampler, log_likelihood, one_step, same, trainer_of, trajectory

from agents.core.loss import Loss
from agents.core.losses import clipped_value_error
from agents.core.types import Turn
from agents.ppo import PPO
from agents.ppo.critic import Critic
from agents.ppo.gae import gae, lambdas, step_rewards, whitened


def slow_gae(rewards, values, gamma, lam):
    """sum over l of (gamma lam)^l delta_{t+l} along a list, straight from the definition."""
    deltas = []
    for t, (reward, value) in enumerate(zip(rewards, values, strict=True)):
        after = values[t + 1] if t + 1 < len(values) else 0.0
        deltas.append(reward + gamma * after - value)
    return [
        sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(deltas)))
        for t in range(len(deltas))
    ]


numbers = st.floats(-2, 2, width=32)
unit = st.floats(0, 1, width=32)


@settings(max_examples=60)
@given(st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1, max_size=12), unit, unit)
def test_advantages_are_those_of_the_sampled_ids_alone(row, gamma, lam):
    rewards, values, sampled = zip(*row, strict=True)
    computed = gae(
        torch.tensor([rewards]),
        torch.tensor([values]),
        torch.tensor([sampled]).float(),
        gamma,
        torch.tensor([lam]),
    )[0].tolist()
    kept = [i for i, is_sampled in enumerate(sampled) if is_sampled]
    expected = slow_gae([rewards[i] for i in kept], [values[i] for i in kept], gamma, lam)
    assert [computed[i] for i in kept] == pytest.approx(expected, abs=1e-4)
    assert all(computed[i] == 0 for i in range(len(row)) if i not in kept)


def test_a_worked_example():
    """One reward of 1 at the end, values 1/2, 1/4: deltas -1/4, 3/4; lambda 1/2 gives 1/8, 3/4."""
    computed = gae(
        torch.tensor([[0.0, 1.0]]),
        torch.tensor([[0.5, 0.25]]),
        torch.ones(1, 2),
        1.0,
        torch.tensor([0.5]),
    )
    assert computed.tolist() == [[0.125, 0.75]]


def test_lambda_grows_with_the_sampled_length_only():
    mask = torch.zeros(2, 50)
    mask[0, :40] = 1
    mask[1, ::5] = 1
    assert lambdas(mask, 0.9, 0.05).tolist() == pytest.approx([0.5, 0.0])
    assert lambdas(mask, 0.9, None).tolist() == pytest.approx([0.9, 0.9])


def test_the_reward_of_a_step_is_paid_at_its_last_sampled_id():
    turns = (
        Turn("a", "obs", 0, 2, "tool", "ok", "", 0.5),
        Turn("b", "", 4, 5, "final", "", "", 1.0),
        Turn("", "", 5, 5, "cut", "", "", -0.25),
    )
    row = trajectory((1,), (2, 3, 4, 5, 0), (1, 1, 0, 0, 1), 0.0, turns=turns)
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0, 0.0]])
    assert step_rewards([row], mask).tolist() == [[0, 0.5, 0, 0, 0.75, 0]]
    # A filter drops a turn from what is learned, not from what is paid.
    mask[0, 4] = 0
    assert step_rewards([row], mask).tolist() == [[0, 1.25, 0, 0, 0, 0]]
    mask[0, :2] = 0
    mask[0, 4] = 1
    assert step_rewards([row], mask).tolist() == [[0, 0, 0, 0, 0.75, 0]], "nothing led there"


def test_what_a_dropped_turn_is_paid_is_answered_for_by_the_turn_before(model, tokenizer, tmp_path):
    """An episode that ends in a void turn is worse than nothing, if that turn learns or not."""
    seen = []

    class Watched(PPO):
        def prepare(self, batch):
            seen.append(PPO.prepare(self, batch)["advantages"])
            return {"advantages": seen[-1], **PPO.prepare(self, batch)}

    void = replace(
        BATCH[0],
        turns=(
            Turn("a", "obs", 0, 2, "tool", "ok", "", 0.0),
            Turn(" ", "", 4, 5, "final", "", "", -1.0),
        ),
        reward=-1.0,
        verdict="no_answer",
    )
    algorithm = Watched(whiten=False, policy_lambda=1.0, loss=Loss(drop=("void_turns",)))
    one_step(model, tokenizer, tmp_path, [void, *BATCH[1:]], algorithm=algorithm)
    assert seen[0][0, :2].tolist() == pytest.approx([-1.0, -1.0])
    assert not seen[0][0, 2:].any()


def test_whitening_sees_sampled_ids_only():
    mask = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    computed = whitened(torch.tensor([[1.0, 99.0, 2.0, 3.0]]), mask)
    assert computed.tolist() == [pytest.approx([-1.0, 0.0, 0.0, 1.0])]


def test_a_clipped_value_profits_no_more():
    value = torch.tensor([[0.9]], requires_grad=True)
    clipped_value_error(value, torch.tensor([[0.0]]), torch.tensor([[1.0]]), 0.5).sum().backward()
    assert value.grad.item() == 0.0


def test_the_first_step_by_hand(model, tokenizer, tmp_path):
    """Values start at 0, so with lambda 1 the advantage of each id is the reward to come."""
    _, norm = one_step(model, tokenizer, tmp_path, algorithm=PPO(whiten=False, value_weight=0.0))
    tokens = sum(sum(t.loss_mask) for t in BATCH)
    loss = 0.0
    for t in BATCH:
        loss = loss - t.reward * (log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum()
    (loss / tokens).backward()
    expected = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item()
    assert norm == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("critic", ["head", "model"])
def test_packing_changes_no_update(model, tokenizer, tmp_path, critic):
    algorithm = PPO(critic=critic, value_clip=None)
    whole, norm = one_step(model, tokenizer, tmp_path / "a", algorithm=algorithm)
    split, other = one_step(model, tokenizer, tmp_path / "b", algorithm=algorithm, micro_batch=2)
    assert norm == pytest.approx(other, rel=1e-3)
    assert same(whole, split)
    computed = [
        json.loads((tmp_path / x / "metrics.jsonl").read_text())["loss_value"] for x in "ab"
    ]
    assert computed[0] == pytest.approx(computed[1], rel=1e-4)


def test_the_critic_learns_and_is_saved(model, tokenizer, tmp_path):
    algorithm = PPO(value_clip=None, critic_learning_rate=0.05)
    trainer = trainer_of(model, tokenizer, tmp_path, algorithm=algorithm, steps=8)
    trainer.train()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss_value"] < 0.5 * rows[0]["loss_value"]
    again = trainer_of(model, tokenizer, tmp_path, algorithm=algorithm, steps=8)
    head = trainer.auxiliary.module.head.weight
    assert not torch.equal(again.auxiliary.module.head.weight, head)
    again.auxiliary.load(tmp_path / "checkpoint-8")
    assert torch.equal(again.auxiliary.module.head.weight, head)


def test_a_policy_checkpoint_holds_no_critic(model, tokenizer, tmp_path):
    from safetensors import safe_open

    one_step(model, tokenizer, tmp_path, algorithm=PPO(critic="model", kl_penalty=0.1))
    with safe_open(tmp_path / "checkpoint-1" / "model.safetensors", "pt") as file:
        assert not [key for key in file.keys() if not key.startswith("model.")]  # noqa: SIM118
    saved = torch.load(tmp_path / "checkpoint-1" / "auxiliary_module.pt", weights_only=True)
    assert {name.split(".")[0] for name in saved["module"]} == {"head", "trunk"}


def test_the_penalty_is_paid_per_token_for_moving_away(model, tokenizer):
    """What the sampler claims, here log-probability 0, is no distance from the starting policy."""
    from agents.core.trainer.batch import Batch, joined, to_tensors

    critic = Critic(model, own_trunk=False, keep_reference=True)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    rows = BATCH[:2]
    tensors = to_tensors(rows, [[0.0] * len(t.ids) for t in rows], tokenizer.pad_token_id)
    ids, attention = joined(tensors)
    mask = (tensors["completion_mask"] * tensors["tool_mask"]).float()
    batch = Batch(
        ids, attention, mask, mask * 0, 1.0, auxiliary=critic, model=model, trajectories=rows
    )
    with torch.no_grad():
        computed = PPO(kl_penalty=0.5, whiten=False, policy_lambda=0.0).prepare(batch)["advantages"]
        for row, t in enumerate(rows):
            gap = log_likelihood(model, t) - log_likelihood(start, t)
            assert gap.abs().max() > 0.1
            expected = -0.5 * gap * torch.tensor(t.loss_mask)
            expected[-1] += t.reward
            assert computed[row, : len(t.ids)].tolist() == pytest.approx(
                expected.tolist(), abs=1e-4
            )


def test_the_actor_is_asked_once_for_all_passes_over_a_batch(model, tokenizer, tmp_path):
    class Counting(FixedSampler):
        asked = 0

        def collect(self, problems, group_size, seed):
            self.asked += 1
            return self.rows

    sampler = Counting(BATCH)
    one_step(
        *(model, tokenizer, tmp_path),
        algorithm=PPO(),
        sampler=sampler,
        updates=2,
        epochs=2,
        micro_batch=4,
    )
    assert sampler.asked == 1
