"""What decoding and the loss cost beside the products of matrices that they are made of.

A pass of the sampler and a pass of the trainer are measured in turns with the same linear layers by
themselves, on as many rows: what is missing to 1 is attention, drawing, elementwise work and what
Python takes. CPU seconds are compared, which other load on the machine moves least.
"""

from collections.abc import Callable, Sequence
from typing import Any

from agents.core.types import Sampling
from benchmarks.performance.measuring import Figures, Measured, Options, in_turns, ratio

ROWS = 64
"""Rows of a decoding pass: a step of the laptop run."""
PASSES = 4
"""Passes that are measured together."""
PROMPT, RESPONSE, GROUP = 55, 55, 8
"""Ids of a row of the loss, as the laptop run has them; rows of a group share their prompt."""
TARGET = 0.8


def measure(options: Options) -> Measured:
    """Both types, decoding and loss: tokens and FLOP a second, and the share that products take."""
    from agents.core.models import loading
    from agents.core.trainer.memory import keep_freed_memory

    keep_freed_memory()
    figures: Figures = {}
    ratios: Figures = {}
    for dtype in ("float32", "bfloat16"):
        for name, found in (
            ("decoding", decoding(*loading.load(options.model, dtype=dtype), options.repeats)),
            ("loss", loss(*loading.load(options.model), dtype, options.repeats)),
        ):
            figures |= {f"{name}, {dtype}: {key}": value for key, value in found.items()}
            share = found[f"products over all (target: {TARGET})"]
            ratios[f"products, {dtype}: CPU seconds of products / of {name}"] = share
    return Measured(figures, ratios)


def decoding(model: Any, tokenizer: Any, repeats: int) -> Figures:
    """Passes over 64 rows that never end, sampling included."""
    import torch

    from agents.core.policies.base import RowStart
    from agents.core.policies.transformers import TransformersPolicy

    policy = TransformersPolicy(model, tokenizer, _never)
    policy.end_ids = frozenset()
    prompts = _prompts(tokenizer)
    limit = PASSES * (repeats + 2)
    starts = [RowStart(prompts[i // GROUP], i, limit) for i in range(ROWS)]
    policy.open(starts, Sampling(max_tokens=limit))
    linear = _linear(model, ROWS, model.dtype)

    def sample() -> None:
        for _ in range(PASSES):
            policy.advance()

    def multiply() -> None:
        with torch.inference_mode():
            for _ in range(PASSES):
                for layer, x in linear:
                    torch.nn.functional.linear(x, layer.weight)

    return _compared(sample, multiply, repeats, ROWS * PASSES, _flop(linear) * PASSES)


def loss(model: Any, tokenizer: Any, dtype: str, repeats: int) -> Figures:
    """Forward and backward pass of a micro-batch of two groups."""
    import torch

    from agents.core.trainer.prefix_sharing import shared_prefix_logprobs

    rows = 2 * GROUP
    torch.manual_seed(0)
    responses = torch.randint(5, len(tokenizer), (rows, RESPONSE))
    prompts = torch.tensor([_prompts(tokenizer)[i // GROUP] for i in range(rows)])
    ids = torch.cat([prompts, responses], 1)
    model.train()
    half = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    read = rows * (RESPONSE - 1) + 2 * PROMPT
    linear = _linear(model, read, half, head=rows * RESPONSE)

    def learn() -> None:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logps, _ = shared_prefix_logprobs(model, ids, torch.ones_like(ids), RESPONSE, rows, 1.0)
            total = logps.mean()
        torch.autograd.backward(total)

    def multiply() -> None:
        """The pass forward, and the gradients of inputs and of weights."""
        with torch.inference_mode():
            for layer, x in linear:
                weight = layer.weight.to(half)
                y = torch.nn.functional.linear(x, weight)
                y @ weight, y.T @ x

    return _compared(learn, multiply, repeats, read, 3 * _flop(linear))


def _compared(
    whole: Callable[[], None], products: Callable[[], None], repeats: int, tokens: int, flop: float
) -> Figures:
    for work in (whole, products):
        work()
    costs = in_turns(max(2, repeats), {"whole": whole, "products": products})
    # The least of several: what was not disturbed.
    best = {name: min(cost.cpu for cost in found) for name, found in costs.items()}
    wall = min(cost.wall for cost in costs["whole"])
    return {
        "tokens / s": tokens / wall,
        "tokens / CPU second": tokens / best["whole"],
        "GFLOP / CPU second": flop / best["whole"] / 1e9,
        "GFLOP / CPU second of products alone": flop / best["products"] / 1e9,
        f"products over all (target: {TARGET})": ratio(costs["products"], costs["whole"], "cpu"),
    }


def _linear(model: Any, rows: int, dtype: Any, head: int | None = None) -> list[tuple[Any, Any]]:
    """Each linear layer of the model and something for it to read; `head` rows for the last."""
    import torch

    last = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    sizes = [(m, (head or rows) if m is last else rows) for m in layers]
    return [(m, torch.randn(size, m.in_features).to(dtype)) for m, size in sizes]


def _flop(linear: Sequence[tuple[Any, Any]]) -> float:
    return float(sum(2 * len(x) * layer.weight.numel() for layer, x in linear))


def _prompts(tokenizer: Any) -> list[list[int]]:
    """Eight prompts that begin alike, as a system text makes them."""
    common = tokenizer.encode("What is the greatest common divisor of these? " * 12)[:37]
    return [[*common, *(5 + (17 * i + j) % 999 for j in range(PROMPT - 37))] for i in range(8)]


def _never(text: str) -> bool:
    return False
