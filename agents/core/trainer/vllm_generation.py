"""vLLM beside the trainer: TRL's engine and weight transfer, our rollouts.

TRL starts the engine (colocated with each training process, or a server that is up already) and
hands over weights, gathered from FSDP, DeepSpeed or adapters; the rollout engine drives it. On a
CPU, where TRL's transfer does not run, the weights go the way of `vllm_worker`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agents.core.policies.openai_client import Server
from agents.core.policies.stopping import end_ids
from agents.core.policies.vllm import Engine, VLLMPolicy
from agents.core.policies.vllm_engines import (
    SETTINGS,
    EngineError,
    SteppedEngine,
    needs_vllm,
    spare_the_cpu,
)
from agents.core.policies.vllm_server import ServedEngine, served_models
from agents.core.rollout.engine import Rollout
from agents.core.trainer import distributed
from agents.core.trainer.weight_sync import RolloutSampler


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
        served_models(vllm.url)
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
        generation = _generation(self._vllm, model, accelerator, tokenizer)
        ends = end_ids(tokenizer, accelerator.unwrap_model(model).generation_config)
        self.rollout = self._make_rollout(VLLMPolicy(generation.engine, tokenizer, ends=ends))
        return generation

    def sync(self, model: Any) -> None:
        """Forget the states of the last rollout; the weights come by `sync_weights`."""
        self.rollout.forget()


def _generation(vllm: VLLM, model: Any, accelerator: Any, tokenizer: Any) -> Any:
    from trl.generation.vllm_generation import VLLMGeneration

    on_cpu = accelerator.device.type == "cpu"

    class Generation(VLLMGeneration):  # type: ignore[misc]
        """TRL's, with an engine for our policy."""

        engine: Engine

        def _init_vllm(self) -> None:
            if not on_cpu:
                super()._init_vllm()
            elif vllm.mode is Mode.COLOCATE:
                self.llm = _on_cpu(vllm, self.model.name_or_path)
            if vllm.mode is Mode.COLOCATE:
                self.engine = SteppedEngine(self.llm.llm_engine)
            else:
                (name, *_) = served_models(vllm.url)
                self.engine = ServedEngine(Server(name, vllm.url), rows=vllm.rows)

        def sync_weights(self) -> None:
            if not on_cpu:
                super().sync_weights()
            elif vllm.mode is Mode.COLOCATE or distributed.is_main():
                self.engine.load_weights(self._iter_named_params())
            distributed.barrier()

    return Generation(
        model=model,
        accelerator=accelerator,
        processing_class=tokenizer,
        mode=str(vllm.mode),
        server_base_url=vllm.url.rstrip("/").removesuffix("/v1"),
        gpu_memory_utilization=vllm.memory,
        max_model_length=vllm.window,
        max_num_seqs=vllm.rows,
    )


def _on_cpu(vllm: VLLM, model: str) -> Any:
    """A float32 engine without compilation, which takes minutes on a CPU."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    spare_the_cpu()
    from vllm import LLM

    return LLM(
        model=model,
        dtype="float32",
        enforce_eager=True,
        max_model_len=vllm.window,
        max_num_seqs=vllm.rows,
        **SETTINGS,
    )
