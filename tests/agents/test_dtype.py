"""What is computed in is what the hardware is fast at."""

import pytest
import torch

from agents.core.models import dtype as module
from agents.core.models.dtype import cpu_units, precision
from agents.core.trainer.options import Training
from agents.core.trainer.trl_config import trl_config
from agents.grpo import GRPO

XEON = frozenset({"fpu", "avx2", "avx512f", "avx512_vnni"})


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        (XEON, "float32"),
        (XEON | {"avx512_bf16"}, "bfloat16"),
        (XEON | {"amx_tile", "amx_bf16"}, "bfloat16"),
        (frozenset({"fp", "asimd"}), "float32"),
        (frozenset({"fp", "asimd", "bf16"}), "bfloat16"),
        (frozenset(), "float32"),
    ],
)
def test_a_cpu_computes_in_what_it_has_units_for(monkeypatch, flags, dtype):
    monkeypatch.setattr(module, "cpu_flags", lambda: flags)
    module.fastest.cache_clear()
    try:
        found = precision(device="cpu")
        assert found.dtype == dtype
        assert found.reason == (f"the CPU has {cpu_units(flags)}" if found.bf16 else found.reason)
    finally:
        module.fastest.cache_clear()


def test_this_machine_says_why():
    found = precision()
    assert found.dtype in ("bfloat16", "float32")
    assert found.reason
    assert getattr(torch, found.dtype).is_floating_point


def test_what_is_asked_for_is_taken_and_nonsense_refused():
    assert precision("bfloat16", "cpu").dtype == "bfloat16"
    with pytest.raises(ValueError, match="unknown dtype 'half': expected auto, bfloat16, float32"):
        precision("half")


@pytest.mark.parametrize("asked", ["bfloat16", "float32"])
def test_a_training_computes_in_it(tmp_path, asked):
    assert trl_config(GRPO(), Training(dtype=asked), tmp_path).bf16 == (asked == "bfloat16")
