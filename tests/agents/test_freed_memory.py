"""Memory that was freed: kept while there is room, given back where the machine has little left."""

import gc
import platform
import subprocess
import sys

import pytest

from agents.core.policies.base import RowStart
from agents.core.policies.row_cache import RowCache
from agents.core.policies.transformers import TransformersPolicy
from agents.core.types import Sampling

HOLES = """
import sys, torch
from agents.core.policies import row_cache
from agents.core.trainer.memory import keep_freed_memory, memory_errors_say

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

keep_freed_memory()
row_cache.free_bytes = lambda device: float(sys.argv[1])
kept = [torch.ones(1 << 18) for _ in range(300)]
full = resident()
kept = kept[::3]
with memory_errors_say("too much"):
    print((full - resident()) / (300 << 20))
"""


def given_back(free: str) -> float:
    """Of 300 MB in 300 pieces of which 200 were freed, holes: the share that went back."""
    command = [sys.executable, "-c", HOLES, free]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is kept is glibc's")
def test_holes_are_given_back_only_where_memory_is_scarce() -> None:
    assert given_back("1e12") < 0.1
    assert given_back("1e6") > 0.5


def caches() -> int:
    gc.collect()
    return sum(type(item) is RowCache for item in gc.get_objects())


def test_a_cache_goes_with_its_last_row(model, tokenizer) -> None:
    policy = TransformersPolicy(model, tokenizer)
    before = caches()
    policy.open([RowStart((5, 6), seed=0), RowStart((5, 7), seed=1)], Sampling(max_tokens=4))
    policy.advance()
    policy.release(0)
    assert caches() == before + 1
    policy.release(1)
    assert caches() == before
