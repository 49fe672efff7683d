"""All built-in algorithms and the example's keep `agents.core.testing.algorithm_contract`."""

import importlib.util
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from agents.core.algorithm import Algorithm
from agents.core.loss import DAPO, GSPO, Loss
from agents.core.testing.algorithm_contract import ALGORITHM_CHECKS
from agents.grpo import GRPO, GTPO
from agents.ppo import PPO
from agents.thor import THOR

EXAMPLE = Path(__file__).parents[2] / "examples" / "reinforce.py"
spec = importlib.util.spec_from_file_location("reinforce_example", EXAMPLE)
reinforce = importlib.util.module_from_spec(spec)
sys.modules["reinforce_example"] = reinforce
spec.loader.exec_module(reinforce)
torch.set_num_threads(1)

MAKERS = {
    "grpo": partial(GRPO),
    "rloo": partial(GRPO, baseline="leave_one_out"),
    "dapo": partial(GRPO, loss=DAPO, resample=1),
    "gspo": partial(GRPO, loss=GSPO),
    "dr-grpo, nll": partial(GRPO, scale_by_std=False, loss=Loss(nll=0.05)),
    "gtpo, programs paid": partial(GTPO, shaping="ran"),
    "gtpo, all turns": partial(GTPO, gamma=1.0, compare="group"),
    "treerl": partial(GRPO, tree="treerl(places=3, paths=1, margin=0)", baseline="subtree"),
    "treepo": partial(GRPO, tree="treepo(segment=1)", baseline="ancestors"),
    "ppo": PPO,
    "ppo, critic of its own": partial(PPO, critic="model", policy_lambda=0.95),
    "thor": partial(THOR, step_group_size=4, suffix_tokens=2),
    "thor, episodes": partial(THOR, step_level=False, drop_failed=False),
    "example": reinforce.Reinforce,
}
TRAINS = ("it_takes_a_step", "passes_change_nothing")


@pytest.mark.parametrize("check", [name for name in ALGORITHM_CHECKS if name not in TRAINS])
@pytest.mark.parametrize("name", MAKERS)
def test_its_credit_keeps_the_contract(name, check):
    ALGORITHM_CHECKS[check](MAKERS[name])


def test_it_takes_a_step():
    ALGORITHM_CHECKS["it_takes_a_step"](MAKERS["thor"])


@pytest.mark.slow
@pytest.mark.parametrize("check", TRAINS)
@pytest.mark.parametrize("name", MAKERS)
def test_it_trains_as_the_contract_says(name, check):
    ALGORITHM_CHECKS[check](MAKERS[name])


@dataclass(frozen=True)
class Wrong(Algorithm):
    """Breaks the contract in a way of your choice."""

    fault: str

    def assign_credit(self, groups):
        rows = [t for group in groups for t in group]
        mean = sum(t.reward for t in rows) / len(rows)
        match self.fault:
            case "short":
                return [[t.reward] for t in rows]
            case "lost rows":
                return [[t.reward - mean] * len(t.ids) for t in rows]
            case "sign":
                return [[-t.reward * t.scorable] * len(t.ids) for t in rows]
            case _:
                return [[float(i * t.scorable)] * len(t.ids) for i, t in enumerate(rows)]


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        ("short", "credit_has_a_number_for_each_id", "expected a number for each of 6 ids, got 1"),
        ("lost rows", "lost_rows_teach_nothing", "a lost row gets zeros"),
        ("sign", "more_reward_is_no_less_credit", "were credited"),
        ("order", "order_changes_nothing", "another order"),
    ],
)
def test_a_wrong_algorithm_is_told_why(fault, check, message):
    with pytest.raises(AssertionError, match=message):
        ALGORITHM_CHECKS[check](partial(Wrong, fault))
