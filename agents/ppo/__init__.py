"""PPO with a critic over sampled tokens."""

from agents.ppo.algorithm import PPO

__all__ = ["PPO"]
