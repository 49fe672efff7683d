"""TRL: two steps of its GRPO trainer with our environment factory; its asynchronous trainer.

The asynchronous trainer runs its rollouts in another process, so that what it is given must
survive a pickle; here it is made with that factory until it asks for an accelerator.
"""

import os
import pickle
import queue
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.stacks.result import Result, report

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Still:
    """A rollout worker and a weight transfer that do nothing: only the making is looked at."""

    def __init__(self) -> None:
        self.rollout_buffer: queue.Queue[Any] = queue.Queue()
        self.metrics_queue: queue.Queue[Any] = queue.Queue()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def asynchronous(folder: str) -> str:
    """How far the asynchronous trainer comes: empty, or why not further."""
    from datasets import Dataset
    from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

    from agents.core.testing.tiny import tiny_model
    from torl_env.adapters.trl import answer_reward, environment_factory, rows
    from torl_env.problems import Listed, Problem

    trl_environment: Any = __import__("trl_environment")
    problems = Listed("one", [Problem("p", "What is 6*7?", "42")])
    factory = pickle.loads(pickle.dumps(environment_factory(problems, tool_budget=2)))
    pickle.loads(pickle.dumps(answer_reward))
    made = factory()
    assert made.reset(problem_id="p") == "What is 6*7?"
    assert made.python("print(6*7)") == "42"
    tokenizer = trl_environment.chat_tokenizer()
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    try:
        AsyncGRPOTrainer(
            model=folder,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows(problems)),
            environment_factory=factory,
            reward_funcs=answer_reward,
            rollout_worker=Still(),
            weight_transfer=Still(),
            args=AsyncGRPOConfig(
                output_dir=folder, max_steps=2, use_cpu=True, bf16=False, report_to="none"
            ),
        )
    except (AssertionError, RuntimeError) as error:
        return str(error)
    return ""


def main() -> None:
    """Train for two steps, then try the other trainer."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    sys.path.insert(0, str(EXAMPLES))
    trl_environment: Any = __import__("trl_environment")
    with tempfile.TemporaryDirectory() as folder:
        steps = trl_environment.train(folder)
    assert len(steps) == 2
    assert any(row["tools/call_frequency"] > 0 for row in steps)
    with tempfile.TemporaryDirectory() as folder:
        why = asynchronous(folder)
    assert not why or "CUDA" in why, why
    report(
        Result(
            stack="TRL",
            version=version("trl"),
            ran="GRPOTrainer with environment_factory; the factory pickled",
            episodes=16 * len(steps),
            tokens=round(sum(16 * row["completions/mean_length"] for row in steps)),
            steps=len(steps),
            not_run=f"AsyncGRPOTrainer: '{why}' when it is made, and its attention is "
            "FlashAttention 3, for GPUs"
            if why
            else "",
        )
    )


if __name__ == "__main__":
    main()
