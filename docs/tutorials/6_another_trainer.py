# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # 6. Train with another trainer
#
# TRL's own `GRPOTrainer`, its chat loop and its tool calls, on this environment: our problems, our sandbox, our grader. A random model of phrases stands in for a language model, so that it runs in a minute; with a real one only `model` and `processing_class` change. How verl, SkyRL, slime and others do it is in [Stacks](../stacks.md).

# %%
import os
import tempfile
import warnings

warnings.filterwarnings("ignore", category=FutureWarning)  # of transformers
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

from trl.chat_template_utils import qwen2_5_chat_template

from agents.core.testing.tiny import TRL_SETTINGS, phrase_tokenizer, tiny_model

CALL = '<tool_call>\n{"name": "python", "arguments": {"code": "print(6*7)"}}\n</tool_call>'
tokenizer = phrase_tokenizer(("Hmm. ", CALL, "It is \\boxed{42}.", "It is \\boxed{41}."))
tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
tokenizer.chat_template = qwen2_5_chat_template

# %% [markdown]
# ## The environment, in TRL's form
#
# `environment_factory` makes one environment a row, with a method `python(code)` that TRL offers the model as a tool. `answer_reward` is a reward function beside it, and gives `None` where the machine failed or the grader could not decide: TRL leaves such a row out.

# %%
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from torl_env.adapters.trl import answer_reward, environment_factory, rows
from torl_env.problems import Listed, Problem

torch.manual_seed(0)
torch.set_num_threads(1)
problems = Listed("six", [Problem(f"p{i}", "What is 6*7?", "42") for i in range(48)])
print(rows(problems)[0])
print(TRL_SETTINGS)

# %%
trainer = GRPOTrainer(
    model=tiny_model(tokenizer),
    processing_class=tokenizer,
    train_dataset=Dataset.from_list(rows(problems)),
    environment_factory=environment_factory(problems, tool_budget=2),
    reward_funcs=answer_reward,
    args=GRPOConfig(output_dir=tempfile.mkdtemp(), max_steps=6, **TRL_SETTINGS),
)
trainer.remove_callback(PrinterCallback)
trainer.train()
logged = [row for row in trainer.state.log_history if "reward" in row]
for row in logged:
    calls, failures = row["tools/call_frequency"], row["tools/failure_frequency"]
    print(f"reward {row['reward']:+.2f}, calls {calls:.2f}, failed {failures:.2f}")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3))
axes.plot([row["reward"] for row in logged], "o-", label="reward")
axes.plot([row["tools/call_frequency"] for row in logged], "o-", label="calls an answer")
axes.set(xlabel="step")
axes.legend()
figure
