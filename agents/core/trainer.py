"""The trainer: TRL's `GRPOTrainer` with our rollouts, our credit and our micro-batches.

TRL keeps what it is good at (optimiser, schedule, accelerate, checkpoints, the clipped loss, KL);
four of its methods are replaced, all in this file, written against trl 1.16:

- rollouts come from `Rollout.collect` through TRL's `rollout_func`;
- advantages come from the `Algorithm`, one number a token, in place of TRL's;
- where each batch is used for a single update, rows that cannot move the policy are left out of the
  forward pass and the rest is sorted by length, which changes no gradient;
- on a CPU only the response goes through the language-model head.
"""

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

os.environ.setdefault(
    "TRL_EXPERIMENTAL_SILENCE", "1"
)  # rollout_func is experimental; trl is pinned

from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from agents.core.algorithm import Algorithm
from agents.core.behaviour import behaviour
from agents.core.progress import Progress, Silent
from agents.core.runs import COMPLETE, Run
from agents.core.scoring import score
from agents.core.training import Training
from agents.core.types import Trajectory
from torl_env.problems.types import Problem


class Actor(Protocol):
    """Acts with the weights that are being trained."""

    def sync(self, model: Any) -> None:
        """Take over the weights of `model` before a rollout."""
        ...

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        """`group_size` trajectories of each problem, grouped by problem."""
        ...


class RLTrainer(GRPOTrainer):  # type: ignore[misc]
    """Trains a policy with any `Algorithm`.

    Args:
        model: The model to train, float32.
        tokenizer: Its tokenizer.
        algorithm: Credit and loss.
        training: Batch sizes, learning rate, length.
        problems: At least `steps * prompts_per_step` problems, used in order.
        actor: Samples the trajectories of a step.
        run: Where metrics, transcripts and checkpoints go.
        progress: Told of every step.
    """

    def __init__(
        self,
        *,
        model: Any,
        tokenizer: Any,
        algorithm: Algorithm,
        training: Training,
        problems: Sequence[Problem],
        actor: Actor,
        run: Run,
        progress: Progress | None = None,
    ) -> None:
        from datasets import Dataset

        self._algorithm = algorithm
        self._training = training
        self._problems = problems
        self._actor = actor
        self._run = run
        self._trajectories: list[Trajectory] = []
        self._seconds: dict[str, float] = {}
        self._parts: list[dict[str, Any]] = []
        rows = [{"prompt": p.question, "index": i} for i, p in enumerate(problems)]
        super().__init__(
            model=model,
            args=_trl_config(algorithm, training, run.path),
            train_dataset=Dataset.from_list(rows),
            reward_funcs=_env_reward,
            processing_class=tokenizer,
            rollout_func=self._rollout,
            callbacks=[_Checkpoints(), _Steps(progress or Silent())],
        )
        self.remove_callback(PrinterCallback)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = [row["index"] for row in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        output["advantages"] = self._credit(output["completion_ids"].shape, self._trajectories)
        return output

    def _rollout(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """TRL's hook: `prompts` come repeated, group by group."""
        size = self._training.group_size
        problems = [self._problems[index] for index in self._rows[::size]]
        if len(self._rows) % size or any(
            self._problems[index] is not problems[i // size] for i, index in enumerate(self._rows)
        ):
            raise RuntimeError(
                "a group is split over processes: make the rows of a process "
                "(micro_batch x accumulation) a multiple of group_size"
            )
        start = time.perf_counter()
        self._actor.sync(self.accelerator.unwrap_model(self.model))
        seed = self._training.seed * 1_000_003 + self.state.global_step
        rows = self._actor.collect(problems, size, seed)
        self._trajectories = rows
        self._seconds = {"rollout": time.perf_counter() - start}
        return {
            "prompt_ids": [list(t.prompt_ids) for t in rows],
            "completion_ids": [list(t.ids) for t in rows],
            "logprobs": [list(t.logprobs) for t in rows],
            "env_mask": [list(t.loss_mask) if t.scorable else [0] * len(t.ids) for t in rows],
            "env_reward": [t.reward if t.scorable else None for t in rows],
        }

    def _credit(self, shape: tuple[int, int], rows: Sequence[Trajectory]) -> torch.Tensor:
        """The algorithm's advantages, padded to (B, T)."""
        size = self._training.group_size
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        advantages = torch.zeros(shape, device=self.accelerator.device)
        for i, credit in enumerate(self._algorithm.assign_credit(groups)):
            advantages[i, : len(credit)] = torch.tensor(credit)
        return advantages

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **options: Any
    ) -> Any:
        """On a CPU, score the response alone; TRL's fused head scores the prompt too there."""
        if input_ids.device.type != "cpu":
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, **options
            )
        wanted = attention_mask.clone()
        wanted[:, :-logits_to_keep] = 0
        size = options.get("batch_size") or len(input_ids)
        chunks = (t.split(size) for t in (input_ids, attention_mask, wanted))
        with self.accelerator.autocast():
            parts = [
                score(model, ids, mask, want, self.temperature)
                for ids, mask, want in zip(*chunks, strict=True)
            ]
        logps, entropies = (
            torch.cat(part)[:, -logits_to_keep:] for part in zip(*parts, strict=True)
        )
        return logps, entropies, None

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        once = self.args.steps_per_generation == self.args.gradient_accumulation_steps
        if not (self.model.training and once and self.num_iterations == 1):
            return super()._prepare_inputs(generation_batch)
        count = self.args.steps_per_generation
        if self._step % count == 0 or not self._parts:
            batch = self._generate_and_score_completions(generation_batch)
            self._parts = micro_batches(batch, count, keep_all=self.beta != 0.0)
        return self._parts[self._step % count]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write one line of metrics for each step: TRL's numbers and ToRL's behaviour metrics."""
        super().log(logs, start_time)
        if "loss" not in logs or not self._trajectories:
            return
        told = self.state.log_history[-1]
        step = self.state.global_step
        rows = self._trajectories
        numbers = {
            **dataclasses.asdict(behaviour(rows)),
            "reward": _mean([t.reward for t in rows if t.scorable]),
            **{name: told[name] for name in _KEPT if name in told},
            "equal_groups": told.get("frac_reward_zero_std", float("nan")),
            "clip_ratio": told.get("clip_ratio/region_mean", float("nan")),
        }
        self._run.add_metrics(step, "rl", numbers)
        self._run.add_timing(step, "rl", {**self._seconds, "step": told.get("step_time", 0.0)})
        self._run.write_transcripts(step, rows)


_KEPT = ("loss", "grad_norm", "entropy", "kl", "learning_rate", "num_tokens")


def micro_batches(batch: dict[str, Any], count: int, keep_all: bool) -> list[dict[str, Any]]:
    """Split a batch into `count` parts of similar length, without padding columns.

    Args:
        batch: Tensors of shape (B, P) and (B, T) under TRL's names, and `num_items_in_batch`.
        count: Parts; each gets at least one row.
        keep_all: Keep rows whose advantages are all zero. They add nothing to the policy gradient,
            but they do to a KL term.

    Returns:
        The parts; `num_items_in_batch` still counts every row, so that leaving rows out changes no
        gradient.
    """
    lengths = batch["completion_mask"].sum(1)
    moves = (batch["advantages"] * batch.get("tool_mask", 1)).abs().sum(1) > 0
    order = torch.argsort(lengths + (lengths.max() + 1) * moves, stable=True)
    kept = order if keep_all else order[-max(int(moves.sum()), count) :]
    kept = kept[torch.argsort(lengths[kept], stable=True)]
    return [_narrow(batch, rows) for rows in torch.tensor_split(kept, count)]


def _narrow(batch: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """The given rows without columns in which all of them are padding."""
    prompt = batch["prompt_mask"][rows].any(0)
    completion = batch["completion_mask"][rows].any(0)
    part: dict[str, Any] = {}
    for name, value in batch.items():
        if not isinstance(value, torch.Tensor) or value.dim() < 2:
            part[name] = value
        else:
            part[name] = value[rows][:, prompt if name.startswith("prompt") else completion]
    return part


def _env_reward(env_reward: list[float | None], **_: object) -> list[float | None]:
    """What the environment paid; `None` tells TRL that a row counts nowhere."""
    return env_reward


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _trl_config(algorithm: Algorithm, training: Training, output: Path) -> GRPOConfig:
    rows = training.prompts_per_step * training.group_size
    loss = algorithm.loss
    on_cpu = not torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(output),
        max_steps=training.steps,
        per_device_train_batch_size=training.micro_batch,
        gradient_accumulation_steps=rows // training.micro_batch,
        num_generations=training.group_size,
        max_completion_length=training.max_tokens,
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
        activation_checkpointing=False,
        logging_steps=1,
        save_steps=training.save_every,
        save_total_limit=2,
        disable_tqdm=True,
        report_to=[],
    )


class _Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Saves after the last step and marks whole checkpoints: a resume never reads half of one."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        if state.global_step >= state.max_steps:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: object) -> None:
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class _Steps(TrainerCallback):  # type: ignore[misc]
    """Tells the progress display of each step and stops after the running one when asked to."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: object) -> None:
        if logs and "loss" in logs:
            self._progress.advance(1, reward=logs.get("reward", float("nan")))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        if self._progress.interrupted:
            control.should_save = control.should_training_stop = True
