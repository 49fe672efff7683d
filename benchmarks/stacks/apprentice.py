"""A tiny model that has learned to call the tool, for stacks that must sample from a real one.

A random model never writes a program. This one is fitted to six transcripts of the environment
until it writes them by heart: two right answers with a call, a failed call, an answer without one,
a call past the budget. One id a byte, so that fences and outputs are many ids.
"""

from dataclasses import dataclass
from typing import Any

import torch

from agents.core.rollout.engine import Rollout
from agents.core.rollout.prompts import ChatPrompt
from agents.core.testing.tiny import ScriptedPolicy, byte_tokenizer, tiny_model
from agents.core.types import Sampling, Trajectory
from torl_env import ToRLMathVectorEnv, closes_tool_call
from torl_env.problems import Listed, Problem

SYSTEM = "Use python."
TOOL_BUDGET = 1
MAX_TOKENS = 160


def _call(code: str) -> str:
    return f"I run it.\n```python\n{code}\n```"


SCRIPTS = {
    "6*7": (_call("print(6*7)"), "So \\boxed{42}."),
    "2+3": (_call("print(2+3)"), "So \\boxed{5}."),
    "9-4": ("It is \\boxed{4}.",),
    "8/2": (_call("print(8/0)"), "So \\boxed{4}."),
    "1+1": (_call("print(1+1)"), _call("print(2)"), " \\boxed{2}"),
    "3*3": (_call("print('9'*300)"), "So \\boxed{9}."),
}
ANSWERS = {"6*7": "42", "2+3": "5", "9-4": "5", "8/2": "4", "1+1": "2", "3*3": "9"}
PROBLEMS = Listed(
    "apprentice",
    [Problem(f"p{i}", question, ANSWERS[question]) for i, question in enumerate(SCRIPTS)],
)


@dataclass(frozen=True)
class Apprentice:
    """The model, its tokenizer and the prompts of the environment."""

    model: Any
    tokenizer: Any
    prompt: ChatPrompt

    def rollout(self, policy: Any, temperature: float = 0.0, group: int = 1) -> list[Trajectory]:
        """Our own rollouts of all problems."""
        return _rollout(self, policy, Sampling(temperature, 1.0, MAX_TOKENS), group)


def _rollout(one: Apprentice, policy: Any, how: Sampling, group: int) -> list[Trajectory]:
    def envs(problems: Any, size: int) -> ToRLMathVectorEnv:
        return ToRLMathVectorEnv(
            len(problems) * size,
            Listed("rows", list(problems)),
            tool_budget=TOOL_BUDGET,
            autoreset_mode="Disabled",
        )

    return Rollout(policy, one.prompt, envs, how).collect(list(PROBLEMS), group, seed=0)


def apprentice(steps: int = 400, seed: int = 0) -> Apprentice:
    """Fit the model; about half a minute on one core.

    Raises:
        RuntimeError: It has not learned its lines.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    bare = Apprentice(
        tiny_model(tokenizer, hidden=64), tokenizer, ChatPrompt(tokenizer, system=SYSTEM)
    )
    names = list(SCRIPTS)
    script = ScriptedPolicy(
        tokenizer,
        lambda row, turn: SCRIPTS[names[row]][min(turn, len(SCRIPTS[names[row]]) - 1)],
        closes_tool_call,
    )
    lessons = bare.rollout(script)
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor([*one.prompt_ids, *one.ids]) for one in lessons], batch_first=True
    )
    labels = torch.nn.utils.rnn.pad_sequence(
        [
            torch.tensor(
                [-100] * len(one.prompt_ids)
                + [i if m else -100 for i, m in zip(one.ids, one.loss_mask, strict=True)]
            )
            for one in lessons
        ],
        batch_first=True,
        padding_value=-100,
    )
    bare.model.train()
    optimiser = torch.optim.AdamW(bare.model.parameters(), lr=3e-3)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        loss = bare.model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.005:
            break
    bare.model.eval()
    if loss.item() > 0.1:
        raise RuntimeError(f"the apprentice has not learned its lines: loss {loss.item():.3f}")
    return bare
