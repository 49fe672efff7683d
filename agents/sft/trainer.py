"""Supervised fine-tuning on traces with TRL's `SFTTrainer`; the loss mask is the trace's own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.core.models.dtype import precision
from agents.core.run.folder import Run
from agents.core.run.progress import Progress, Silent
from agents.core.trainer.logprobs import token_logprobs
from agents.core.trainer.options import checkpointing
from agents.sft.traces import IGNORED, Trace


@dataclass(frozen=True, slots=True)
class SFT:
    """How to imitate."""

    epochs: int = 2
    """Passes over the traces."""
    batch: int = 16
    """Traces per optimiser step."""
    micro_batch: int = 8
    """Traces per forward pass; must divide `batch`."""
    learning_rate: float = 1e-4
    """Of the laptop's warm start; THOR fine-tunes at 2e-6 (appendix D.1)."""
    schedule: str = "linear"
    """Of the rate, a name that transformers knows: linear, cosine, constant, ..."""
    warmup_steps: int = 0
    """The linear schedule starts at zero when it warms up, which wastes a step of a short stage."""
    seed: int = 0
    dtype: str = "auto"
    """What a pass is computed in, around float32 weights; see `agents.core.models.dtype`."""
    activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.batch % self.micro_batch:
            raise ValueError(
                f"batch = {self.batch} must be a multiple of micro_batch = {self.micro_batch}"
            )

    def steps(self, traces: int) -> int:
        """Optimiser steps for so many traces."""
        return max(1, self.epochs * traces // self.batch)


def train_sft(
    model: Any,
    tokenizer: Any,
    traces: Sequence[Trace],
    sft: SFT,
    run: Run,
    progress: Progress | None = None,
) -> None:
    """Train `model` in place on `traces`; metrics go to the run as stage `sft`.

    Raises:
        ValueError: There are fewer traces than one batch.
    """
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    class _Trainer(SFTTrainer):  # type: ignore[misc]
        """On a CPU, only what is to be learned goes through the language-model head."""

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
            items = options.get("num_items_in_batch")
            if inputs["input_ids"].device.type != "cpu" or items is None:
                return super().compute_loss(model, inputs, *args, **options)
            wanted = inputs["labels"] != IGNORED
            logprobs, _ = token_logprobs(
                model, inputs["input_ids"], inputs["attention_mask"], wanted
            )
            return -logprobs.sum() / items

    if len(traces) < sft.batch:
        raise ValueError(
            f"{len(traces)} traces do not fill one batch of {sft.batch}: "
            "give more problems or lower the batch"
        )
    rows = [{"input_ids": [*t.prompt_ids, *t.ids], "labels": t.labels()} for t in traces]
    on_cpu = not torch.cuda.is_available()
    trainer = _Trainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            output_dir=str(run.path / "sft"),
            max_steps=sft.steps(len(traces)),
            per_device_train_batch_size=sft.micro_batch,
            gradient_accumulation_steps=sft.batch // sft.micro_batch,
            learning_rate=sft.learning_rate,
            lr_scheduler_type=sft.schedule,
            warmup_steps=sft.warmup_steps,
            seed=sft.seed,
            bf16=precision(sft.dtype).bf16,
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


def _reporting(run: Run, progress: Progress) -> Any:
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        """Writes one line of metrics a step."""

        started = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "loss" not in logs:
                return
            kept = {k: logs[k] for k in ("loss", "grad_norm", "learning_rate") if k in logs}
            run.add_metrics(state.global_step, "sft", kept)
            now = time.perf_counter()
            run.add_timing(state.global_step, "sft", {"seconds": now - self.started})
            self.started = now
            progress.advance(1, loss=logs["loss"])

    return Report()


def save(model: Any, tokenizer: Any, target: Path) -> None:
    """Save weights and tokenizer so that the folder appears whole or not at all."""
    scratch = target.with_name(f".{target.name}.partial")
    model.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    scratch.rename(target)
