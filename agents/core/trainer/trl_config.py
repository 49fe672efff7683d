"""Our settings in the words of TRL's `GRPOConfig`."""

from pathlib import Path

import torch
from trl import GRPOConfig

from agents.core.algorithm import Algorithm
from agents.core.trainer import distributed
from agents.core.trainer.options import Training, no_checkpointing


def trl_config(algorithm: Algorithm, training: Training, output: Path) -> GRPOConfig:
    """TRL's settings for an algorithm and a training.

    Raises:
        ProcessesError: The batch cannot be shared by the processes that there are.
    """
    passes = training.passes(distributed.world_size())
    loss = algorithm.loss
    on_cpu = not torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(output),
        max_steps=training.steps * training.optimizer_steps,
        per_device_train_batch_size=training.micro_batch,
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
        epsilon_high=loss.clip_high,
        delta=loss.dual_clip,
        beta=loss.kl,
        loss_type="dapo" if loss.mean == "token" else "grpo",
        importance_sampling_level=loss.ratio,
        seed=training.seed,
        shuffle_dataset=False,
        bf16=training.bf16,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        **no_checkpointing(GRPOConfig),
        logging_steps=1,
        save_steps=training.save_every * training.optimizer_steps,
        save_total_limit=2,
        disable_tqdm=True,
        report_to=list(training.report_to),
        ddp_find_unused_parameters=False,
        # Truncated importance sampling in use where vLLM samples.
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=2.0,
    )
