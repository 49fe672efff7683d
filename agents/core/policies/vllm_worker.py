"""What is added to vLLM's workers so that they take over weights: `--worker-extension-cls`.

VLLM's own `reload_weights` leaves a language-model head that is tied to the embedding as it was
where kernels keep a packed copy of it, which they do on a CPU.
"""

from collections.abc import Iterable
from typing import Any

EXTENSION = "agents.core.policies.vllm_worker.TakesWeights"
"""Name of the class below, as vLLM wants it."""


class TakesWeights:
    """A method more for a worker; every worker calls it on its own share of the model."""

    def take_weights(
        self,
        weights_path: str | None = None,
        weights_iterator: Iterable[tuple[str, Any]] | None = None,
    ) -> None:
        """Take over weights from a folder or directly."""
        worker: Any = self
        worker.reload_weights(weights_path=weights_path, weights_iterator=weights_iterator)
        pack_tied_head(worker.model_runner.get_model())


def pack_tied_head(model: Any) -> None:
    """Renew the packed copy of a tied language-model head."""
    for module in model.modules():
        if type(module).__name__ == "ParallelLMHead" and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)
