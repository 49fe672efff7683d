"""What of SkyRL's adapter needs no SkyRL; the rest runs in `benchmarks/stacks/run_skyrl.py`."""

import importlib.util

import pytest

from torl_env.adapters import skyrl as adapter


@pytest.mark.skipif(importlib.util.find_spec("skyrl_gym") is not None, reason="it is installed")
def test_it_says_what_is_missing():
    with pytest.raises(ImportError, match="pip install skyrl-gym"):
        _ = adapter.ToRLEnv
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = adapter.nonsense
