"""Linear layers of a sampler on a CPU, their weights laid out once for the kernel that reads them.

A product of a few rows with a large matrix costs what reading the matrix costs, and oneDNN lays a
plain matrix out anew in every call: a third of the time of a pass of 4 rows in bfloat16, a quarter
of one of 64 in float32. Packed, the products are the same to the last bit in bfloat16.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


_THREAD = threading.local()
"""`packed` is true while a sampler's pass runs in this thread."""


class PackedLinear(nn.Linear):
    """A linear layer that reads a packed copy of its weight in the passes of a sampler alone.

    Whoever else computes with the model, a trainer that scores ids above all, reads the weight
    itself: fused optimisers and writes through `.data` change it without a trace.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The usual product; a weight is packed when it is first read, or seen to have changed."""
        if not getattr(_THREAD, "packed", False):
            return super().forward(input)
        weight = self.weight
        plain = torch.is_grad_enabled() or input.dtype != weight.dtype or not input.numel()
        if plain or torch.is_autocast_enabled("cpu") or weight.device.type != "cpu":
            return super().forward(input)
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


@contextmanager
def reading_packed() -> Iterator[None]:
    """Within it, and in this thread, packed layers read their packed weights."""
    _THREAD.packed = True
    try:
        yield
    finally:
        _THREAD.packed = False


def forget_packed(model: Any) -> None:
    """Pack anew at the next pass: a sampler says so whenever its weights may be others."""
    for module in model.modules():
        _PACKED.pop(module, None)


def _can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch has the kernels, which are its compiler's and no public interface."""
    ops = torch.ops.mkldnn
    if not torch._C._has_mkldnn or not hasattr(ops, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(ops._is_mkldnn_bf16_supported())
    return dtype == torch.float32 and hasattr(ops, "_reorder_linear_weight")
