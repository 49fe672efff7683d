"""A domain as a user writes it: algorithm, tools, reward, grader, and an environment."""

from dataclasses import dataclass, field

import gymnasium as gym

from agents.core.algorithm import Algorithm
from agents.core.loss import Loss
from rewards import Grade, Verdict
from torl_env import Unicode
from torl_env.tools import tool

PRICES = {"bread": 3, "milk": 2}


@tool
def price(name: str) -> str:
    """The price of an article.

    Args:
        name: Of the article.
    """
    return str(PRICES[name.strip()])


def stock(name: str) -> str:
    """How many there are of an article.

    Args:
        name: Of the article.
    """
    return "7"


def right(response: str, reference: str) -> bool:
    """Whether the number is named."""
    return reference in response


def short(attempt) -> float:
    """One for a right answer, a half for any short one."""
    return 1.0 if attempt.verdict is Verdict.CORRECT else 0.5


@dataclass(frozen=True, slots=True)
class Centred(Algorithm):
    """The reward minus the mean of its group."""

    weight: float = 1.0
    loss: Loss = field(default_factory=Loss)

    def assign_credit(self, groups):
        credit = []
        for group in groups:
            mean = sum(t.reward for t in group) / len(group)
            credit += [[self.weight * (t.reward - mean)] * len(t.ids) for t in group]
        return credit


class Echo(gym.Env):
    """Pays for every turn with the letter that was asked for; two turns."""

    observation_space = Unicode()
    action_space = Unicode()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.letter, self.turns = "abcdef"[int(self.np_random.integers(6))], 0
        return f"say {self.letter}", {}

    def step(self, action):
        self.turns += 1
        return "again", float(self.letter in action), self.turns == 2, False, {}


__all__ = ["Centred", "Echo", "Grade", "price", "right", "short", "stock"]
