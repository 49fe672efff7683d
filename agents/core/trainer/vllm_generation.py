"""vLLM beside the trainer: TRL's engine and weight transfer, our rollouts.

TRL starts the engine (colocated with each training process, or a server that is up already) and
hands over weights, gathered from FSDP, DeepSpeed or adapters; the rollout engine drives it. On a
CPU, where TRL's transfer does not run, the weights go the way of `vllm_worker`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agents.core.policies.stopping import end_ids
from agents.core.policies.vllm import VLLMPolicy
from agents.core.policies.vllm_engines import EngineError, needs_vllm
from agents.core.policies.vllm_server import vllm_models
from agents.core.rollout.engine import Rollout
from agents.core.trainer import distributed
from agents.core.trainer.weight_sync import RolloutSampler
from agents.core.types import Sampling


class Mode(StrEnum):
    """Where vLLM runs."""

    COLOCATE = "colocate"
    """In each training process, sharing its GPU."""
    SERVER = "server"
    """In a server started by `vllm serve`, on other GPUs."""


@dataclass(frozen=True, slots=True)
class VLLM:
    """How a training samples with vLLM."""

    mode: Mode = Mode.COLOCATE
    memory: float = 0.3
    """Share of the GPU's memory for the engine, weights included; colocated only."""
    url: str = "http://localhost:8000/v1"
    """Of the server, up to and with `/v1`."""
    window: int | None = None
    """Ids of prompt and response together; by default what the model allows."""
    rows: int = 256
    """Most episodes at a time."""

    def __post_init__(self) -> None:
        if not 0 < self.memory < 1:
            raise ValueError(f"the share of memory for vLLM must be in (0, 1), got {self.memory}")


def check(vllm: VLLM) -> None:
    """Fail before any work where this cannot run.

    Raises:
        EngineError: VLLM is missing, or does not run like this here.
        ServerError: No server answers.
    """
    import torch

    if vllm.mode is Mode.SERVER:
        vllm_models(vllm.url)
        return
    needs_vllm()
    if not torch.cuda.is_available() and distributed.world_size() > 1:
        raise EngineError(
            "colocated vLLM on a CPU runs in one process: use one, or --policy vllm-server, or "
            "--policy transformers"
        )


class VLLMSampler(RolloutSampler):
    """Samples with vLLM; the trainer hands it an engine, and the weights before each rollout.

    Args:
        vllm: Where and how.
        make_rollout: Builds the rollout engine over a policy.
    """

    def __init__(self, vllm: VLLM, make_rollout: Callable[[VLLMPolicy], Rollout]) -> None:
        self._vllm, self._make_rollout = vllm, make_rollout

    def attach(self, model: Any, accelerator: Any, tokenizer: Any) -> Any:
        """Start or find the engine.

        Returns:
            TRL's `VLLMGeneration`, whose `sync_weights` is to be called before a rollout.
        """
        self._generation = generation = _generation(self._vllm, model, accelerator, tokenizer)
        if self._vllm.mode is Mode.SERVER:
            # Whatever weights it was left with by an earlier run, an evaluation wants these.
            generation.sync_weights()
        ends = end_ids(tokenizer, accelerator.unwrap_model(model).generation_config)
        self.rollout = self._make_rollout(VLLMPolicy(generation.engine, tokenizer, ends=ends))
        return generation

    def sync(self, model: Any) -> None:
        """Forget the states of the last rollout and wake; weights come by `sync_weights`."""
        self.rollout.forget()
        self._generation.wake()

    def rest(self) -> None:
        """Let the engine sleep: its memory is the learner's meanwhile."""
        self._generation.sleep()

    def evaluating(self, sampling: Sampling) -> Rollout:
        """See `RolloutSampler`."""
        self._generation.wake()
        return super().evaluating(sampling)


def _generation(vllm: VLLM, model: Any, accelerator: Any, tokenizer: Any) -> Any:
    from agents.core.trainer.vllm_transfer import Generation

    return Generation(
        model=model,
        accelerator=accelerator,
        processing_class=tokenizer,
        mode=str(vllm.mode),
        server_base_url=vllm.url.rstrip("/").removesuffix("/v1"),
        gpu_memory_utilization=vllm.memory,
        max_model_length=vllm.window,
        max_num_seqs=vllm.rows,
        # The CPU's engine cannot sleep, and a server has memory of its own.
        enable_sleep_mode=vllm.mode is Mode.COLOCATE and accelerator.device.type != "cpu",
    )
