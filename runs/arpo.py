"""ARPO 7B: answers that branch off each other where tool output left the policy uncertain.

    python runs/arpo.py OUT --warm-start-from WEIGHTS [--dry-run] [other options of torl train]

The paper (arXiv 2507.19849, appendix C.2) and its release (`ARPO_7B_Reasoning_1node.sh`): an SFT
stage on 54K traces, then RL on 10K problems, two epochs of steps of 128 in mini-batches of 16, KL
coefficient 0, learning rate 1e-6, prompts of 1,536 and responses of 4,096 tokens, at most three
calls, M = 16 answers of which N = 8 start at the prompt, entropy weight 0.2, alpha and threshold
0.5, tool output masked, plain group-relative advantages over whole rows ("soft"). It reports 58.3
for Qwen2.5-7B on the average of ten benchmarks, GRPO 56.5.

Eight GPUs of 80 GB train (runs/configs/fsdp.yaml); others sample, `vllm serve` on --vllm-url.

Deviations: a place is branched where entropy rose, as the paper's rule has it, where the release
tosses a coin of about 0.5; entropy is that of the ids after the output, where the release takes
those before it; vLLM gives no entropies, so the mean of -log p of the first 20 ids stands for it;
shared ids count once in the number that the loss divides by, where the release counts them in every
answer. Python alone, no search; problems of DeepScaleR in place of the mixture; reward 1 / 0 in
place of F1 with a bonus for several tools. What is written here of the paper was read in excerpts
and in notes of others on its release. This recipe has been planned with --dry-run only; it has not
been run.
"""

import sys

from recipe import run
from torl_1_5b import OPTIONS

ARPO = {
    "algorithm": "arpo",
    "set": ("tree=arpo(start=0.5, beta=0.2, alpha=0.5, tau=0.5)",),
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "prompt": "chat",
    "problems": "deepscaler",
    "reward": "thor",
    "steps": 156,
    "prompts": 128,
    "group": 16,
    "updates": 8,
    "policy": "vllm-server",
    "micro-batch-tokens": 5632,
    "max-tokens": 4096,
    "tool-budget": 3,
}
CONFIG = "fsdp.yaml"

if __name__ == "__main__":
    sys.exit(run(OPTIONS | ARPO, __doc__, CONFIG))
