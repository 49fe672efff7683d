"""What is sampled and not learned from: masks, the mean they leave, and the baseline they keep."""

import json
from dataclasses import replace

import pytest
import torch
from one_step import BATCH, log_likelihood, norm_of, one_step, trajectory

from agents.core.filters import FILTERS, learned_mask, row_scale
from agents.core.loss import Loss
from agents.core.types import Turn
from agents.grpo import GRPO


def episode(kinds, verdict="wrong", stop="final"):
    """A trajectory of two ids a turn, one id of tool output between turns."""
    turns, mask = [], []
    for i, what in enumerate(kinds):
        status = {"tool": "ok", "failed": "error", "malformed": "error"}.get(what, "")
        kind = "tool" if what == "failed" else what
        turns.append(Turn("x", "", 3 * i, 3 * i + 2, kind, status, "", 0.0))
        mask += [1, 1, 0]
    made = trajectory((1,), tuple(range(len(mask))), mask, -1.0, turns=tuple(turns))
    return replace(made, verdict=verdict, stop_reason=stop, truncated=stop != "final")


# By episode: the turns that overlong, void, void_turns and failed_turns leave out.
CASES = {
    "answered": (episode(["tool", "final"]), [], [], [], []),
    "no answer": (episode(["tool", "final"], "no_answer"), [], [0, 1], [1], []),
    "cut": (episode(["tool", "cut"], "no_answer", "length"), [0, 1], [0, 1], [1], []),
    "cut after the answer": (episode(["cut"], "correct", "length"), [0], [], [], []),
    "unreadable call": (episode(["malformed", "tool", "final"]), [], [0, 1, 2], [0], [0]),
    "failed call": (episode(["failed", "final"], "correct"), [], [], [], [0]),
    "past the budget": (episode(["tool", "over_budget", "final"]), [], [], [], []),
    "turns used up": (episode(["tool", "tool"], "no_answer", "max_turns"), [], [], [], []),
}


@pytest.mark.parametrize("case", CASES)
def test_each_filter_by_hand(case):
    t, *expected = CASES[case]
    assert [list(FILTERS[name](t)) for name in FILTERS] == expected
    for name, turns in zip(FILTERS, expected, strict=True):
        mask = learned_mask(t, [name])
        for i in range(len(t.turns)):
            assert mask[3 * i : 3 * i + 3] == ([0, 0, 0] if i in turns else [1, 1, 0])


def test_a_lost_row_teaches_nothing_whatever_is_dropped():
    lost = replace(episode(["tool", "final"]), scorable=False)
    assert learned_mask(lost, ["overlong"]) == [0] * 6


@pytest.mark.parametrize("mean", ["token", "sequence"])
@pytest.mark.parametrize("micro_batch", [8, 2])
def test_dropped_rows_leave_the_loss_and_stay_in_the_baseline(
    model, tokenizer, tmp_path, micro_batch, mean
):
    """Row 1 was cut: it teaches nothing and is no part of the mean, but its reward counts."""
    rows = [BATCH[0], replace(BATCH[1], stop_reason="length", truncated=True), *BATCH[2:]]
    algorithm = GRPO(loss=Loss(drop=("overlong",), mean=mean))
    options = {"micro_batch": micro_batch, "algorithm": algorithm}
    _, norm = one_step(model, tokenizer, tmp_path, rows, **options)
    kept = [rows[0], *rows[2:4]]
    tokens = sum(sum(t.loss_mask) for i, t in enumerate(rows) if i != 1)
    loss = 0.0
    for t in kept:
        mask = torch.tensor(t.loss_mask)
        logp = (log_likelihood(model, t) * mask).sum()
        logp = logp / tokens if mean == "token" else logp / mask.sum() / 7
        loss = loss - t.reward / (4 / 3) ** 0.5 * logp
    assert norm == pytest.approx(norm_of(model, loss), rel=1e-3)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    everything = sum(sum(t.loss_mask) for t in rows)
    assert row["dropped_overlong"] == pytest.approx(3 / everything)


def test_a_batch_that_a_filter_empties_is_a_step_without_gradient(model, tokenizer, tmp_path):
    rows = [replace(t, stop_reason="length", truncated=True) for t in BATCH]
    algorithm = GRPO(loss=Loss(drop=("overlong",), mean="sequence"))
    _, norm = one_step(model, tokenizer, tmp_path, rows, algorithm=algorithm)
    assert norm == 0.0


def test_rows_too_old_to_learn_from_leave_the_mean_over_responses():
    rows = [replace(episode(["final"]), policy_versions=(version,) * 3) for version in (1, 3)]
    assert row_scale(rows, ()) == 1.0
    assert row_scale(rows, (), oldest=2) == 2.0
