"""ZeroTIR 7B: a base model finds the interpreter by itself, with a budget of calls that grows.

    python runs/zerotir.py OUT [--dry-run] [other options of torl train]

The paper (arXiv 2505.07773): Qwen2.5-7B base, no SFT, problems of ORZ-57k and DeepMath, PPO or
REINFORCE++ in Open-Reasoner-Zero's framework, reward for the answer alone, no KL, tool output
masked, and stages in which more calls are allowed. What it does not print is Open-Reasoner-Zero's
(arXiv 2503.24290): 128 problems, temperature 1, learning rate 1e-6, discount 1. It reports for 7B a
mean of 52.3 over AIME24, AIME25 and MATH500.

Eight GPUs of 80 GB train (runs/configs/fsdp.yaml); others sample, `vllm serve` on --vllm-url.

Deviations: REINFORCE++ is rewards against their group's mean, without a standard deviation, which
is its "baseline" form without the normalisation over the batch; 16 samples in place of 64; problems
are DeepScaleR's; the steps at which the budget grows are ours. This recipe has been planned with
--dry-run only; it has not been run.
"""

import sys

from recipe import run
from torl_1_5b import OPTIONS

ZEROTIR = {
    "model": "Qwen/Qwen2.5-7B",
    "problems": "deepscaler",
    "reward": "thor",
    "set": ("scale_by_std=false",),
    "schedule": ("tool_budget=1:1,100:4,300:20", "max_tokens=1:4096,300:8000"),
    "steps": 600,
    "micro-batch-tokens": 8256,
    "policy": "vllm-server",
    "max-tokens": 8000,
    "tool-budget": 20,
}
CONFIG = "fsdp.yaml"

if __name__ == "__main__":
    sys.exit(run(OPTIONS | ZEROTIR, __doc__, CONFIG))
