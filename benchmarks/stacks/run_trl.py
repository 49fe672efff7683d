"""TRL: two steps of its GRPO trainer with our environment factory; its asynchronous trainer.

The asynchronous trainer runs its rollouts in another process, so that what it is given must
survive a pickle; here it is made with that factory until it asks for an accelerator.
"""

import os
import pickle
import queue
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.stacks.dying import DYING
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
        frames = traceback.extract_tb(error.__traceback__)
        inside = [one for one in frames if "site-packages/trl/" in one.filename]
        return f"{type(error).__name__} '{error}' at `{inside[-1].line}`"
    return ""


def left_out(folder: str) -> int:
    """One step in which machines die under programs: how many rows had no reward.

    Raises:
        AssertionError: Such a row has an advantage, or moves the mean of its siblings.
    """
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from agents.core.testing.tiny import TRL_SETTINGS, tiny_model
    from torl_env.adapters.trl import answer_reward, environment_factory, rows
    from torl_env.problems import Listed, Problem

    class Watched(GRPOTrainer):  # type: ignore[misc]
        def _calculate_rewards(self, *given: Any) -> Any:
            self.seen_rewards = super()._calculate_rewards(*given)
            return self.seen_rewards

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            self.scored = super()._generate_and_score_completions(inputs)
            return self.scored

    torch.manual_seed(0)
    trl_environment: Any = __import__("trl_environment")
    problems = Listed("one", [Problem("p", "What is 6*7?", "42")])
    tokenizer = trl_environment.chat_tokenizer()
    trainer = Watched(
        model=tiny_model(tokenizer),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows(problems)),
        environment_factory=environment_factory(problems, sandbox=DYING),
        reward_funcs=answer_reward,
        args=GRPOConfig(
            output_dir=folder,
            max_steps=1,
            **TRL_SETTINGS | {"num_generations": 16, "max_tool_calling_iterations": 1},
        ),
    )
    trainer.train()
    rewards = trainer.seen_rewards[:, 0]
    lost = torch.isnan(rewards)
    advantages = trainer.scored["advantages"]
    assert 0 < lost.sum() < 16, rewards
    assert (advantages[lost] == 0).all(), advantages
    scored = rewards[~lost]
    assert scored.std() > 0, rewards
    wanted = (scored - scored.mean()) / (scored.std() + 1e-4)
    assert torch.allclose(advantages[~lost], wanted), (advantages, rewards)
    return int(lost.sum())


def main() -> None:
    """Train for two steps, then with machines that die, then try the other trainer."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    sys.path.insert(0, str(EXAMPLES))
    trl_environment: Any = __import__("trl_environment")
    with tempfile.TemporaryDirectory() as folder:
        steps = trl_environment.train(folder)
    assert len(steps) == 2
    assert any(row["tools/call_frequency"] > 0 for row in steps)
    with tempfile.TemporaryDirectory() as folder:
        lost = left_out(folder)
    with tempfile.TemporaryDirectory() as folder:
        why = asynchronous(folder)
    # Only for want of a GPU, which each build of torch says in words of its own.
    assert not why or "torch.cuda" in why, why
    report(
        Result(
            version=version("trl"),
            ran="GRPOTrainer with environment_factory; the factory pickled",
            episodes=16 * (len(steps) + 1),
            tokens=round(sum(16 * row["completions/mean_length"] for row in steps)),
            steps=len(steps) + 1,
            fault=f"`None`: {lost} of 16 rows had no advantage, and were in no mean",
            not_run=f"AsyncGRPOTrainer: when it is made, {why}" if why else "",
        )
    )


if __name__ == "__main__":
    main()
