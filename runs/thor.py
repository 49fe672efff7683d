"""THOR 1.5B, non-reasoning: hierarchical RL from a model that imitates tool-integrated traces.

    python runs/thor.py OUT --traces TRACES.jsonl [--dry-run] [other options of torl train]

The paper (arXiv 2509.13761, appendix D): TIR-SFT on traces of TIRGen (29,217 for Qwen2.5-Math-7B),
one epoch in batches of 256 at a rate of 2e-6; then GRPO with G = 16, temperature 1, learning rate
1e-6, no KL, clip 0.2 / 0.28, NLL weight 0.01, five rounds of code, L_suf 100, failed steps capped
at the problems of a batch, reward 1 / 0; its release divides 5,120 problems among 40 updates of
128. Reported for THOR-1.5B, avg@4 as a language model judges: MATH500 78.2, AIME24 36.7, AIME25
20.0, AMC23 67.5, Minerva 38.2, Olympiad 54.0.

The window of Qwen2.5-Math is 4,096 ids. The paper speaks of responses of 4,096 tokens; its release
has prompts of 800 and responses of 3,200, and so does this.

Traces come from `torl traces tirgen`; without them (or --warm-start-from WEIGHTS, of a stage that
was made before) there is nothing to start from, and this refuses.

Deviations: observations are never trained on, one update a batch, and no first stage with C = 1,
which the release has and the paper does not mention. This recipe has been planned with --dry-run
only; it has not been run.
"""

import sys

from recipe import needs_traces, run
from torl_1_5b import CONFIG, OPTIONS

THOR = {
    "algorithm": "thor",
    "set": ("suffix_tokens=100", "step_group_size=16", "resample=1"),
    "reward": "thor",
    "tool-budget": 5,
    "max-tokens": 3200,
    "steps": 300,
    "sft.learning-rate": 2e-6,
    "sft.epochs": 1,
    "sft.batch": 256,
    "sft.micro-batch": 2,
    "sft.activation-checkpointing": True,
}

if __name__ == "__main__":
    needs_traces("THOR", sys.argv[1:])
    sys.exit(run(OPTIONS | THOR, __doc__, CONFIG))
