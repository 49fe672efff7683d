"""The recipes' configurations fit the machines that they name, by the plan of `--dry-run`."""

import importlib
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from torl.console import CommandError
from torl.training.options import TrainOptions
from torl.training.plan import check_memory, engine_share, plan_of

RUNS = Path(__file__).parents[2] / "runs"
sys.path.append(str(RUNS))
RECIPES = {
    "torl_1_5b": "OPTIONS",
    "torl_7b": "LARGER",
    "thor": "THOR",
    "retool": "RETOOL",
    "simpletir": "SIMPLETIR",
    "zerotir": "ZEROTIR",
    "rstar2_roc": "RSTAR2",
    "arpo": "ARPO",
}


def planned(recipe, monkeypatch, **changes):
    from recipe import as_launched
    from torl_1_5b import OPTIONS

    module = importlib.import_module(recipe)
    chosen = {**OPTIONS, **getattr(module, RECIPES[recipe])}
    for name, value in as_launched(RUNS / "configs" / module.CONFIG).items():
        monkeypatch.setenv(name, value)
    known = {one.name for one in fields(TrainOptions)} - {"problems", "schedule", "heldout"}
    given = {name.replace("-", "_"): value for name, value in chosen.items()}
    options = TrainOptions(**{n: v for n, v in given.items() if n in known})
    return plan_of(replace(options, dtype="bfloat16", **changes), memory=True)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits_its_gpus_with_its_engine(recipe, monkeypatch):
    plan = planned(recipe, monkeypatch)
    assert plan.processes in (8, 16)
    check_memory(plan, 80)
    if plan.policy == "vllm":
        # Beside weights and optimiser, which stay while it samples.
        assert 0.1 < engine_share(plan.memory, 80e9) < 0.9


@pytest.mark.slow
def test_rows_of_full_length_would_not_fit(monkeypatch):
    """What counting rows cost: 16 of 3,328 tokens without checkpointing."""
    changes = {"micro_batch_tokens": 0, "micro_batch": 16, "activation_checkpointing": False}
    with pytest.raises(CommandError, match="--micro-batch-tokens"):
        check_memory(planned("torl_1_5b", monkeypatch, **changes), 80)
