"""How long and how hard to train; needs no torch to be read or checked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Training:
    """How long and how hard to train, apart from the algorithm."""

    steps: int = 16
    """Optimiser steps; each samples and uses a fresh batch."""
    prompts_per_step: int = 8
    group_size: int = 8
    learning_rate: float = 1e-5
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    micro_batch: int = 16
    """Rows per forward and backward pass, on each process."""
    max_tokens: int = 110
    """Tokens of one response; only for TRL's own bookkeeping here."""
    save_every: int = 4
    """Steps between checkpoints; the last step is always saved."""
    seed: int = 0
    bf16: bool = True
    """Autocast to bfloat16 around float32 weights."""

    def __post_init__(self) -> None:
        rows = self.prompts_per_step * self.group_size
        if rows % self.micro_batch:
            raise ValueError(
                f"prompts_per_step x group_size = {rows} rows must be a multiple of "
                f"micro_batch = {self.micro_batch}"
            )
