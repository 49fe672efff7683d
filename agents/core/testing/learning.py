"""Train a tiny random model of whole phrases with the real trainer: what learning is tried on.

Its tokens are sentences and programs, so that it writes a call at once, and a few steps on a CPU
show whether an algorithm finds out that computing beats guessing.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from agents.core.algorithm import Algorithm
from agents.core.policies.transformers import TransformersPolicy
from agents.core.rollout.engine import MakeEnvs, Rollout
from agents.core.rollout.prompts import PlainPrompt
from agents.core.run.folder import Run
from agents.core.testing.tiny import PHRASES, phrase_tokenizer, tiny_model
from agents.core.trainer.options import Training
from agents.core.trainer.trainer import RLTrainer
from agents.core.trainer.weight_sync import CopySampler
from agents.core.types import Sampling
from torl_env import Parser, ToRLMathVectorEnv, closes_tool_call
from torl_env.problems import Listed, Problem


def learn(
    algorithm: Algorithm,
    problems: Sequence[Problem],
    envs: MakeEnvs,
    *,
    phrases: Sequence[str] = PHRASES,
    parser: Parser | None = None,
    model: Any = None,
    sampler: Callable[[Rollout, Any], CopySampler] = CopySampler,
    folder: str | Path | None = None,
    **training: Any,
) -> list[dict[str, Any]]:
    """The metrics of each step.

    Args:
        algorithm: What learns.
        problems: As many as the steps ask for.
        envs: Makes the environments of a batch, such as `torl.wiring.envs_over(tool_budget=1)`.
        phrases: What the model can say.
        parser: Of the environment's calls, ```` ```python ```` by default.
        model: Trained in place; a random one by default.
        sampler: Samples with a copy of the model.
        folder: Where the run is written; by default it is not kept.
        training: Fields of `Training`; `max_tokens` are phrases of an answer.
    """
    options = {"learning_rate": 0.02, "dtype": "float32", "seed": 0, "max_tokens": 8, **training}
    torch.set_num_threads(1)  # a model as small as this is slower on several
    tokenizer = phrase_tokenizer(phrases)
    torch.manual_seed(options["seed"])
    model = tiny_model(tokenizer) if model is None else model
    copy = tiny_model(tokenizer)
    closes = partial(closes_tool_call, parser=parser) if parser else closes_tool_call
    rollout = Rollout(
        TransformersPolicy(copy, tokenizer, closes),
        PlainPrompt(tokenizer, "{question}"),
        envs,
        Sampling(max_tokens=options["max_tokens"]),
        keep_states=algorithm.needs_states,
    )
    with tempfile.TemporaryDirectory() as unkept:
        run = Run(Path(folder or unkept))
        RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=algorithm,
            training=Training(**options),
            problems=problems,
            sampler=sampler(rollout, copy),
            run=run,
        ).train()
        return run.read_metrics("rl")


def step(
    algorithm: Algorithm, *, micro_batch: int = 8, seed: int = 0
) -> tuple[float, dict[str, Any]]:
    """Take one step of two prompts by four samples.

    Args:
        algorithm: What is checked.
        micro_batch: Rows per pass.
        seed: Of weights and sampling.

    Returns:
        How far the weights moved, and the metrics of the step.
    """
    torch.manual_seed(seed)
    model = tiny_model(phrase_tokenizer())
    before = [p.detach().clone() for p in model.parameters()]
    problems = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(4)]
    (numbers,) = learn(
        algorithm,
        problems,
        _envs,
        model=model,
        seed=seed,
        steps=1,
        prompts_per_step=2,
        group_size=4,
        micro_batch=micro_batch,
        learning_rate=0.01,
    )
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
