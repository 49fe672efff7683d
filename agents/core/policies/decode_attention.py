"""Attention of a single new id a row on a CPU, as plain matrix products.

torch's fused kernel is made for many queries at once: with one, the products that it wraps take
less time by themselves. Everything else goes to the implementation that the model had.
"""

from typing import Any

import torch
from torch import Tensor

NAME = "torl_decoding"


def decode_faster(model: Any) -> None:
    """Let a model on a CPU attend by `attend`; one with an attention of its own is left alone."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query_BHQD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention in the form that transformers asks for.

    Args:
        module: The layer.
        query_BHQD: Queries; H is a multiple of K.
        key_BKTD: Keys.
        value_BKTD: Values.
        attention_mask: True, or 0, where a query may look; (B, 1, Q, T).
        options: Among them `scaling`, of the products.

    Returns:
        (B, Q, H, D), and no weights.
    """
    B, H, Q, D = query_BHQD.shape
    plain = attention_mask is None or attention_mask.shape[1] == 1
    special = any(options.get(name) is not None for name in ("position_bias", "softcap"))
    if Q > 1 or special or not plain or module.training:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        usual: tuple[Tensor, None] = sdpa_attention_forward(
            module, query_BHQD, key_BKTD, value_BKTD, attention_mask, **options
        )
        return usual
    K = key_BKTD.shape[1]
    scale = options.get("scaling") or D**-0.5
    # Heads that share keys are rows of one product.
    products = query_BHQD.reshape(B, K, H // K, D) @ key_BKTD.transpose(2, 3)
    scores = products.float() * scale
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, float("-inf"))
        else:
            scores = scores + attention_mask
    out = scores.softmax(-1).to(value_BKTD.dtype) @ value_BKTD
    return out.reshape(B, 1, H, -1), None
