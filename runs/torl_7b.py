"""ToRL 7B from its base model, without SFT.

    python runs/torl_7b.py OUT [--dry-run] [other options of torl train]

As `torl_1_5b.py` with Qwen2.5-Math-7B base and 500 steps. The paper reports greedy accuracy, AIME24
43.3, AIME25 30.0, MATH500 82.2, Olympiad 49.9, AMC23 75.0; their mean is 56.1 (it prints 62.1), and
its authors' avg@32 at temperature 0.6 is 40.2 and 27.9 on the two AIMEs.

All of the training state takes 112 GB in float32: runs/configs/fsdp.yaml shares it out among eight
GPUs of 80 GB (runs/configs/deepspeed.yaml does the same by other means). This recipe has been
planned with --dry-run only; it has not been run.
"""

import sys

from recipe import run
from torl_1_5b import OPTIONS

LARGER = {"model": "Qwen/Qwen2.5-Math-7B", "steps": 500, "micro-batch-tokens": 6656}
CONFIG = "fsdp.yaml"

if __name__ == "__main__":
    sys.exit(run(OPTIONS | LARGER, __doc__, CONFIG))
