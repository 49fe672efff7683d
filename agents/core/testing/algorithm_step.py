"""One step of the real trainer on a tiny model in the real environment, for checks."""

import tempfile
from collections.abc import Sequence
from typing import Any

from agents.core.algorithm import Algorithm
from agents.core.types import Sampling
from torl_env import ToRLMathVectorEnv
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

PROMPTS, GROUP = 2, 4


def step(
    algorithm: Algorithm, *, micro_batch: int = 8, seed: int = 0
) -> tuple[float, dict[str, Any]]:
    """Take one step.

    Args:
        algorithm: What is checked.
        micro_batch: Rows per pass.
        seed: Of weights and sampling.

    Returns:
        How far the weights moved, and the metrics of the step.
    """
    import torch

    from agents.core.policies.transformers import TransformersPolicy
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import PlainPrompt
    from agents.core.run.folder import Run
    from agents.core.testing.tiny import phrase_tokenizer, tiny_model
    from agents.core.trainer.options import Training
    from agents.core.trainer.trainer import RLTrainer
    from agents.core.trainer.weight_sync import CopySampler

    problems = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(2 * PROMPTS)]
    tokenizer = phrase_tokenizer()
    torch.manual_seed(seed)
    model, copy = tiny_model(tokenizer), tiny_model(tokenizer)
    before = [p.detach().clone() for p in model.parameters()]
    rollout = Rollout(
        TransformersPolicy(copy, tokenizer),
        PlainPrompt(tokenizer, "{question}"),
        _envs,
        Sampling(max_tokens=8),
        keep_states=algorithm.needs_states,
    )
    training = Training(
        steps=1,
        prompts_per_step=PROMPTS,
        group_size=GROUP,
        micro_batch=micro_batch,
        learning_rate=0.01,
        max_tokens=8,
        dtype="float32",
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=algorithm,
            training=training,
            problems=problems,
            sampler=CopySampler(rollout, copy),
            run=run,
        )
        trainer.train()
        numbers = run.read_metrics("rl")[0]
    moved = sum(
        float((a - b.detach()).abs().sum()) for a, b in zip(before, model.parameters(), strict=True)
    )
    return moved, numbers


def _envs(problems: Sequence[Problem], group_size: int) -> ToRLMathVectorEnv:
    return ToRLMathVectorEnv(
        len(problems) * group_size,
        problems=Listed("batch", list({p.id: p for p in problems}.values())),
        autoreset_mode="Disabled",
    )
