"""Adapters of stacks that are not installed say what they need, and only when they are used."""

import importlib
import importlib.util

import pytest

ADAPTERS = {
    "inspect": ("inspect_ai", "torl", "pip install inspect-ai"),
    "nemo_gym": ("nemo_gym", "ToRLResourcesServer", "needs NeMo-Gym"),
    "skyrl": ("skyrl_gym", "ToRLEnv", "pip install skyrl-gym"),
    "tinker": ("tinker", "ToRLEnv", "pip install tinker-cookbook"),
    "verifiers": ("verifiers", "ToRLTaskset", "pip install verifiers torl-gym"),
    "verl": ("verl", "ToRLAgentLoop", r"needs verl 0\.9"),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_it_says_what_is_missing(name):
    package, wanted, message = ADAPTERS[name]
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    adapter = importlib.import_module(f"torl_env.adapters.{name}")
    with pytest.raises(ImportError, match=message):
        getattr(adapter, wanted)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = adapter.nonsense
