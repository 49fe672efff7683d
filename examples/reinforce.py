"""An algorithm of your own: REINFORCE with a running baseline, in the trainer.

The class below is all there is to it; `torl train --algorithm examples.reinforce:Reinforce` trains
a real model with it. Here a tiny random model that knows a few phrases learns, in seconds, that
computing beats guessing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    from agents.core.testing.learning import learn
    from torl.wiring import envs_over
    from torl_env.problems import Problem

    problems = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(64)]
    rows = learn(
        Reinforce(),
        problems,
        envs_over(tool_budget=1),
        steps=10,
        prompts_per_step=4,
        group_size=4,
    )
    for row in rows[::3]:
        print(f"step {row['step']:2}: reward {row['reward']:+.2f}, code {row['code_ratio']:.0%}")
    assert rows[-1]["reward"] > rows[0]["reward"]


if __name__ == "__main__":
    main()
