"""Alarms ring when a training breaks down, name the cause, and leave a healthy one alone."""

import random
from dataclasses import replace

import pytest
from one_step import BATCH, PROBLEMS, FixedSampler, trainer_of

from agents.core.trainer.alarms import Alarms, Bell
from agents.core.trainer.options import TrainingError


def run(steps=40, seed=0, **change):
    """Metrics of a healthy run with noise; `change` replaces those from step 20 on."""
    noise = random.Random(seed)
    rows = []
    for i in range(steps):
        row = {
            "grad_norm": 0.2 * noise.uniform(0.5, 2.0),
            "accuracy": min(0.9, 0.3 + 0.01 * i) + noise.uniform(-0.1, 0.1),
            "entropy": 1.0 / (1 + 0.05 * i) + noise.uniform(-0.1, 0.1),
            "code_ratio": 0.8 + noise.uniform(-0.2, 0.2),
            "logprob_mismatch": 0.02,
        }
        rows.append({**row, **(change if i >= 20 else {})})
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_run_rings_nothing(seed):
    rows = run(seed=seed)
    assert all(not Alarms().ringing(rows[: i + 1]) for i in range(len(rows)))


BROKEN = {
    "gradient": ({"grad_norm": 9.0}, "times its usual"),
    "reward": ({"accuracy": 0.1}, "the share of right answers fell to"),
    "entropy": ({"entropy": 0.01}, "samples become alike"),
    "code": ({"code_ratio": 0.02}, "the share of responses with code fell to"),
    "mismatch": ({"logprob_mismatch": 0.5}, "sampler and trainer differ by"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_alarm_rings_for_its_cause_and_in_time(name):
    change, words = BROKEN[name]
    rows, bell = run(**change), Bell(Alarms())
    rung = [(i, bell.look(row)) for i, row in enumerate(rows)]
    (first, found), *again = [(i, r) for i, r in rung if r]
    assert list(found) == [name]
    assert words in found[name]
    assert 20 <= first < 20 + 5
    assert not again


@pytest.mark.parametrize("name", BROKEN)
def test_zero_turns_an_alarm_off(name):
    rows = run(**BROKEN[name][0])
    alarms = replace(Alarms(), **{name: 0.0})
    assert all(not alarms.ringing(rows[: i + 1]) for i in range(len(rows)))


def test_an_alarm_that_was_silent_rings_again():
    bell, rows = Bell(Alarms()), run(steps=30)
    rows[10]["grad_norm"] = rows[20]["grad_norm"] = 9.0
    assert [i for i, row in enumerate(rows) if bell.look(row)] == [10, 20]


def test_missing_numbers_ring_nothing():
    assert not Alarms().ringing([{"accuracy": None, "entropy": float("nan")}] * 20)


class Worse(FixedSampler):
    """From the fifth batch on nothing is right any more."""

    batches = 0

    def collect(self, problems, group_size, seed):
        self.batches += 1
        if self.batches < 5:
            return BATCH
        return [replace(t, verdict="wrong") for t in BATCH]


@pytest.mark.parametrize(
    "action", [*(pytest.param(a, marks=pytest.mark.slow) for a in ("off", "warn")), "stop"]
)
def test_a_run_is_warned_or_stopped(model, tokenizer, tmp_path, caplog, action):
    alarms = Alarms(action=action, window=2, gradient=0, entropy=0)
    options = {"problems": PROBLEMS * 8, "steps": 8, "save_every": 1, "learning_rate": 1e-4}
    trainer = trainer_of(model, tokenizer, tmp_path, sampler=Worse(()), alarms=alarms, **options)
    if action == "stop":
        with pytest.raises(TrainingError, match=r"step 6, alarm reward: .* Begin a new run"):
            trainer.train()
        assert (tmp_path / "checkpoint-5" / "complete").is_file()
        assert not (tmp_path / "checkpoint-6").exists()
    else:
        trainer.train()
    assert ("step 6, alarm reward" in caplog.text) == (action != "off")
