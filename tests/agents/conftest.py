"""Small real parts for the agents' tests: a tokenizer of bytes and a random language model."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# For `one_step`, which several test modules share.
sys.path.append(str(Path(__file__).parent))

# Tiny models lose more than they gain by threads, and everything on a busy machine.
torch.set_num_threads(1)

# How long an example takes says how busy the machine is.
settings.register_profile("agents", deadline=None)
settings.load_profile("agents")


@pytest.fixture(scope="session")
def tokenizer():
    from agents.core.testing.tiny import byte_tokenizer

    return byte_tokenizer()


@pytest.fixture
def model(tokenizer):
    from agents.core.testing.tiny import tiny_model

    torch.manual_seed(0)
    return tiny_model(tokenizer)


@pytest.fixture(scope="session")
def sandbox(box):
    return box
