"""The environment package `torl-math` of verifiers and prime-rl.

Both find the taskset here by the package's name. `load_environment` is for Python and notebooks.
"""

from typing import Any

import verifiers.v1 as vf

from torl_env.adapters.verifiers import ToRLTaskset

__all__ = ["ToRLTaskset"]


def load_environment(**taskset: Any) -> vf.Env:
    """The environment with the tool `python` and no other harness.

    Args:
        **taskset: Fields of `ToRLTasksetConfig`: `problems`, `split`, `count`, `task`.
    """
    agent = {"harness": {"id": "null"}, "runtime": {"type": "subprocess"}}
    config = {"taskset": {"id": "torl-math", **taskset}, "agent": agent}
    return vf.load_environment(vf.SingleAgentEnvConfig.model_validate(config))
