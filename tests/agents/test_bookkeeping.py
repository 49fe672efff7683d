"""What surrounds an update: state that resumes, denominators, logged numbers, seeds, devices."""

import copy
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
import transformers
from one_step import BATCH, PROBLEMS, FixedSampler, log_likelihood, norm_of, one_step, trainer_of

from agents.core.algorithm import Algorithm, Group
from agents.core.loss import Loss
from agents.core.policies.vllm import VLLMPolicy
from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy, tiny_model
from agents.core.trainer import distributed
from agents.core.trainer.options import TrainingError
from agents.core.types import Sampling
from agents.grpo import GRPO
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.problems.types import Problem


@dataclass(slots=True)
class Running(Algorithm):
    """A baseline that remembers, in plain fields alone."""

    decay: float = 0.5
    baseline: float | None = None
    steps: int = 0

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        rows = [t for group in groups for t in group]
        mean = sum(t.reward for t in rows) / len(rows)
        before = mean - 1.0 if self.baseline is None else self.baseline
        self.baseline = self.decay * before + (1 - self.decay) * mean
        self.steps += 1
        return [[t.reward - before] * len(t.ids) for t in rows]


def test_state_of_an_algorithm_resumes(model, tokenizer, tmp_path):
    """Its running baseline was lost: the resumed run went on as another one."""

    def train(path, algorithm, steps, checkpoint=None):
        trained = copy.deepcopy(model)
        options = {"steps": steps, "save_every": 1, "problems": PROBLEMS * 3}
        trainer = trainer_of(trained, tokenizer, path, algorithm=algorithm, **options)
        trainer.train(resume_from_checkpoint=checkpoint)
        return trained

    whole, killed, resumed = Running(), Running(), Running()
    expected = train(tmp_path / "whole", whole, 3)
    train(tmp_path / "killed", killed, 2)
    found = train(tmp_path / "killed", resumed, 3, str(tmp_path / "killed" / "checkpoint-2"))
    assert (resumed.steps, resumed.baseline) == (3, whole.baseline)
    pairs = zip(expected.parameters(), found.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


FAULTY = {
    "a row short": (lambda rows: rows[:-1], "each of 8 trajectories, got 7"),
    "an id short": (lambda rows: [rows[0][:-1], *rows[1:]], "number 0, a number for each of its"),
    "one number a row": (lambda rows: [row[0] for row in rows], r"ids, got -?1\.0"),
    "nothing": (lambda rows: None, "trajectories, got None"),
    "no number": (lambda rows: [[math.nan] * len(row) for row in rows], "not finite"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_credit_that_misses_ids_ends_the_training(model, tokenizer, tmp_path, fault):
    """What is not credited would teach nothing, and nobody would see it."""
    spoil, message = FAULTY[fault]

    class Faulty(Algorithm):
        def assign_credit(self, groups):
            return spoil([[t.reward] * len(t.ids) for group in groups for t in group])

    with pytest.raises(TrainingError, match=message):
        trainer_of(model, tokenizer, tmp_path, algorithm=Faulty(), steps=1).train()


def test_a_run_has_no_card_of_another_algorithm(model, tokenizer, tmp_path):
    """TRL's said of each that it was GRPO on the model "None"."""
    trainer_of(model, tokenizer, tmp_path, algorithm=Running(), steps=1, save_every=1).train()
    assert (tmp_path / "checkpoint-1").is_dir()
    assert not list(tmp_path.rglob("README.md"))


def test_a_frozen_algorithm_has_settings_and_no_state():
    changed = GRPO(baseline="leave_one_out")
    changed.load_state_dict(GRPO().state_dict())
    assert changed.baseline == "leave_one_out"


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_lost_rows_leave_the_mean_over_responses(model, tokenizer, tmp_path, micro_batch):
    """They teach nothing, and what the others teach is not divided by them."""
    rows = [*BATCH[:3], replace(BATCH[3], scorable=False), *BATCH[4:]]
    algorithm = GRPO(scale_by_std=False, loss=Loss(mean="sequence"))
    options = {"micro_batch": micro_batch, "algorithm": algorithm}
    _, norm = one_step(model, tokenizer, tmp_path, rows, **options)
    loss = 0.0
    for t, advantage in zip(rows, (4 / 3, -2 / 3, -2 / 3), strict=False):
        mask = torch.tensor(t.loss_mask)
        loss = loss - advantage * (log_likelihood(model, t) * mask).sum() / mask.sum() / 7
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_logged_entropy_is_over_all_sampled_ids(model, tokenizer, tmp_path, micro_batch):
    """Four of the eight rows teach nothing and are left out of the passes."""
    rows = [replace(t, logprobs=[-(i + 1.0) * m for m in t.loss_mask]) for i, t in enumerate(BATCH)]
    one_step(model, tokenizer, tmp_path, rows, micro_batch=micro_batch)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    total = sum((i + 1) * sum(t.loss_mask) for i, t in enumerate(BATCH))
    assert row["entropy"] == pytest.approx(total / sum(sum(t.loss_mask) for t in BATCH))


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_the_mismatch_with_another_sampler_is_over_all_sampled_ids(
    model, tokenizer, tmp_path, micro_batch
):
    """Four of the eight rows teach nothing and are left out of the passes, not of this."""
    gaps = [0.01 * (i + 1) for i in range(len(BATCH))]
    rows = []
    for t, gap in zip(BATCH, gaps, strict=True):
        known = log_likelihood(model, t).tolist()
        rows.append(
            replace(t, logprobs=[(p - gap) * m for p, m in zip(known, t.loss_mask, strict=True)])
        )
    sizes = {"micro_batch": micro_batch, "importance_cap": 1.055}
    trainer = trainer_of(copy.deepcopy(model), tokenizer, tmp_path, rows, **sizes)
    # As TRL is where vLLM samples.
    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = SimpleNamespace(sync_weights=lambda: None)
    trainer.train()
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    count = [sum(t.loss_mask) for t in BATCH]
    mean = sum(g * n for g, n in zip(gaps, count, strict=True)) / sum(count)
    assert row["logprob_mismatch"] == pytest.approx(mean, rel=1e-3)
    ratios = [math.exp(g) for g in gaps]
    assert row["importance_ratio_min"] == pytest.approx(min(ratios), rel=1e-3)
    assert row["importance_ratio_max"] == pytest.approx(max(ratios), rel=1e-3), "before the cap"
    mean = sum(r * n for r, n in zip(ratios, count, strict=True)) / sum(count)
    assert row["importance_ratio_mean"] == pytest.approx(mean, rel=1e-3)
    beyond = sum(n for g, n in zip(gaps, count, strict=True) if math.exp(g) > 1.055) / sum(count)
    assert row["importance_truncated"] == pytest.approx(beyond)


def test_the_distance_to_the_start_is_plain_k3(model, tokenizer, tmp_path):
    """TRL would weight it by the importance ratio, which is another estimator."""
    model.save_pretrained(tmp_path / "start")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "start").eval()
    options = {"algorithm": GRPO(loss=Loss(kl=0.5)), "epochs": 3, "learning_rate": 0.05}
    weights, _ = one_step(model, tokenizer, tmp_path / "a", **options)
    trained = copy.deepcopy(model)
    trainer = trainer_of(trained, tokenizer, tmp_path / "b", **options)
    trainer.args.use_bias_correction_kl = True
    trainer.train()
    weighted = dict(trained.named_parameters())
    assert not all(torch.allclose(weights[n], weighted[n], atol=1e-6) for n in weights)


def test_dynamic_sampling_takes_problems_that_the_schedule_lacks(model, tokenizer, tmp_path):
    """Problems of later steps would come twice; behind the schedule each step has its own."""

    class Sampler(FixedSampler):
        asked = ()

        def collect(self, problems, group_size, seed):
            self.asked = (*self.asked, [p.id for p in problems])
            return BATCH if len(problems) == 2 else BATCH[:4]

    sampler = Sampler(BATCH)
    problems = [Problem(f"p{i}", f"Q{i}", "") for i in range(8)]
    options = {"steps": 2, "problems": problems, "algorithm": GRPO(resample=1)}
    one_step(model, tokenizer, tmp_path, sampler=sampler, **options)
    assert sampler.asked == (["p0", "p1"], ["p4"], ["p2", "p3"], ["p6"])


def test_a_problem_that_comes_twice_is_sampled_twice(tokenizer, sandbox):
    class Watching(ScriptedPolicy):
        def open(self, starts, how):
            self.seeds = [start.seed for start in starts]
            super().open(starts, how)

    policy = Watching(tokenizer, lambda row, turn: "\\boxed{1}", closes_tool_call)
    rollout = Rollout(
        policy,
        PlainPrompt(tokenizer, "{question}"),
        envs_over(sandbox=sandbox, tool_budget=0, max_turns=2),
        Sampling(max_tokens=20),
    )
    one, two = Problem("one", "1?", "1"), Problem("two", "2?", "2")
    rollout.collect([one, two, one], 2, seed=3)
    assert len(set(policy.seeds)) == 6
    first = policy.seeds[:2]
    rollout.collect([one], 2, seed=3)
    assert policy.seeds == first, "a row samples the same whatever else is in the batch"


def test_output_that_does_not_fit_is_in_no_record(tokenizer, sandbox):
    """The ids end behind the call, so the transcript shows no output there."""
    call = "```python\nprint(7)\n```"
    policy = ScriptedPolicy(tokenizer, lambda row, turn: call, closes_tool_call)
    rollout = Rollout(
        policy,
        PlainPrompt(tokenizer, "{question}"),
        envs_over(sandbox=sandbox, tool_budget=1, max_turns=2),
        Sampling(max_tokens=len(tokenizer.encode(call)) + 5),
    )
    (found,) = rollout.collect([Problem("p", "?", "7")], 1, seed=0)
    assert found.turns[0].tool_status == "ok"
    assert tokenizer.decode(list(found.ids)) == found.response == call
    assert sum(found.loss_mask) == len(found.ids)


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_absolute_positions_do_not_depend_on_padding(tokenizer, tmp_path, micro_batch, monkeypatch):
    """On TRL's path, where several processes or GPUs train, prompts are padded on the left."""
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = tiny_model(tokenizer, spread=0.3, family="GPT2", **shape, **no_dropout)
    rows = [replace(t, prompt_ids=(9,) * (1 + 3 * (i % 4))) for i, t in enumerate(BATCH)]
    monkeypatch.setattr("agents.core.trainer.scoring.own_logprobs", lambda *_: False)
    algorithm = GRPO(scale_by_std=False)
    _, norm = one_step(
        model, tokenizer, tmp_path, rows, micro_batch=micro_batch, algorithm=algorithm
    )
    tokens = sum(sum(t.loss_mask) for t in rows)
    loss = 0.0
    for t in rows[:4]:
        loss = (
            loss - t.reward * (log_likelihood(model, t) * torch.tensor(t.loss_mask)).sum() / tokens
        )
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)


def test_a_process_by_itself_sees_one_gpu(monkeypatch):
    for before, after in ((None, "0"), ("3,4", "3"), ("", "")):
        if before is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
        distributed.one_device()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == after
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    distributed.one_device()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1", "a launcher has shared them out"


def test_rows_that_wait_for_a_slow_tool_are_left_behind_where_that_is_cheap():
    class Fast:
        overlaps = True

    def how(policy, **options):
        return Rollout(policy, None, None, Sampling(), **options).overlap

    assert VLLMPolicy.overlaps, "its kernels do not give the same bits twice in any case"
    assert (how(object()), how(Fast())) == (False, True)
    assert (how(Fast(), overlap=False), how(object(), overlap=True)) == (False, True)
