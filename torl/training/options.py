"""The options of `torl train`, and what they mean to the parts of a training."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agents.core.algorithm import Algorithm
from agents.core.trainer.options import Training
from agents.core.types import Sampling
from torl.algorithms import implied, make_algorithm
from torl.console import CommandError

if TYPE_CHECKING:
    from agents.core.trainer.vllm_generation import VLLM


@dataclass(frozen=True)
class TrainOptions:
    """Train a language model to think with Python.

    The defaults are the laptop run: SmolLM2-135M-Instruct on easy procedural problems, on CPU in
    about twelve minutes on two cores. ToRL's own settings are the defaults of `agents.grpo.GRPO`.
    """

    out: Path = Path("out/demo")
    """Run folder; must be new or empty, unless --resume is given."""
    resume: bool = False
    """Go on with the run in --out from its last checkpoint, with the options of that run."""
    dry_run: bool = False
    """Print what the run would do and need, and stop before it does."""
    algorithm: str = "grpo"
    """grpo, rloo (leave-one-out), ppo, thor; cot (GRPO without a tool); sft, cot-sft (imitation
    alone, with the tool or without); or module:Class for one of your own."""
    set: tuple[str, ...] = ()
    """Settings of the algorithm or its loss: --set clip_high=0.28 nll=0.01 scale_by_std=false."""
    model: str = "smollm2"
    """`smollm2` (embedded default), a folder, or a hub id."""
    problems: str = "procedural:easy:L2-3"
    """Training problems: see `torl data list`."""
    heldout: str = ""
    """Problems to evaluate on; empty: the held-out split of --problems."""
    allow_overlap: str = ""
    """Train although problems of this held-out source are among the training problems."""
    prompt: str = "chat"
    """Prompt style: chat, chat-text, or torl (base models)."""
    reward: str = "torl"
    """Reward preset: torl, torl_penalty, thor, limr."""
    tool_budget: int = 1
    """C: tool calls per episode; 0 trains on text alone."""
    warm_start: int = 96
    """Traces of the SFT stage before RL; 0 leaves the stage out."""
    warm_start_code: float = 0.4
    """Share of these traces that call the tool."""
    traces: Path | None = None
    """Traces to imitate (.jsonl) in place of generated ones: written ones, or transcripts and
    records, of which right answers are taken. With --steps 0 this is all there is to train."""
    warm_start_from: Path | None = None
    """Weights of an earlier SFT stage to start RL from, in place of a stage of its own."""
    steps: int = 12
    """RL steps: batches that are sampled and learned from."""
    prompts: int = 8
    """Problems per step."""
    group: int = 8
    """Samples per problem."""
    micro_batch: int = 16
    """Rows per forward and backward pass; less needs less memory."""
    updates: int = 1
    """Optimiser steps that a batch is divided among."""
    epochs: int = 1
    """Passes over each batch."""
    learning_rate: float = 1e-5
    lora_rank: int = 0
    """Rank of LoRA adapters to train in place of all weights (needs PEFT); 0 trains all."""
    max_tokens: int = 110
    """Tokens of one response, tool output included."""
    temperature: float = 1.0
    """Of sampling during training."""
    eval_problems: int = 128
    """Held-out problems evaluated before and after; 0 leaves evaluation out."""
    eval_temperature: float = 0.6
    save_every: int = 4
    """Steps between checkpoints."""
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    report_to: tuple[str, ...] = ()
    """Also tell trackers of each RL step: tensorboard, wandb, trackio, or another that transformers
    knows. They are installed apart."""
    policy: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    """What samples in training: transformers, vLLM in the training process, or a vLLM server."""
    vllm_memory: float = 0.3
    """Share of the GPU's memory that vLLM takes in the training process."""
    vllm_url: str = "http://localhost:8000/v1"
    """Of the vLLM server."""


def resolved(options: TrainOptions) -> TrainOptions:
    """The options with what the algorithm implies: without a tool none is paid for or shown."""
    return dataclasses.replace(options, **implied(options.algorithm, options.prompt))


def algorithm_of(options: TrainOptions) -> Algorithm:
    """Credit and loss.

    Raises:
        CommandError: No such algorithm, or an impossible setting.
    """
    if options.group < 2:
        raise CommandError(
            f"--group {options.group}: a group of one has no baseline; expected at least 2"
        )
    sizes = {"group_size": options.group, "prompts_per_step": options.prompts}
    return make_algorithm(options.algorithm, options.set, sizes)


def training_of(options: TrainOptions, processes: int = 1) -> Training:
    """Sizes and rates; no micro-batch is larger than what one process has to learn from."""
    own = options.prompts * options.group // processes
    return Training(
        steps=options.steps,
        prompts_per_step=options.prompts,
        group_size=options.group,
        learning_rate=options.learning_rate,
        micro_batch=min(options.micro_batch, own),
        updates=options.updates,
        epochs=options.epochs,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        save_every=options.save_every,
        seed=options.seed,
        report_to=options.report_to,
    )


def sampling_of(options: TrainOptions) -> Sampling:
    """How training samples."""
    return Sampling(options.temperature, max_tokens=options.max_tokens)


def vllm_of(options: TrainOptions) -> "VLLM | None":
    """Where vLLM samples; `None` where transformers does."""
    if options.policy == "transformers":
        return None
    from agents.core.trainer.vllm_generation import VLLM, Mode

    mode = Mode.COLOCATE if options.policy == "vllm" else Mode.SERVER
    rows = options.prompts * options.group
    return VLLM(mode, options.vllm_memory, options.vllm_url, rows=min(rows, 256))
