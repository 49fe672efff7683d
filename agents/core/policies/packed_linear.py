"""Linear layers of a sampler on a CPU, their weights laid out once for the kernel that reads them.

A product of a few rows with a large matrix costs what reading the matrix costs, and oneDNN lays a
plain matrix out anew in every call: a third of the time of a pass of 4 rows in bfloat16, a quarter
of one of 64 in float32. Packed, the products are the same to the last bit in bfloat16.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from agents.core.policies.row_cache import free_bytes

ROWS = 64
"""For which weights are laid out; other numbers of rows are right too."""

_MOST = 0.25
"""Of the memory that is free, what the packed copies may take."""

_PACKED: "WeakKeyDictionary[nn.Module, tuple[tuple[int, int], Tensor]]" = WeakKeyDictionary()
"""Of each layer, the state of the weight that was packed, and the packed weight. Not an attribute:
packed tensors cannot be copied, saved or moved with their module."""


class PackedLinear(nn.Linear):
    """A linear layer that reads a packed copy of its weight where nothing is to be learned."""

    def forward(self, input: Tensor) -> Tensor:
        """The usual product; packs the weight again whenever it has changed."""
        weight = self.weight
        plain = torch.is_grad_enabled() or input.dtype != weight.dtype or not input.numel()
        if plain or torch.is_autocast_enabled("cpu") or weight.device.type != "cpu":
            return super().forward(input)
        # Every write in place counts up, `load_state_dict` and a copy of new weights included.
        state = (weight.data_ptr(), weight._version)
        known = _PACKED.get(self)
        if known is None or known[0] != state:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
            known = _PACKED[self] = (state, packed)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            input, known[1], self.bias, "none", [], ""
        )
        return product


def pack_weights(model: Any) -> None:
    """Let the linear layers of a model on a CPU read packed weights, where torch can.

    The copies take as much memory as the weights, so a model that fills the machine gets none.
    """
    if model.device.type != "cpu" or not _can_pack(model.dtype):
        return
    if sum(p.nbytes for p in model.parameters()) > _MOST * free_bytes(model.device):
        return
    for module in model.modules():
        # A subclass, such as one of quantised weights, has a product of its own.
        if type(module) is nn.Linear and module.weight.dtype == model.dtype:
            module.__class__ = PackedLinear


def _can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch has the kernels, which are its compiler's and no public interface."""
    ops = torch.ops.mkldnn
    if not torch._C._has_mkldnn or not hasattr(ops, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(ops._is_mkldnn_bf16_supported())
    return dtype == torch.float32 and hasattr(ops, "_reorder_linear_weight")
