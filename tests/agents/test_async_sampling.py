"""Sampling that goes on while the learner learns: versions, bounds, faults."""

import contextlib
import copy
import functools
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from async_run import STEPS, parts, stream, trainer_of
from one_step import BATCH, log_likelihood, norm_of, one_step
from one_step import trainer_of as synchronous

from agents.core.filters import learned_mask
from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.prompts import PlainPrompt
from agents.core.rollout.stream import Stream
from agents.core.run import transcripts
from agents.core.schedule import Schedule
from agents.core.testing.tiny import phrase_tokenizer, tiny_model
from agents.core.trainer.async_sampler import AsyncSampler, SamplerError, layout_of
from agents.core.trainer.options import Training, TrainingError, check
from agents.core.trainer.sampler_process import WeightBlock, size_of
from agents.core.types import Sampling
from agents.grpo import GRPO
from agents.ppo import PPO
from agents.thor import THOR
from torl.wiring import envs_over
from torl_env.problems.types import Problem
from torl_env.testing import children

SCRIPT = Path(__file__).with_name("async_run.py")


def moved(model, seed):
    """The model with other weights."""
    torch.manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return other


def assert_sampled_by_their_versions(rows, models):
    """Log-probabilities are those of the version named, by teacher forcing; -1 is not sampled."""
    for t in rows:
        assert len(t.policy_versions) == len(t.ids)
        by_version = {v: log_likelihood(m, t) for v, m in models.items()}
        for i, (version, sampled) in enumerate(zip(t.policy_versions, t.loss_mask, strict=True)):
            assert (version >= 0) == bool(sampled)
            if sampled:
                assert t.logprobs[i] == pytest.approx(by_version[version][i].item(), abs=1e-3)


@torch.no_grad()
def test_every_id_has_the_version_and_the_log_probability_of_the_weights_that_sampled_it(sandbox):
    """Weights change in the middle of turns, while tools run, and while groups join."""
    torch.manual_seed(1)
    tokenizer = phrase_tokenizer()
    model = tiny_model(tokenizer, spread=0.3)
    models = {version: moved(model, version) for version in range(6)}
    policy = TransformersPolicy(model, tokenizer, max_rows=12)
    envs = envs_over(sandbox=sandbox, tool_budget=2)
    rollout = Stream(policy, PlainPrompt(tokenizer, "{question}"), envs, Sampling(max_tokens=24))
    rollout.renew(models[0].named_parameters(), 0)
    ended, begun, passes, version = {}, 0, 0, 0
    while len(ended) < 8:
        # Groups join at different times; the last ones wait for room among 12 rows.
        if begun < 8 and passes % 3 == 0:
            rollout.begin(begun, Problem(f"p{begun}", "What is 6*7?", "42"), 4, seed=3)
            begun += 1
        found, done = rollout.step()
        ended |= dict(done)
        passes += found
        if version < 5 and passes >= 4 * (version + 1):
            version += 1
            rollout.renew(models[version].named_parameters(), version)
    rows = [t for key in sorted(ended) for t in ended[key]]
    assert [t.problem_id for t in rows] == [f"p{i}" for i in range(8) for _ in range(4)]
    assert_sampled_by_their_versions(rows, models)
    within = [set(t.policy_versions[u.start : u.end]) for t in rows for u in t.turns]
    assert any(len(versions) > 1 for versions in within)
    assert any(t.tool_calls for t in rows)
    assert rollout.live == 0


def test_synchronous_rows_have_no_versions_on_file():
    assert "policy_versions" not in BATCH[0].to_json()
    marked = replace(BATCH[0], policy_versions=(3, 3, -1, -1, 4))
    assert type(marked).from_json(marked.to_json()).policy_versions == (3, 3, -1, -1, 4)


def test_transcripts_keep_versions(tmp_path):
    marked = replace(BATCH[0], policy_versions=(3, 3, -1, -1, 4))
    transcripts.write(tmp_path, 1, 0, [marked, BATCH[1]])
    (_, first), (_, second) = transcripts.read(tmp_path)
    assert tuple(first.policy_versions) == (3, 3, -1, -1, 4)
    assert tuple(second.policy_versions) == ()


def test_weights_travel_as_they_are(model, tmp_path):
    layout = layout_of(model)
    with (tmp_path / "block").open("w+b") as file:
        file.truncate(size_of(layout))
        here, there = (WeightBlock(file.fileno(), layout) for _ in range(2))
    with torch.no_grad():
        for (_, mine), weight in zip(here, model.parameters(), strict=True):
            mine.copy_(weight)
    own = dict(model.named_parameters())
    assert {name for name, _ in there} == own.keys()
    assert all(torch.equal(weight, own[name]) for name, weight in there)


class Given(AsyncSampler):
    """Hands out given rows, as sampled by older weights; no process."""

    def __init__(self, rows):
        self.rows, self.open = rows, []

    def running(self):
        return contextlib.nullcontext()

    def publish(self, model, version):
        self.version = version

    def begin(self, problem, group_size, seed):
        self.open.append(problem)

    def take(self, count, late):
        del self.open[:count]
        size = len(self.rows) // count
        return [self.rows[i : i + size] for i in range(0, len(self.rows), size)]

    def waits(self):
        return {}

    def rest(self):
        pass

    @property
    def in_flight(self):
        return self.open


def stale_step(model, tokenizer, path, rows, **training):
    """The gradient's norm and metrics of one step on rows of older weights."""
    problems = [Problem(f"p{i}", f"Q{i}", str(i)) for i in range(8)]
    trainer = synchronous(
        copy.deepcopy(model), tokenizer, path, sampler=Given(rows), problems=problems,
        **{"staleness": 1, **training},
    )  # fmt: skip
    trainer.train()
    metrics = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    return trainer.state.log_history[0]["grad_norm"], metrics


def test_an_id_is_weighed_by_its_ratio_to_the_weights_that_sampled_it(model, tokenizer, tmp_path):
    """-A min(exp(logp - behaviour), 1.5), by hand; clipping is about the policy of this step."""
    gaps = [0.1, -0.1, 0.15, 0.5, 0.0, -0.05, 0.3, 0.05, -0.5]
    rows = []
    for number, t in enumerate(BATCH):
        with torch.no_grad():
            own = log_likelihood(model, t).tolist()
        shifted = [p + gaps[(number + i) % len(gaps)] for i, p in enumerate(own)]
        versions = [0 if sampled else -1 for sampled in t.loss_mask]
        rows.append(replace(t, logprobs=shifted, policy_versions=versions))
    norm, metrics = stale_step(model, tokenizer, tmp_path, rows, importance_cap=1.5)
    advantage, tokens, loss = 1 / (4 / 3) ** 0.5, sum(sum(t.loss_mask) for t in rows), 0.0
    for t in rows[:4]:
        logp = log_likelihood(model, t)
        weight = (logp.detach() - torch.tensor(t.logprobs)).exp().clamp(max=1.5)
        each = t.reward * advantage * weight * logp
        loss = loss - (each * torch.tensor(t.loss_mask)).sum() / tokens
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)
    assert metrics["clip_ratio"] == 0
    assert metrics["importance_ratio_max"] == pytest.approx(math.exp(0.5), rel=1e-3)
    assert metrics["importance_truncated"] > 0


def test_at_the_learners_own_version_the_step_is_the_synchronous_one(model, tokenizer, tmp_path):
    """Each ratio is 1, also with updates and passes after the first."""
    rows = []
    for t in BATCH:
        with torch.no_grad():
            own = log_likelihood(model, t).tolist()
        rows.append(replace(t, logprobs=own, policy_versions=[0 if m else -1 for m in t.loss_mask]))
    for name, more in (("once", {}), ("twice", {"epochs": 2})):
        norm, metrics = stale_step(model, tokenizer, tmp_path / name, rows, **more)
        _, expected = one_step(model, tokenizer, tmp_path / f"{name}-0", BATCH, **more)
        assert norm == pytest.approx(expected, rel=1e-3)
        assert metrics["importance_ratio_min"] == pytest.approx(1, abs=1e-3)
        assert metrics["importance_ratio_max"] == pytest.approx(1, abs=1e-3)


def test_ids_that_are_too_old_are_not_learned_from(model, tokenizer, tmp_path):
    """The bound holds in the loss whatever a sampler hands out."""
    t = replace(BATCH[0], policy_versions=(1, 1, -1, -1, 2))
    assert learned_mask(t) == [1, 1, 0, 0, 1]
    assert learned_mask(t, oldest=1) == [1, 1, 0, 0, 1]
    assert learned_mask(t, oldest=2) == [0, 0, 0, 0, 1]
    # In step 1 the learner has version 0: of staleness 1 even version -1 would do, -2 is too old.
    rows = [replace(r, policy_versions=[-2] * len(r.ids)) for r in BATCH]
    norm, metrics = stale_step(model, tokenizer, tmp_path, rows)
    assert norm == 0.0
    assert metrics["dropped_stale"] == 1.0
    assert metrics["staleness_max"] == 2.0


def test_no_group_begins_earlier_than_the_bound_allows(model, tokenizer, tmp_path):
    """With staleness 1 the groups of one later step are under way when a step is taken."""

    class Counting(Given):
        begun = 0
        at_each_step = ()

        def begin(self, *group):
            self.begun += 1

        def take(self, count, late):
            self.at_each_step += (self.begun,)
            return super().take(count, late)

    sampler = Counting([replace(r, policy_versions=[0] * len(r.ids)) for r in BATCH])
    problems = [Problem(f"p{i}", f"Q{i}", str(i)) for i in range(8)]
    options = {"sampler": sampler, "problems": problems, "staleness": 1, "steps": 3}
    synchronous(model, tokenizer, tmp_path, **options).train()
    assert sampler.at_each_step == (4, 6, 6)  # 2 problems a step


@pytest.mark.parametrize(
    ("algorithm", "training", "why"),
    [
        (PPO(), {}, "critic"),
        (THOR(), {}, "branches"),
        (GRPO(resample=2), {}, "resample"),
        (GRPO(), {"schedule": (Schedule.parse("temperature=1:1.0,9:0.8"),)}, "temperature"),
        (GRPO(), {"schedule": (Schedule.parse("tool_budget=1:1,9:2"),)}, "tool_budget"),
    ],
)
def test_what_contradicts_is_refused_with_the_reason(algorithm, training, why):
    check(algorithm, Training(**training))
    with pytest.raises(ValueError, match=why):
        check(algorithm, Training(staleness=1, **training))


def test_what_goes_together_is_not_refused():
    curve = Schedule.parse("clip_high=linear,1:0.2,9:0.28")
    check(GRPO(oversample=2), Training(staleness=2, late="mask", schedule=(curve,)))
    with pytest.raises(ValueError, match="late"):
        Training(staleness=1, late="drop")


def test_several_learners_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="one learner and one sampler"):
        check(GRPO(), Training(staleness=1))


def test_another_sampler_is_refused(model, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="AsyncSampler"):
        synchronous(model, tokenizer, tmp_path, staleness=1)


def test_what_lives_in_this_process_is_refused(model):
    lock = threading.Lock()
    with pytest.raises(TrainingError, match="Name sandbox, tools"):
        AsyncSampler(None, lambda: lock, layout_of(model))


def test_a_sampler_that_is_killed_is_an_error_that_names_it(tmp_path):
    trainer, sampler, _ = trainer_of(tmp_path)
    publish, seen = sampler.publish, []

    def killed(model, version):
        seen.append(sampler.pid)
        os.kill(sampler.pid, signal.SIGKILL)
        publish(model, version)

    sampler.publish = killed
    with pytest.raises(SamplerError, match=r"pid \d+\) was killed by SIGKILL.*--resume"):
        trainer.train()
    assert sampler.pid is None
    assert not Path(f"/proc/{seen[0]}").exists()


def never():
    time.sleep(600)


def test_a_sampler_that_hangs_is_an_error_that_says_where(tmp_path):
    trainer, sampler, _ = trainer_of(tmp_path, never, patience=0.5)
    with pytest.raises(SamplerError, match=r"hangs: no progress for .* last starting"):
        trainer.train()
    assert sampler.pid is None


def broken():
    raise RuntimeError("no such model here")


@pytest.mark.slow
def test_a_sampler_that_fails_says_why(tmp_path):
    trainer, _, _ = trainer_of(tmp_path, broken)
    with pytest.raises(SamplerError, match="failed: RuntimeError: no such model here"):
        trainer.train()


def slow_stream(seconds):
    made = stream()
    advance = made.policy.advance

    def later():
        time.sleep(seconds)
        return advance()

    made.policy.advance = later
    return made


def rows_of(out):
    """Trajectories of each step."""
    found = {}
    for step, t in transcripts.read(out / "transcripts"):
        found.setdefault(step, []).append(t)
    return found


def metrics_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("late", ["wait", "mask"])
@pytest.mark.parametrize(("sampler_waits", "learner_waits"), [(0.0, 1.0), (0.15, 0.0)])
def test_staleness_is_bounded_whoever_is_slow(tmp_path, late, sampler_waits, learner_waits):
    make = functools.partial(slow_stream, sampler_waits)
    trainer, sampler, _ = trainer_of(tmp_path, make, staleness=2, late=late)
    publish = sampler.publish

    def slowly(model, version):
        time.sleep(learner_waits)
        publish(model, version)

    sampler.publish = slowly
    trainer.train()
    models = {}
    for version, weights in sampler.published.items():
        models[version] = copy.deepcopy(parts()[0].model)
        models[version].load_state_dict(weights, strict=False)
    steps = rows_of(tmp_path)
    assert sorted(steps) == list(range(1, STEPS + 1))
    with torch.no_grad():
        assert_sampled_by_their_versions([t for rows in steps.values() for t in rows], models)
    ages = [
        step - 1 - v
        for step, rows in steps.items()
        for t in rows
        for v in t.policy_versions
        if v >= 0
    ]
    assert min(ages) >= 0
    recorded = metrics_of(tmp_path)
    assert max(row["staleness_max"] for row in recorded) == max(ages)
    if late == "wait":
        assert max(ages) <= 2
        assert all(row["dropped_stale"] == 0 for row in recorded)
    # Each problem of the schedule was learned from once.
    learned = [rows[i].problem_id for rows in steps.values() for i in range(0, len(rows), 4)]
    assert sorted(learned) == sorted(f"p{i}" for i in range(2 * STEPS))


def start(out, **training):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(out), json.dumps(training)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("late", ["wait", "mask"])
def test_a_killed_run_leaves_no_process_and_loses_or_repeats_no_problem(tmp_path, late):
    process = start(tmp_path, staleness=2, late=late)
    deadline = time.monotonic() + 240
    while len(list(tmp_path.glob("checkpoint-*/complete"))) < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    samplers = children(process.pid)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in samplers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert samplers
    assert len(metrics_of(tmp_path)) < STEPS
    assert start(tmp_path, staleness=2, late=late).wait(240) == 0
    assert [row["step"] for row in metrics_of(tmp_path)] == list(range(1, STEPS + 1))
    steps = rows_of(tmp_path)
    learned = [rows[i].problem_id for rows in steps.values() for i in range(0, len(rows), 4)]
    assert sorted(learned) == sorted(f"p{i}" for i in range(2 * STEPS))
