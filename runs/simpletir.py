"""SimpleTIR 7B: zero RL over several turns, kept stable by leaving out void turns.

    python runs/simpletir.py OUT [--dry-run] [other options of torl train]

The paper (arXiv 2509.02479) and its release (`train.sh`, `run.sh`): Qwen2.5-7B base, 512 problems x
16 samples a step in mini-batches, temperature 1, learning rate 1e-6, no KL, at most five turns of
code, tool output of 256, responses of 8,000 tokens, tool output masked, groups that are all right
or all wrong replaced (oversampling), and above all: an episode with a turn that neither runs code
nor answers is left out of the loss (`drop=void`). It reports AIME24 50.5 as avg@32.

Eight GPUs of 80 GB train (runs/configs/fsdp.yaml); others sample, `vllm serve` on --vllm-url.

Deviations: problems are DeepScaleR's alone (the paper adds SimpleRL's MATH of levels 3 to 5); a
void turn ends the episode here, where theirs goes on, so that `drop=void` leaves out episodes
without an answer and with a call that cannot be read; one update a batch of 128 problems in place
of four over 512, which is the same number of updates a problem, each of them on-policy. This recipe
has been planned with --dry-run only; it has not been run.
"""

import sys

from recipe import run
from torl_1_5b import OPTIONS

SIMPLETIR = {
    "model": "Qwen/Qwen2.5-7B",
    "problems": "deepscaler",
    "reward": "thor",
    "set": ("drop=void", "clip_high=0.28", "resample=2"),
    "steps": 600,
    "prompts": 128,
    "group": 16,
    "micro-batch-tokens": 8256,
    "policy": "vllm-server",
    "max-tokens": 8000,
    "tool-budget": 5,
    "output-limit": 256,
    "alarms.action": "stop",
}
CONFIG = "fsdp.yaml"

if __name__ == "__main__":
    sys.exit(run(OPTIONS | SIMPLETIR, __doc__, CONFIG))
