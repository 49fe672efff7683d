"""TRL's engine and transfer of weights, with sleep around our rollouts and a way for a CPU.

Imports TRL, so only a training that samples with vLLM imports it. Written against trl 1.16.
"""

import os
from typing import Any

from trl.generation.vllm_generation import VLLMGeneration

from agents.core.policies.openai_client import Server
from agents.core.policies.vllm import Engine
from agents.core.policies.vllm_engines import SETTINGS, SteppedEngine, spare_the_cpu
from agents.core.policies.vllm_server import ServedEngine, vllm_models
from agents.core.trainer import distributed


class Generation(VLLMGeneration):  # type: ignore[misc]
    """Its engine sleeps while the learner works: their memory is one."""

    engine: Engine
    _llm_weights_sleeping: bool
    asleep = True
    """Whether there is no room for a cache; TRL's engine begins so where it may sleep."""
    updated = False
    """Whether weights of the training have come to it."""

    @property
    def on_cpu(self) -> bool:
        """TRL's transfer does not run there."""
        return bool(self.accelerator.device.type == "cpu")

    def _init_vllm(self) -> None:
        if not self.on_cpu:
            super()._init_vllm()
        elif self.mode == "colocate":
            self.llm = _on_cpu(self)
        if self.mode == "colocate":
            self.engine = SteppedEngine(self.llm.llm_engine)
        else:
            url = f"{self.server_base_url}/v1"
            (name, *_) = vllm_models(url)
            self.engine = ServedEngine(Server(name, url), rows=self.max_num_seqs)

    def _iter_fsdp_params(self, model: Any) -> Any:
        # Before the first step nothing is sharded, and TRL takes every weight for sharded.
        if any(hasattr(weight, "full_tensor") for weight in model.parameters()):
            yield from super()._iter_fsdp_params(model)
            return
        for name, weight in model.named_parameters():
            yield self._fix_param_name_to_vllm(name), weight.data

    def wake(self) -> None:
        """Have weights and room for a cache, after `sleep` or from the beginning."""
        if not self.enable_sleep_mode:
            return
        if self._llm_weights_sleeping and self.updated:
            self.sync_weights()
        elif self._llm_weights_sleeping:
            self.llm.wake_up(tags=["weights"])
            # Those of the folder that it was started with, which training starts from.
            self.llm.collective_rpc("reload_weights")
            self._llm_weights_sleeping = False
        if self.asleep:
            self.llm.wake_up(tags=["kv_cache"])
            self.asleep = False

    def sleep(self) -> None:
        """Let go of weights (level 2: they come again by `sync_weights`) and cache."""
        if self.enable_sleep_mode and not self.asleep:
            self.llm.sleep(level=2)
            self.asleep = self._llm_weights_sleeping = True

    def sync_weights(self) -> None:
        """Hand over the weights in training; every process has to call this."""
        self.updated = True
        if not self.on_cpu:
            super().sync_weights()
        elif self.mode == "colocate" or distributed.is_main():
            self.engine.load_weights(self._iter_named_params())
        else:
            # Weights that are sharded are put together by all processes at once.
            for _ in self._iter_named_params():
                pass
        distributed.barrier()


def _on_cpu(generation: Any) -> Any:
    """A float32 engine without compilation, which takes minutes on a CPU."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    spare_the_cpu()
    from vllm import LLM

    return LLM(
        model=generation.model.name_or_path,
        dtype="float32",
        enforce_eager=True,
        max_model_len=generation.max_model_length,
        max_num_seqs=generation.max_num_seqs,
        **SETTINGS,
    )
