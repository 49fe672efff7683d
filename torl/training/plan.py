"""`torl train --dry-run`: what a training would do and need, before it does or needs it."""

import re
from dataclasses import dataclass

from agents.core.models.dtype import precision
from agents.core.trainer.memory import MemoryPlan, plan_memory
from agents.core.trainer.options import Training

PROMPT_TOKENS = 256
"""Of a prompt, in the plan of memory."""
_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)[bB]\b")


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a training."""

    parameters: float
    """Of the model."""
    warm_start: int
    """Traces of the SFT stage."""
    training: Training
    processes: int = 1
    """That train together."""
    sharded: bool = False
    """Whether they share out weights, gradients and optimiser (FSDP, ZeRO-3)."""
    policy: str = "transformers"
    """What samples."""
    memory: MemoryPlan | None = None
    """Of one process, where the model's configuration is at hand."""

    @property
    def rows(self) -> int:
        """Episodes of a step."""
        return self.training.prompts_per_step * self.training.group_size

    @property
    def memory_gb(self) -> float:
        """Of one process, in GB.

        Weights, gradients and Adam's two moments in float32, all or the process's share of them,
        and the sampler's copy in bfloat16, always all of it unless a server holds it.
        Activations and logits come on top and grow with `micro_batch` times response length.

        Example:
            >>> round(Plan(1.5e9, 0, Training()).memory_gb)
            27
            >>> round(Plan(7e9, 0, Training(), processes=8, sharded=True).memory_gb)
            28
        """
        state = 4 * 4 / (self.processes if self.sharded else 1)
        return self.parameters * (state + (0 if self.policy == "vllm-server" else 2)) / 1e9

    @property
    def checkpoints_gb(self) -> float:
        """Disk of three checkpoints, weights and Adam's moments, which is the most at a time."""
        return 3 * self.parameters * 3 * 4 / 1e9

    def lines(self) -> list[str]:
        """For a person to read."""
        t = self.training
        rows = t.pass_rows(self.processes)
        shrunk = f" (not {t.micro_batch}, which {self.rows} do not divide into)"
        return [
            f"model        {self.parameters / 1e9:.2f} billion parameters",
            f"warm start   {self.warm_start} traces",
            f"steps        {t.steps}, of {t.prompts_per_step} problems x {t.group_size} samples = "
            f"{self.rows} episodes; {t.steps * self.rows} episodes in all",
            f"learning     rate {t.learning_rate:g}, sampling at temperature {t.temperature:g}",
            f"updates      {t.optimizer_steps} a step, {t.steps * t.optimizer_steps} in all; "
            f"{t.passes(self.processes)} passes of {rows} rows over a step"
            + (shrunk if rows < t.micro_batch else ""),
            f"computed in  {precision(t.dtype)}",
            f"processes    {self.processes}, of {self.rows // self.processes} episodes a step"
            + (", weights and optimiser shared out among them" if self.sharded else ""),
            f"sampling by  {self.policy}",
            f"tokens       at most {t.max_tokens} an episode, {self.rows * t.max_tokens:,} a step",
            *(
                self.memory.lines()
                if self.memory
                else [
                    f"memory       {self.memory_gb:.0f} GB a process for weights, gradients, "
                    "optimiser and sampler; activations on top, which the model's configuration "
                    "would tell" + (", and vLLM's cache" if self.policy == "vllm" else "")
                ]
            ),
            f"disk         {self.checkpoints_gb:.0f} GB for checkpoints",
        ]


def parameters(model: str) -> float:
    """Parameters of a model: counted where its configuration is at hand, else read off its name.

    Raises:
        ValueError: Neither is possible.

    Example:
        >>> parameters("Qwen/Qwen2.5-Math-1.5B")
        1500000000.0
    """
    from pathlib import Path

    from agents.core.models.loading import resolve

    source = resolve(model)
    if Path(source).is_dir():
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source))
        return float(sum(p.numel() for p in made.parameters()))
    found = _BILLIONS.search(model)
    if found is None:
        raise ValueError(f"the size of {model!r} is unknown: expected a folder, or a name with ..B")
    return float(found[1]) * 1e9


def memory_of(
    model: str, training: Training, processes: int, sharded: bool, policy: str
) -> MemoryPlan | None:
    """The memory of a training, where the model's configuration can be read without a network."""
    from pathlib import Path

    from agents.core.models.loading import resolve

    source = resolve(model)
    # What vLLM takes is a share of a device that is not here.
    if policy == "vllm" or not Path(source).is_dir():
        return None
    from transformers import AutoConfig

    return plan_memory(
        AutoConfig.from_pretrained(source),
        training,
        prompt_tokens=PROMPT_TOKENS,
        processes=processes,
        sharded=sharded,
        sampler_bytes=0 if policy == "vllm-server" else 2 if precision(training.dtype).bf16 else 4,
        checkpointing=training.activation_checkpointing,
    )
