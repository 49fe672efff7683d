"""Block 8: one step at the papers' scale, with random weights of a 1.5B model's shape."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.types import Sampling
from benchmarks.acceptance.numbers import Where
from benchmarks.acceptance.record import Figure
from torl_env import ToRLMathVectorEnv
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox.types import Limits

LOOP = "\n```python\nwhile True: pass\n```"


@dataclass(frozen=True, slots=True)
class Size:
    """Of the step and of the model."""

    prompts: int = 16
    group: int = 16
    tokens: tuple[int, int] = (1024, 2000)
    """Least and most sampled ids of a row."""
    micro_batch: int = 4
    hidden: int = 1536
    layers: int = 28
    heads: int = 12
    groups: int = 2
    """Heads of keys and values."""
    inner: int = 8960
    vocabulary: int = 151_936

    @property
    def limit(self) -> int:
        """Tokens of a response, tool output included."""
        return self.tokens[1] + 48


FULL = Size()
"""Qwen2.5-1.5B's shape, 256 rows of up to 2,048 tokens."""
SMALL = Size(4, 5, (24, 48), 4, 64, 2, 4, 2, 128, 49_152)
"""The same path where there is no accelerator."""


def _model(size: Size, tokenizer: Any, dtype: str, device: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=max(size.vocabulary, len(tokenizer)),
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.groups,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.device(device):
        return LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()


def one_step(where: Where) -> list[Figure]:
    """Sample, run all programs, learn; every twentieth program never ends by itself."""
    import torch

    from agents.core.models import loading
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import PlainPrompt
    from agents.core.run.folder import Run
    from agents.core.trainer.callbacks import Checkpoints
    from agents.core.trainer.options import Training
    from agents.core.trainer.trainer import RLTrainer
    from agents.core.trainer.weight_sync import CopySampler
    from agents.grpo import GRPO
    from benchmarks.performance.forced import ForcedPolicy, scripts

    cuda = where.device.startswith("cuda")
    size = FULL if cuda else SMALL
    _, tokenizer = loading.load(where.model, device="cpu")
    rows = size.prompts * size.group
    written = scripts(tokenizer, rows, size.tokens)
    looping = scripts(tokenizer, rows, size.tokens, LOOP)
    # Every twentieth row loops; groups are of 16 or 5, so that loops fall into different groups.
    loops = [i % 20 == 7 for i in range(rows)]
    mixed = [looping[i] if loop else written[i] for i, loop in enumerate(loops)]
    problems = [Problem(f"p{i}", f"{i}. What is 6*7?", "42") for i in range(2 * size.prompts)]

    def envs(batch: Sequence[Problem], group_size: int) -> ToRLMathVectorEnv:
        return ToRLMathVectorEnv(
            len(batch) * group_size,
            problems=Listed("scale", list(batch)),
            autoreset_mode="Disabled",
            limits=Limits(cpu_seconds=1.0),
        )

    copy = _model(size, tokenizer, "bfloat16", where.device)
    policy = ForcedPolicy(copy, tokenizer, mixed)
    rollout = Rollout(
        policy, PlainPrompt(tokenizer), envs, Sampling(max_tokens=size.limit), overlap=True
    )
    kept: list[Any] = []

    class Keeping(CopySampler):
        """Remembers what it sampled."""

        def collect(self, *args: Any, **options: Any) -> Any:
            """As the sampler."""
            kept[:] = super().collect(*args, **options)
            return list(kept)

    with tempfile.TemporaryDirectory(dir=where.folder) as folder:
        trainer = RLTrainer(
            model=_model(size, tokenizer, "float32", where.device),
            tokenizer=tokenizer,
            algorithm=GRPO(),
            training=Training(
                steps=1,
                prompts_per_step=size.prompts,
                group_size=size.group,
                micro_batch=size.micro_batch,
                max_tokens=size.limit,
                save_every=1000,
            ),
            problems=problems,
            sampler=Keeping(rollout, copy),
            run=Run(Path(folder)),
        )
        # A checkpoint of 18 GB shows nothing here.
        trainer.args.save_strategy = "no"
        trainer.remove_callback(Checkpoints)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        step = Run(Path(folder)).read_metrics("rl")[0]
    figures = [
        Figure("rows", len(kept), "==", rows),
        Figure("rows lost to infrastructure errors", sum(not t.scorable for t in kept), "==", 0),
        Figure("calls ended by the time limit", _timeouts(kept), "==", sum(loops)),
        Figure("norm of the gradient", step["grad_norm"], ">=", 1e-9),
        Figure("sampled ids", sum(sum(t.loss_mask) for t in kept)),
        Figure("seconds of the step", seconds),
    ]
    if cuda:
        figures.append(Figure("peak memory, GB", torch.cuda.max_memory_allocated() / 1e9))
    return figures


def _timeouts(rows: Sequence[Any]) -> int:
    return sum(turn.tool_status == "timeout" for t in rows for turn in t.turns)
