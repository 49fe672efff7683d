"""Our settings in the words of TRL's `GRPOConfig`."""

from pathlib import Path

import torch
from trl import GRPOConfig

from agents.core.algorithm import Algorithm
from agents.core.models.dtype import precision
from agents.core.trainer import distributed
from agents.core.trainer.options import Training, checkpointing


def trl_config(algorithm: Algorithm, training: Training, output: Path) -> GRPOConfig:
    """TRL's settings for an algorithm and a training.

    Raises:
        ProcessesError: The batch cannot be shared by the processes that there are.
    """
    passes = training.passes(distributed.world_size())
    loss = algorithm.loss
    loss_type = {"token": "dapo", "sequence": "grpo", "constant": "dr_grpo"}[loss.mean]
    on_cpu = not torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(output),
        max_steps=training.steps * training.optimizer_steps,
        per_device_train_batch_size=training.pass_rows(distributed.world_size()),
        gradient_accumulation_steps=passes // training.updates,
        steps_per_generation=passes,
        num_iterations=training.epochs,
        num_generations=training.group_size,
        max_completion_length=training.max_tokens,
        temperature=training.temperature,
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant",
        adam_beta2=training.adam_beta2,
        max_grad_norm=training.max_grad_norm,
        epsilon=loss.clip_low,
        # For CISPO TRL takes the cap itself, and not its distance from 1.
        epsilon_high=loss.clip_high + (loss.surrogate == "cispo"),
        delta=loss.dual_clip,
        beta=loss.kl,
        # Plain k3 (arXiv 2402.03300, eq. 4). TRL would weight it by the importance ratio, which is
        # another estimator with another gradient.
        use_bias_correction_kl=False,
        loss_type=loss_type if loss.surrogate == "clip" else loss.surrogate,
        sapo_temperature_pos=loss.sapo_positive,
        sapo_temperature_neg=loss.sapo_negative,
        off_policy_mask_threshold=loss.off_policy_kl,
        importance_sampling_level=loss.ratio,
        seed=training.seed,
        shuffle_dataset=False,
        bf16=precision(training.dtype).bf16,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        **checkpointing(GRPOConfig, training.activation_checkpointing),
        logging_steps=1,
        save_steps=training.save_every * training.optimizer_steps,
        save_total_limit=2,
        disable_tqdm=True,
        report_to=list(training.report_to),
        ddp_find_unused_parameters=False,
        # Each pass of an update adds to the process's share of the gradients. Else FSDP keeps all
        # of them, whole and in float32, until the last pass: 28 GB at 7B.
        accelerator_config={
            "gradient_accumulation_kwargs": {"sync_each_batch": distributed.sharded()}
        },
        # In use where vLLM samples; the trainer puts what TRL does not know in its place.
        vllm_importance_sampling_mode=(
            "sequence_mask"
            if training.importance_mode == "geometric_mask"
            else training.importance_mode
        ),
        vllm_importance_sampling_clip_max=training.importance_cap,
    )


def env_reward(env_reward: list[float | None], **_: object) -> list[float | None]:
    """What the environment paid, TRL's reward function; `None` says that a row counts nowhere."""
    return env_reward
