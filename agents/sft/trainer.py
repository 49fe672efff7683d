"""Supervised fine-tuning on traces with TRL's `SFTTrainer`; the loss mask is the trace's own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.models.dtype import precision
from agents.core.run.folder import Run
from agents.core.run.heartbeat import beat
from agents.core.run.progress import Progress, Silent
from agents.core.trainer import distributed
from agents.core.trainer.options import checkpointing
from agents.sft.traces import IGNORED, Trace


@dataclass(frozen=True, slots=True)
class SFT:
    """How to imitate.

    The defaults are the laptop's warm start; THOR (appendix D.1) fine-tunes for one epoch with
    batches of 256 at a rate of 2e-6.
    """

    epochs: int = 2
    """Passes over the traces."""
    batch: int = 16
    """Traces per optimiser step, of all processes together."""
    micro_batch: int = 16
    """Traces per forward pass of a process."""
    learning_rate: float = 1e-4
    schedule: str = "linear"
    """Of the rate, a name that transformers knows: linear, cosine, constant, ..."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass: a third more work, far less memory."""
    warmup_steps: int = 0
    """The linear schedule starts at zero when it warms up, which wastes a step of a short stage."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of SFT must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0 or self.warmup_steps < 0:
            raise ValueError(
                "learning_rate of SFT must be positive and warmup_steps at least 0, got "
                f"{self.learning_rate} and {self.warmup_steps}"
            )

    def steps(self, traces: int) -> int:
        """Optimiser steps for so many traces."""
        return max(1, self.epochs * traces // self.batch)

    def pass_rows(self, processes: int = 1) -> int:
        """Traces of one forward pass: the largest number up to `micro_batch` that fits.

        Raises:
            ProcessesError: A batch cannot be shared by so many processes.

        Example:
            >>> SFT(batch=24, micro_batch=16).pass_rows(), SFT(batch=16).pass_rows(4)
            (12, 4)
        """
        if self.batch % processes:
            raise distributed.ProcessesError(
                f"a batch of {self.batch} traces cannot be shared evenly by {processes} processes"
            )
        own = self.batch // processes
        return max(n for n in range(1, min(self.micro_batch, own) + 1) if own % n == 0)


def train_sft(
    model: Any,
    tokenizer: Any,
    traces: Sequence[Trace],
    sft: SFT,
    run: Run,
    progress: Progress | None = None,
    *,
    seed: int = 0,
    dtype: str = "auto",
) -> Any:
    """Train `model` in place on `traces`; metrics go to the run as stage `sft`.

    Where several processes train together each calls this, with the same traces.

    Args:
        model: In float32.
        tokenizer: Its tokenizer.
        traces: At least as many as a batch.
        sft: How to imitate.
        run: Gets the metrics.
        progress: Called at every step.
        seed: Of the order of the traces.
        dtype: What a pass is computed in; see `agents.core.models.dtype`.

    Returns:
        TRL's trainer, for `save`.

    Raises:
        ValueError: There are fewer traces than one batch.
    """
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from agents.core.trainer.logprobs import token_logprobs
    from agents.core.trainer.prefix_sharing import can_share, packed_logprobs

    processes = distributed.world_size()

    class _Trainer(SFTTrainer):  # type: ignore[misc]
        """On a CPU, only what is to be learned goes through the language-model head."""

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
            beat("sft")
            items = options.get("num_items_in_batch")
            # Among several processes the model is wrapped, and has to be called as a whole.
            alone = processes == 1 and inputs["input_ids"].device.type == "cpu"
            if not alone or items is None:
                return super().compute_loss(model, inputs, *args, **options)
            wanted = inputs["labels"] != IGNORED
            shares = can_share(model) and not sft.activation_checkpointing
            read = packed_logprobs if shares else token_logprobs
            logprobs, _ = read(model, inputs["input_ids"], inputs["attention_mask"], wanted)
            return -logprobs.sum() / items

    if len(traces) < sft.batch:
        raise ValueError(
            f"{len(traces)} traces do not fill one batch of {sft.batch}: "
            "give more traces (--warm-start) or lower --sft.batch"
        )
    rows = [{"input_ids": [*t.prompt_ids, *t.ids], "labels": t.labels()} for t in traces]
    on_cpu, rows_of_pass = not torch.cuda.is_available(), sft.pass_rows(processes)
    trainer = _Trainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            output_dir=str(run.path / "sft"),
            max_steps=sft.steps(len(traces)),
            per_device_train_batch_size=rows_of_pass,
            gradient_accumulation_steps=sft.batch // (processes * rows_of_pass),
            learning_rate=sft.learning_rate,
            lr_scheduler_type=sft.schedule,
            warmup_steps=sft.warmup_steps,
            seed=seed,
            bf16=precision(dtype).bf16,
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
            **checkpointing(SFTConfig, sft.activation_checkpointing),
            max_length=None,
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
            report_to=[],
        ),
        callbacks=[_reporting(run, progress or Silent())],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def _reporting(run: Run, progress: Progress) -> Any:
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        """Writes one line of metrics a step."""

        started = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "loss" not in logs or not distributed.is_main():
                return
            kept = {k: logs[k] for k in ("loss", "grad_norm", "learning_rate") if k in logs}
            run.add_metrics(state.global_step, "sft", kept)
            now = time.perf_counter()
            run.add_timing(state.global_step, "sft", {"seconds": now - self.started})
            self.started = now
            progress.advance(1, loss=logs["loss"])

    return Report()


def save(trainer: Any, target: Path) -> None:
    """Save weights and tokenizer so that the folder appears whole or not at all.

    Every process calls this: weights that are shared out are gathered.

    Args:
        trainer: What `train_sft` returned.
        target: The folder.
    """
    scratch = target.with_name(f".{target.name}.partial")
    trainer.save_model(str(scratch))
    distributed.barrier()
    if distributed.is_main():
        # TRL leaves its own arguments beside the weights, which name folders of this machine.
        (scratch / "training_args.bin").unlink(missing_ok=True)
        scratch.rename(target)
    distributed.barrier()
