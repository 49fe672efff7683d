"""`torl train --dry-run`: what a training would do and need, before it does or needs it."""

import re
from dataclasses import dataclass, replace
from typing import Any

from agents.core.algorithm import Algorithm
from agents.core.models import loading
from agents.core.models.dtype import default_device, precision
from agents.core.trainer import distributed
from agents.core.trainer.memory import MemoryPlan, plan_memory
from agents.core.trainer.options import Training
from agents.sft import SFT
from torl.console import CommandError
from torl.training.options import TrainOptions, algorithm_of, training_of
from torl_env.machine import memory_bytes

PROMPT_TOKENS = 256
"""Of a prompt, in the plans of memory and disk."""
_SPARE = 2e9
"""Bytes for what is not counted: contexts of CUDA, its graphs, buffers of a collective."""
TRANSCRIPT_BYTES = 12
"""Of one token on file: its id, its log-probability and its text, compressed; 9.5 in a run of a
0.5B model."""
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
    sft: SFT | None = None
    """How the SFT stage imitates, where there is one."""
    lora: bool = False
    """Whether adapters are trained in place of all weights."""

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
        # Adapters are small beside what they adapt.
        state = 4 * (1 if self.lora else 4) / (self.processes if self.sharded else 1)
        return self.parameters * (state + (0 if self.policy == "vllm-server" else 2)) / 1e9

    @property
    def checkpoints_gb(self) -> float:
        """Disk of three checkpoints, weights and Adam's moments, which is the most at a time.

        The weights after an SFT stage come on top.
        """
        # Adapters are small beside what they adapt.
        trained = 0.02 if self.lora else 1.0
        return (3 * 12 * trained + (4 if self.sft else 0)) * self.parameters / 1e9

    @property
    def transcripts_gb(self) -> float:
        """Disk of the transcripts of all steps, at most."""
        t = self.training
        kept = min(t.transcripts, self.rows) * t.steps
        return kept * (PROMPT_TOKENS + t.max_tokens) * TRANSCRIPT_BYTES / 1e9

    @property
    def disk_gb(self) -> float:
        """What the run writes in all, evaluations apart."""
        return self.checkpoints_gb + self.transcripts_gb

    @property
    def _imitation(self) -> str:
        if self.sft is None:
            return "none"
        many = f"{self.warm_start} traces" if self.warm_start else "traces from a file"
        return (
            f"{many}, {self.sft.epochs} epochs in batches of {self.sft.batch}, rate "
            f"{self.sft.learning_rate:g} {self.sft.schedule}"
        )

    def lines(self) -> list[str]:
        """For a person to read."""
        t = self.training
        rows = t.pass_rows(self.processes)
        passes = f"{t.passes(self.processes)} passes of {rows} rows over a step"
        if t.micro_batch_tokens:
            passes = f"passes of at most {t.micro_batch_tokens} tokens"
        elif rows < t.micro_batch:
            passes += f" (not {t.micro_batch}, which {self.rows} do not divide into)"
        ratios = f", importance ratios {t.importance_mode} at {t.importance_cap:g}"
        ahead = (
            f", in a process of its own, up to {t.staleness} steps ahead of learning; what would "
            f"be older: {t.late}"
        )
        return [
            f"model        {self.parameters / 1e9:.2f} billion parameters",
            f"warm start   {self._imitation}",
            f"steps        {t.steps}, of {t.prompts_per_step} problems x {t.group_size} samples = "
            f"{self.rows} episodes; {t.steps * self.rows} episodes in all",
            f"learning     rate {t.learning_rate:g}, sampling at temperature {t.temperature:g}",
            f"updates      {t.optimizer_steps} a step, {t.steps * t.optimizer_steps} in all; "
            + passes,
            f"computed in  {precision(t.dtype)}"
            + ", activations computed again in the backward pass" * t.activation_checkpointing,
            f"processes    {self.processes} on one device each, of {self.rows // self.processes} "
            f"episodes a step{', weights and optimiser shared out among them' * self.sharded}",
            f"sampling by  {self.policy}"
            + (ahead if t.staleness else "" if self.policy == "transformers" else ratios),
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
            f"disk         {self.checkpoints_gb:.1f} GB for checkpoints, "
            f"{self.transcripts_gb:.1f} GB for transcripts",
        ]


def plan_of(options: TrainOptions, *, memory: bool = False) -> Plan:
    """The size of the training that these options describe.

    Args:
        options: Resolved.
        memory: Plan that too, which takes some seconds.

    Raises:
        ValueError: The size of the model is unknown.
    """
    processes, sharded = distributed.world_size(), distributed.sharded()
    training, config = training_of(options), loading.config_of(options.model)
    imitates = not options.warm_start_from and (options.warm_start or options.traces)
    plan = Plan(
        parameters=_count(config) if config is not None else named_size(options.model),
        warm_start=0 if options.traces else options.warm_start or 0,
        training=training,
        processes=processes,
        sharded=sharded,
        policy=options.policy,
        sft=options.sft if imitates else None,
        lora=options.lora_rank > 0,
    )
    if not memory or config is None:
        return plan
    algorithm = algorithm_of(options)
    beside = _auxiliary(config, algorithm)
    planned = plan_memory(
        config,
        training,
        prompt_tokens=PROMPT_TOKENS,
        processes=processes,
        sharded=sharded,
        sampler_bytes=_sampler_bytes(options),
        sleeps=options.policy == "vllm",
        shares=processes == 1 and _on_cpu(options) and not (beside or algorithm.loss.entropy),
        lora_rank=options.lora_rank,
    )
    if algorithm.loss.kl and not options.lora_rank:
        beside += planned.weights
    planned = replace(planned, beside=beside)
    if training.staleness:
        # It shares the device of the learner, which keeps a copy for evaluations.
        planned = replace(planned, sleeps=False, apart=planned.sampler + planned.cache)
    return replace(plan, memory=planned)


def _on_cpu(options: TrainOptions) -> bool:
    """Whether the plan is for this machine's CPU, where rows of a group read their prompt once."""
    return default_device() == "cpu" and not options.device_gb


def _auxiliary(config: Any, algorithm: Algorithm) -> float:
    """Bytes of the algorithm's own module, with gradients and moments of what it trains."""
    import torch

    with torch.device("meta"):
        module = algorithm.auxiliary_module(_made(config))
    weights = () if module is None else module.parameters()
    return float(sum(p.numel() * (16 if p.requires_grad else 4) for p in weights))


def _sampler_bytes(options: TrainOptions) -> int:
    """Of one weight of what samples in the training process."""
    if options.policy == "vllm-server":
        return 0
    size = 2 if options.policy == "vllm" or precision(options.dtype).bf16 else 4
    # On a CPU the sampler packs its weights once more, see `agents.core.policies.packed_linear`.
    return size * (2 if options.policy == "transformers" and _on_cpu(options) else 1)


def _count(config: Any) -> float:
    return float(sum(p.numel() for p in _made(config).parameters()))


def _made(config: Any) -> Any:
    """The model without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def named_size(model: str) -> float:
    """Parameters of a model as its name tells them.

    Raises:
        ValueError: It does not.

    Example:
        >>> named_size("org/some-1.5B")
        1500000000.0
    """
    found = _BILLIONS.search(model)
    if found is None:
        raise ValueError(f"the size of {model!r} is unknown: expected a folder, or a name with ..B")
    return float(found[1]) * 1e9


def device_gb(options: TrainOptions) -> float:
    """What a process has on its device, or its share of main memory where that is the CPU."""
    if options.device_gb:
        return options.device_gb
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / 1e9
    return memory_bytes() / 1e9 / distributed.world_size()


def with_checkpointing(options: TrainOptions) -> tuple[TrainOptions, Plan | None]:
    """The options with activation checkpointing decided: by size, where nobody has said.

    Returns:
        Options, and their plan of memory where the decision took it.
    """
    if options.activation_checkpointing is not None:
        return options, None
    off = replace(options, activation_checkpointing=False)
    plan = plan_of(off, memory=True)
    if plan.memory is None or plan.memory.peak <= 1e9 * device_gb(options):
        return off, plan
    return replace(options, activation_checkpointing=True), None


def engine_share(plan: MemoryPlan, room: float) -> float:
    """The share of a device that vLLM gets beside a trainer: what it needs, or what is left.

    Args:
        plan: Of one process; its cache is that of all rows at once, vLLM may do with less.
        room: Bytes of the device.

    Raises:
        CommandError: Not even the engine's weights find room.

    Example:
        >>> state = {"weights": 6e9, "gradients": 12e9, "optimizer": 12e9, "gathered": 0.0}
        >>> plan = MemoryPlan(**state, activations=9e9, logits=9e9, sampler=3e9, cache=24e9)
        >>> engine_share(plan, 80e9), engine_share(plan, 40e9)
        (0.396, 0.5)
    """
    wanted = 1.1 * (plan.sampler + plan.cache) + _SPARE
    left = room - plan.weights - plan.optimizer - plan.gathered - _SPARE
    if left < plan.sampler + _SPARE:
        raise CommandError(
            f"vLLM needs {(plan.sampler + _SPARE) / 1e9:.0f} GB in the training process, which "
            f"leaves {left / 1e9:.0f}: --policy vllm-server, more processes, or a larger device"
        )
    return round(min(wanted, left) / room, 3)


def check_memory(plan: Plan, room_gb: float) -> None:
    """Whether the planned peak fits the device.

    Raises:
        CommandError: It does not.
    """
    if plan.memory is not None and plan.memory.peak / 1e9 > room_gb:
        raise CommandError(
            f"a process needs {plan.memory.peak / 1e9:.0f} GB at its peak and its device has "
            f"{room_gb:.0f}: lower --micro-batch or --micro-batch-tokens, or share weights out "
            "(runs/configs/fsdp.yaml)"
        )
