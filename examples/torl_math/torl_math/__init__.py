"""The environment package `torl-math` of verifiers and prime-rl."""

from torl_env.adapters.verifiers import ToRLTaskset

__all__ = ["ToRLTaskset"]
