"""Shapes of the recipes' models, so that a training can be planned without a network.

Copied from `config.json` of each repository on the Hugging Face hub, which is read in their place
wherever it is at hand.
"""

from collections.abc import Mapping
from typing import Any

_QWEN2_5_MATH: Mapping[str, Any] = {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    # Prompt and response share them.
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "use_sliding_window": False,
}

_QWEN2_5_7B: Mapping[str, Any] = {
    **_QWEN2_5_MATH,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
    "tie_word_embeddings": False,
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "Qwen/Qwen2.5-Math-1.5B": {
        **_QWEN2_5_MATH,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-Math-7B": _QWEN2_5_7B,
    "Qwen/Qwen2.5-7B": {
        **_QWEN2_5_7B,
        "rope_theta": 1_000_000.0,
        "max_position_embeddings": 131_072,
    },
    "Qwen/Qwen2.5-7B-Instruct": {
        **_QWEN2_5_7B,
        "rope_theta": 1_000_000.0,
        "max_position_embeddings": 32_768,
    },
    "Qwen/Qwen3-14B-Base": {
        "model_type": "qwen3",
        "num_hidden_layers": 40,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "use_sliding_window": False,
        "hidden_size": 5120,
        "intermediate_size": 17_408,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_936,
        "tie_word_embeddings": False,
    },
}
"""By hub id, fields of the configuration."""
