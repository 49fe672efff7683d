# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 3. An algorithm of your own
#
# An algorithm says how credit is assigned, and which loss turns it into a gradient. All else is the trainer's. This one is GRPO, and a bonus for the tokens of a call that went well. Less than two minutes. (One from nothing, REINFORCE with a running baseline, is in [Algorithms](../algorithms.md).)

# %%
from collections.abc import Sequence
from dataclasses import dataclass

from agents.core.algorithm import Group
from agents.grpo import GRPO


@dataclass(frozen=True)
class ToolCredit(GRPO):
    """GRPO's advantage; a call that ran well gets a little more."""

    bonus: float = 0.1

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        credit = super().assign_credit(groups)
        for row, trajectory in zip(credit, (t for group in groups for t in group), strict=True):
            for turn in trajectory.turns:
                if trajectory.scorable and turn.tool_status == "ok":  # lost ones teach nothing
                    for i in range(turn.start, turn.end):
                        row[i] += self.bonus
        return credit


# %% [markdown]
# ## Does it keep the rules?
#
# The contract that the built-in algorithms keep: a number for each id, lost rows teach nothing, order and micro-batches change no gradient, it takes a step.

# %%
import warnings

from agents.core.testing.algorithm_contract import ALGORITHM_CHECKS

warnings.filterwarnings("ignore", category=FutureWarning)  # of transformers
for name, check in ALGORITHM_CHECKS.items():
    check(ToolCredit)
    print("holds", name)

# %% [markdown]
# ## Does it learn?
#
# A random model whose tokens are whole phrases writes programs at once, so that learning takes seconds: it has to find that computing beats guessing.

# %%
from agents.core.testing.learning import learn
from agents.core.testing.tiny import PHRASES
from torl.wiring import envs_over
from torl_env.problems import Problem

print(PHRASES)

# %%
problems = [Problem(f"p{i}", "What is 6*7?", "42") for i in range(64)]
rows = learn(
    ToolCredit(), problems, envs_over(tool_budget=1), steps=12, prompts_per_step=4, group_size=4
)

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3))
for name in ("reward", "code_ratio", "pass_ratio"):
    axes.plot([row["step"] for row in rows], [row[name] for row in rows], "o-", label=name)
axes.set(xlabel="step")
axes.legend()
figure

# %%
assert rows[-1]["reward"] > rows[0]["reward"]
print(f"{rows[0]['reward']:+.2f} to {rows[-1]['reward']:+.2f}")

# %% [markdown]
# With a real model it is one command: put the class into `mine.py`, then
# `torl train --algorithm mine:ToolCredit --set bonus=0.2 --out out/mine`.
