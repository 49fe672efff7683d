"""rStar2-Agent 14B: GRPO-RoC, which learns from right answers with clean tool use.

    python runs/rstar2_roc.py OUT --warm-start-from WEIGHTS [--dry-run] [other options]

The paper (arXiv 2508.20722) and its release (`run_qwen3-14b_rstar2_agent_weave.sh`): Qwen3-14B-Base
after an SFT that teaches format and tool calls but no reasoning, 128 problems with 32 samples, of
which RoC keeps 16, learning rate 1e-6, clip 0.2 / 0.28, no KL, no entropy term, reward 1 / 0,
groups without signal left out, DAPO's problems with integer answers; 8,192 tokens, then 12,288, and
a third stage on problems that are not always solved; 510 steps on 64 GPUs. It reports AIME24 80.6
and AIME25 69.8.

Sixteen GPUs of 80 GB train (runs/configs/fsdp_2x8.yaml); others sample, `vllm serve` on --vllm-url.

Deviations: the learning rate does not warm up; the stages begin after 300 steps, as the paper's
second does, and the third one's selection is that of the curriculum, which retires what is always
solved; JSON tool calls are written in Hermes style. Responses stay at 8,192 tokens unless
--max-tokens 12288 finds room. This recipe has been planned with --dry-run only; it has not been
run.
"""

import sys

from recipe import run
from torl_1_5b import OPTIONS

RSTAR2 = {
    "model": "Qwen/Qwen3-14B-Base",
    "prompt": "chat",
    "problems": "dapo",
    "parser": "hermes",
    "reward": "thor",
    "set": ("loss=dapo", "oversample=2", "resample=1"),
    "curriculum.mix": ("0.1", "0.7", "0.2"),
    "curriculum.retire": 2,
    "steps": 510,
    "prompts": 128,
    "group": 16,
    "micro-batch-tokens": 8448,
    "policy": "vllm-server",
    "max-tokens": 8192,
    "tool-budget": 10,
}
CONFIG = "fsdp_2x8.yaml"

if __name__ == "__main__":
    sys.exit(run(OPTIONS | RSTAR2, __doc__, CONFIG))
