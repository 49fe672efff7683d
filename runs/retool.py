"""ReTool: RL with an interpreter after a cold start by traces, here for 7B.

    python runs/retool.py OUT --traces TRACES.jsonl [--dry-run] [other options of torl train]

The paper (arXiv 2504.11536, section 2.3): Qwen2.5-32B-Instruct, two epochs of SFT on text reasoning
rewritten with code and its output, then PPO with learning rate 1e-6, no KL, mini-batches of 512,
sequences of 16,384 tokens, reward +1 / -1 for the answer, interpreter output masked; 400 steps. It
reports AIME24 67.0 and AIME25 49.3.

Eight GPUs of 80 GB train and sample (runs/configs/fsdp.yaml).

Traces come from `torl traces tirgen` or `torl traces sample`.

Deviations: 7B in place of 32B, whose training state alone is 525 GB; a group's mean in place of a
critic, since a critic's weights are not shared out among GPUs here, over 512 rows a step, 32
problems x 16; responses of 12,288 tokens, which is what fits; fenced code blocks in place of <code>
tags (`--parser xml` has tags); problems of DAPO, since the paper does not tell its own.
The settings above were read in the paper's text. This recipe has been planned with --dry-run only;
it has not been run.
"""

import sys

from recipe import needs_traces, run
from torl_1_5b import OPTIONS

RETOOL = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "prompt": "chat",
    "problems": "dapo",
    "reward": "torl",
    "steps": 400,
    "prompts": 32,
    "group": 16,
    "micro-batch-tokens": 12_544,
    "max-tokens": 12_288,
    "tool-budget": 8,
    "sft.epochs": 2,
    "sft.micro-batch": 1,
    "sft.activation-checkpointing": True,
}
CONFIG = "fsdp.yaml"

if __name__ == "__main__":
    needs_traces("ReTool", sys.argv[1:])
    sys.exit(run(OPTIONS | RETOOL, __doc__, CONFIG))
