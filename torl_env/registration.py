"""Makes the environment known to Gymnasium."""

import gymnasium as gym

ENV_ID = "ToRLMath-v0"


def register() -> None:
    """Register `ToRLMath-v0` for `gym.make` and `gym.make_vec`; a second call does nothing."""
    if ENV_ID in gym.registry:
        return
    # No max_episode_steps: TimeLimit would truncate from outside, with no stop reason.
    gym.register(
        id=ENV_ID,
        entry_point="torl_env.env:ToRLMathEnv",
        # The environment checks order and actions itself. Without these two wrappers `gym.make`
        # gives it as it is, with `cut`, `astep`, `get_state`, `set_state` and `branch`.
        order_enforce=False,
        disable_env_checker=True,
        vector_entry_point="torl_env.vector_env:ToRLMathVectorEnv",
    )
