"""An algorithm of your own: REINFORCE with a running baseline, in the trainer.

The class below is all there is to it; `torl train --algorithm examples.reinforce:Reinforce` trains
a real model with it. Here a tiny random model that knows a few phrases learns, in seconds, that
computing beats guessing.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from agents.core.algorithm import Algorithm, Group
from agents.core.loss import Loss


@dataclass(slots=True)
class Reinforce(Algorithm):
    """The reward minus the mean of all rewards so far (Williams 1992), for every sampled token."""

    decay: float = 0.9
    """How much of the baseline survives a step."""
    loss: Loss = field(default_factory=lambda: Loss(mean="sequence"))
    """A mean over responses; with one update a batch the ratio is 1 and nothing is clipped."""
    baseline: float | None = None

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """One advantage for each id of each trajectory; zeros where the machine failed."""
        rewards = [t.reward for group in groups for t in group if t.scorable]
        mean = sum(rewards) / max(1, len(rewards))
        baseline = mean if self.baseline is None else self.baseline
        self.baseline = self.decay * baseline + (1 - self.decay) * mean
        return [
            [(t.reward - baseline) if t.scorable else 0.0] * len(t.ids)
            for group in groups
            for t in group
        ]


def main() -> None:
    """Train for a few seconds and look at the metrics that every run writes."""
    from agents.core.policies.transformers import TransformersPolicy
    from agents.core.rollout.engine import Rollout
    from agents.core.rollout.prompts import PlainPrompt
    from agents.core.run.folder import Run
    from agents.core.testing.tiny import phrase_tokenizer, tiny_model
    from agents.core.trainer.options import Training
    from agents.core.trainer.trainer import RLTrainer
    from agents.core.trainer.weight_sync import CopySampler
    from agents.core.types import Sampling
    from torl.wiring import envs_over
    from torl_env import closes_tool_call
    from torl_env.problems import Problem
    from torl_env.sandbox import open_sandbox

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = phrase_tokenizer()
    model, copy = tiny_model(tokenizer), tiny_model(tokenizer)
    problems = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(64)]
    with open_sandbox("local") as sandbox, tempfile.TemporaryDirectory() as folder:
        rollout = Rollout(
            TransformersPolicy(copy, tokenizer, closes_tool_call),
            PlainPrompt(tokenizer, "{question}"),
            envs_over(sandbox=sandbox, tool_budget=1),
            Sampling(max_tokens=8),
        )
        run = Run(Path(folder))
        RLTrainer(
            model=model,
            tokenizer=tokenizer,
            algorithm=Reinforce(),
            training=Training(
                steps=10, prompts_per_step=4, group_size=4, learning_rate=0.02, dtype="float32"
            ),
            problems=problems,
            sampler=CopySampler(rollout, copy),
            run=run,
        ).train()
        rows = run.read_metrics("rl")
    for row in rows[::3]:
        print(f"step {row['step']:2}: reward {row['reward']:+.2f}, code {row['code_ratio']:.0%}")
    assert rows[-1]["reward"] > rows[0]["reward"]


if __name__ == "__main__":
    main()
