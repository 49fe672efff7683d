"""Blocks 1 and 2, in this process: the sampler against the trainer, gradients against a reference.

The references are written plainly on purpose, with the library's own forward pass over one whole
row at a time, so that they share nothing with what they judge.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from agents.core.types import Sampling, Trajectory
from benchmarks.acceptance.record import Figure
from torl_env import ToRLMathVectorEnv
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem

PROBLEMS, GROUP = 2, 4


@dataclass(frozen=True, slots=True)
class Where:
    """What a block runs on."""

    device: str
    model: str
    minutes: float
    """Most that a block may take."""
    tokens: int
    """Of a response, in blocks 1 and 2."""
    folder: Path
    """Where training runs of blocks go."""


def _problems() -> list[Problem]:
    from torl_env.problems import load

    return list(load("procedural:easy:L2-3").shuffle(0).head(2 * PROBLEMS))


def _sampled(
    model: Any, tokenizer: Any, tokens: int, *, temperature: float = 1.0, budget: int = 1
) -> list[Trajectory]:
    """Episodes of the first problems in the real environment."""
    from agents.core.policies.transformers import TransformersPolicy
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import ChatPrompt, PlainPrompt

    made = ChatPrompt if tokenizer.chat_template else PlainPrompt

    def envs(problems: Sequence[Problem], group_size: int) -> ToRLMathVectorEnv:
        return ToRLMathVectorEnv(
            len(problems) * group_size,
            problems=Listed("acceptance", list(problems)),
            autoreset_mode="Disabled",
            tool_budget=budget,
        )

    policy = TransformersPolicy(model, tokenizer)
    sampling = Sampling(temperature, max_tokens=tokens)
    return Rollout(policy, made(tokenizer), envs, sampling).collect(
        _problems()[:PROBLEMS], GROUP, seed=0
    )


def _teacher_forced(model: Any, t: Trajectory) -> Any:
    """Log-probabilities of the response's ids in one plain pass over the row, float32, (T,)."""
    import torch

    ids = torch.tensor([[*t.prompt_ids, *t.ids]], device=model.device)
    logits = model(input_ids=ids).logits[0, len(t.prompt_ids) - 1 : -1].float()
    return torch.log_softmax(logits, -1).gather(-1, ids[0, len(t.prompt_ids) :, None]).squeeze(-1)


def _gaps(scorer: Any, rows: Sequence[Trajectory]) -> list[float]:
    """What the scorer says of each sampled id, minus what the sampler said of it."""
    return [
        theirs - ours
        for t in rows
        for ours, theirs, sampled in zip(
            t.logprobs, _teacher_forced(scorer, t).tolist(), t.loss_mask, strict=True
        )
        if sampled
    ]


def _mean_size(gaps: Sequence[float]) -> float:
    return mean(map(abs, gaps))


def sampler(where: Where) -> list[Figure]:
    """Block 1: log-probabilities of the sampler against teacher forcing; greedy ids."""
    import torch

    from agents.core.models import loading

    with torch.inference_mode():
        model, tokenizer = loading.load(where.model, device=where.device)
        exact = _gaps(model, _sampled(model, tokenizer, where.tokens))
        greedy = _sampled(model, tokenizer, where.tokens, temperature=0.0, budget=0)
        half, _ = loading.load(where.model, dtype="bfloat16", device=where.device)
        rows = _sampled(half, tokenizer, where.tokens)
        # Of the same ids: what the sampler said, a plain pass in bfloat16, the trainer, float32.
        sampled, passed = _gaps(model, rows), _gaps(half, rows)
        # The trainer scores with float32 weights under autocast: weights are rounded once less.
        with torch.autocast(torch.device(where.device).type, torch.bfloat16):
            trained = _gaps(model, rows)
        plain, _ = loading.load(where.model, device="cpu")
        # The samples of a problem are all the same here, or two of them differ from the CPU's.
        distinct = {(tuple(t.prompt_ids), tuple(t.ids)): t for t in greedy}.values()
        same = sum(_greedy(plain, t) == list(t.ids) for t in distinct)
    return [
        Figure("float32: sampled ids", len(exact), ">=", 1),
        Figure("float32: largest difference of log-probabilities", max(map(abs, exact)), "<", 1e-3),
        *_rounding(sampled, passed, trained),
        Figure("greedy answers with the ids of generate() on a CPU", same, "==", len(distinct)),
    ]


def _rounding(
    sampled: Sequence[float], passed: Sequence[float], trained: Sequence[float]
) -> list[Figure]:
    """What rounding to bfloat16 does to log-probabilities, and what a training sees of it.

    Two passes in bfloat16 by different kernels differ by the rounding of both, so that their
    difference says nothing of either. Each is held against float32: a sampler that is off for
    another reason is further from it than a plain pass is. What reaches the loss are the importance
    ratios of trainer and sampler: unbiased, and seldom at the cap, which is 2 as in TRL.

    Args:
        sampled: Float32 minus sampler, of each sampled id.
        passed: A plain pass in bfloat16 minus sampler.
        trained: The trainer minus sampler.
    """
    other = _mean_size([s - p for s, p in zip(sampled, passed, strict=True)])
    trainer = _mean_size([s - t for s, t in zip(sampled, trained, strict=True)])
    ratios = sorted(math.exp(gap) for gap in trained)
    cuts = [ratios[round(q * (len(ratios) - 1))] for q in (0.0, 0.01, 0.5, 0.99, 1.0)]
    outside = sum(not 0.5 <= ratio <= 2 for ratio in ratios) / len(ratios)
    return [
        Figure("bfloat16: mean difference of sampler and float32", _mean_size(sampled)),
        Figure("bfloat16: mean difference of a plain pass and float32", other),
        Figure("bfloat16: mean difference of the trainer and float32", trainer),
        Figure("bfloat16: sampler's over the plain pass's", _mean_size(sampled) / other, "<", 1.5),
        Figure("bfloat16: mean difference of sampler and plain pass", _mean_size(passed)),
        Figure("bfloat16: mean difference of sampler and trainer", _mean_size(trained), "<", 0.05),
        *(
            Figure(f"importance ratio of trainer and sampler, {name}", value)
            for name, value in zip(("least", "1 %", "median", "99 %", "most"), cuts, strict=True)
        ),
        Figure("importance ratio: distance of its mean from 1", abs(mean(ratios) - 1), "<", 0.02),
        Figure("importance ratios outside of 0.5 to 2, share", outside, "<", 0.005),
    ]


def _greedy(model: Any, t: Trajectory) -> list[int]:
    """What the library's own loop writes after the prompt of `t`, as long as `t` is."""
    import torch

    made = model.generate(
        torch.tensor([list(t.prompt_ids)]),
        max_new_tokens=len(t.ids),
        do_sample=False,
        attention_mask=torch.ones(1, len(t.prompt_ids), dtype=torch.long),
    )
    ids: list[int] = made[0, len(t.prompt_ids) :].tolist()
    return ids


class _Fixed:
    """Hands out the same episodes at every step."""

    def __init__(self, rows: Sequence[Trajectory]) -> None:
        self._rows = list(rows)

    def sync(self, model: Any) -> None:
        """Nothing samples here."""

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        """The episodes."""
        return self._rows

    def rest(self) -> None:
        """Nothing is to be given back."""


def _graded(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The same episodes with every second one right, so that each group has something to teach."""
    from dataclasses import replace

    return [replace(t, reward=1.0 if i % 2 else -1.0) for i, t in enumerate(rows)]


def gradients(where: Where) -> list[Figure]:
    """Block 2: the gradient of a GRPO step against one made by hand, for two micro-batches."""
    import torch

    from agents.core.models import loading

    model, tokenizer = loading.load(where.model, device=where.device)
    with torch.inference_mode():
        rows = _graded(_sampled(model, tokenizer, where.tokens))
    expected = _by_hand(model, rows)
    whole = _of_trainer(where, tokenizer, rows, micro_batch=PROBLEMS * GROUP)
    split = _of_trainer(where, tokenizer, rows, micro_batch=2)
    size = expected.norm()
    figures = [
        Figure("norm of the gradient", float(size)),
        Figure(
            "relative error of the gradient", float((whole - expected).norm() / size), "<", 1e-4
        ),
        Figure(
            "the same in micro-batches of 2", float((split - expected).norm() / size), "<", 1e-4
        ),
    ]
    if where.device.startswith("cuda"):
        figures.append(Figure("peak memory, GB", torch.cuda.max_memory_allocated() / 1e9))
    return figures


def _by_hand(model: Any, rows: Sequence[Trajectory]) -> Any:
    """-sum(A * logp * mask) / tokens (ToRL's loss at ratio 1), as one vector."""
    import torch

    tokens = sum(sum(t.loss_mask) for t in rows)
    # Rewards -1, 1, -1, 1 of a group: mean 0, unbiased standard deviation sqrt(4 / 3).
    scale = (4 / 3) ** 0.5 + 1e-6
    model.zero_grad()
    for t in rows:
        mask = torch.tensor(t.loss_mask, device=model.device)
        loss = -(t.reward / scale) * (_teacher_forced(model, t) * mask).sum() / tokens
        loss.backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def _of_trainer(where: Where, tokenizer: Any, rows: Sequence[Trajectory], micro_batch: int) -> Any:
    """The gradient that the trainer hands to its optimiser, as one vector."""
    import torch
    from transformers import TrainerCallback

    from agents.core.models import loading
    from agents.core.run.folder import Run
    from agents.core.trainer.options import Training
    from agents.core.trainer.trainer import RLTrainer
    from agents.grpo import GRPO

    seen: list[Any] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        """Copies the gradient before the optimiser uses it."""

        def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
            seen.append(
                torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            )

    model, _ = loading.load(where.model, device=where.device)
    training = Training(
        steps=1,
        prompts_per_step=PROBLEMS,
        group_size=GROUP,
        micro_batch=micro_batch,
        max_tokens=where.tokens,
        max_grad_norm=1e9,
        dtype="float32",
        save_every=100,
    )
    with tempfile.TemporaryDirectory(dir=where.folder) as folder:
        trainer = RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=GRPO(),
            training=training,
            problems=_problems(),
            sampler=_Fixed(rows),
            run=Run(folder),
        )
        trainer.add_callback(Keep())
        trainer.train()
    return seen[0]
