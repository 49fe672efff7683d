"""What a schedule changes in a trainer and its sampler before a step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import trl.trainer.utils as trl_utils
from trl import GRPOTrainer

from agents.core.loss import Loss
from agents.core.schedule import OF_ENV, OF_SAMPLING
from agents.core.trainer.options import TrainingError


def set_stage(trainer: GRPOTrainer, loss: Loss, temperature: float) -> None:
    """Give TRL the numbers that may change between steps."""
    trainer.epsilon_low = loss.clip_low
    trainer.epsilon_high = loss.clip_high + (loss.surrogate == "cispo")
    trainer.args.delta = loss.dual_clip
    trainer.off_policy_mask_threshold = loss.off_policy_kl
    trainer.beta = loss.kl
    _set_temperature(trainer, temperature)


def _set_temperature(trainer: GRPOTrainer, temperature: float) -> None:
    """Divide logits by another temperature, in TRL's own head as well."""
    if temperature == trainer.temperature:
        return
    trainer.temperature = temperature
    # Before 1.15 TRL has no such head, and reads the temperature above at each pass.
    add_fused_lm_head = getattr(trl_utils, "add_fused_lm_head", None)
    if add_fused_lm_head is None:
        return
    for model in (trainer.accelerator.unwrap_model(trainer.model), trainer.ref_model):
        if model is not None:
            base = model.get_base_model() if hasattr(model, "get_base_model") else model
            # TRL binds the temperature when it adds the head; the one added last answers.
            add_fused_lm_head(base, temperature=temperature, outputs=("log_probs", "entropy"))


def set_sampler(sampler: Any, values: Mapping[str, float]) -> None:
    """Sample with these values from now on; evaluations keep the environment of the run.

    Raises:
        TrainingError: The environment is none of ours, so its options are unknown.
    """
    if not values.keys() & {*OF_SAMPLING, *OF_ENV}:
        return
    rollout = sampler.rollout
    sampling = rollout.sampling
    rollout.sampling = replace(
        sampling,
        temperature=values.get("temperature", sampling.temperature),
        max_tokens=int(values.get("max_tokens", sampling.max_tokens)),
    )
    options = {name: int(values[name]) for name in OF_ENV if name in values}
    if options and not hasattr(rollout.make_envs, "changed"):
        raise TrainingError(
            f"a schedule of {', '.join(options)} changes the environment: expected a rollout over "
            f"torl.wiring.BatchEnvs, got {rollout.make_envs!r}"
        )
    if options:
        if sampler.evaluated_envs is None:
            sampler.evaluated_envs = rollout.make_envs
        rollout.make_envs = rollout.make_envs.changed(**options)
