"""TRL's own GRPO trainer on this environment: its chat loop, its tool calls, our tool and reward.

A random model over six phrases stands in for a language model, so that this runs without a
download. With a real one only `model` and `processing_class` change.
"""

import importlib.util
import os
import tempfile
from typing import Any

CALL = '<tool_call>\n{"name": "python", "arguments": {"code": "print(6*7)"}}\n</tool_call>'
PHRASES = ("Hmm. ", CALL, "It is \\boxed{42}.", "It is \\boxed{41}.")


def chat_tokenizer() -> Any:
    """One id a phrase, and Qwen's chat template, which can render tool calls."""
    from trl.chat_template_utils import qwen2_5_chat_template

    from agents.core.testing.tiny import phrase_tokenizer

    tokenizer = phrase_tokenizer(PHRASES)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = qwen2_5_chat_template
    return tokenizer


def train(folder: str, steps: int = 2) -> list[dict[str, float]]:
    """A few steps of GRPO; what the trainer logged."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from agents.core.testing.tiny import TRL_SETTINGS, tiny_model
    from torl_env.adapters.trl import answer_reward, environment_factory, rows
    from torl_env.problems import Listed, Problem

    torch.manual_seed(0)
    torch.set_num_threads(1)
    problems = Listed("six", [Problem(f"p{i}", "What is 6*7?", "42") for i in range(16)])
    tokenizer = chat_tokenizer()
    trainer = GRPOTrainer(
        model=tiny_model(tokenizer),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows(problems)),
        environment_factory=environment_factory(problems, tool_budget=2),
        reward_funcs=answer_reward,
        args=GRPOConfig(output_dir=folder, max_steps=steps, **TRL_SETTINGS),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [row for row in trainer.state.log_history if "reward" in row]


def main() -> None:
    """Train for two steps and show what was logged."""
    missing = [name for name in ("torch", "trl", "datasets") if not importlib.util.find_spec(name)]
    if missing:
        print(f"not installed: {', '.join(missing)} (pip install torl-gym[train])")
        return
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        for row in train(folder):
            calls, failures = row["tools/call_frequency"], row["tools/failure_frequency"]
            print(f"reward {row['reward']:+.2f}, calls {calls:.2f}, failed {failures:.2f}")


if __name__ == "__main__":
    main()
