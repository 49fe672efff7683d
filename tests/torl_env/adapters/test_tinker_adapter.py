"""What of Tinker's adapter needs no Tinker; the rest runs in `benchmarks/stacks/run_tinker.py`."""

import importlib.util

import pytest

from torl_env.adapters import tinker as adapter


@pytest.mark.skipif(importlib.util.find_spec("tinker") is not None, reason="it is installed")
def test_it_says_what_is_missing():
    with pytest.raises(ImportError, match="pip install tinker-cookbook"):
        _ = adapter.ToRLEnv
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = adapter.nonsense


def test_a_plain_prompt_is_the_texts():
    class Letters:
        def encode(self, text):
            return list(text.encode())

    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    assert adapter.prompt_ids(messages, Letters(), "plain") == list(b"ab")
