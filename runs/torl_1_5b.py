"""ToRL 1.5B from its base model, without SFT, on eight GPUs of 80 GB.

    python runs/torl_1_5b.py OUT [--dry-run] [other options of torl train]

The paper (arXiv 2503.23383, section 3.1, and its released script): Qwen2.5-Math-1.5B base, 28,740
problems, 128 problems x 16 samples a step, temperature 1, learning rate 1e-6 constant, no KL, clip
0.2, C = 1, responses of 3,072 tokens, reward +1 / -1; 1,000 steps by its authors' word; 8 GPUs.
It reports greedy accuracy, AIME24 26.7, AIME25 26.7, MATH500 77.8, Olympiad 44.0, AMC23 67.5.

The problems are a public copy of ToRL's own file (VerlTool/ToRL-Math on the hub). Sampling is by
vLLM in each training process; runs/configs/multi_gpu.yaml says how many there are. This recipe has
been planned with --dry-run only; it has not been run.
"""

import sys

from recipe import run

OPTIONS = {
    "model": "Qwen/Qwen2.5-Math-1.5B",
    "prompt": "torl",
    "problems": "torl",
    "heldout": "math500",
    "eval-problems": 500,
    "eval-temperature": 0.0,
    "warm-start": 0,
    "steps": 1000,
    "prompts": 128,
    "group": 16,
    "micro-batch-tokens": 13_312,
    "activation-checkpointing": True,
    "device-gb": 80,
    "learning-rate": 1e-6,
    "max-tokens": 3072,
    "tool-budget": 1,
    "save-every": 20,
    "policy": "vllm",
}
CONFIG = "multi_gpu.yaml"

if __name__ == "__main__":
    sys.exit(run(OPTIONS, __doc__, CONFIG))
