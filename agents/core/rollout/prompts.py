"""Prompts: the one place where text that the policy did not write becomes ids.

A prompt is tokenised once at the start of an episode and every tool output once when it arrives;
the ids are then only ever appended to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

TORL_TEMPLATE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it.\nUser: Please integrate natural language reasoning with programs to solve the problem "
    "above, and put your final answer within \\boxed{}.\n{question}\nAssistant:\n"
)
"""ToRL's prompt for base models, `tir_base_0309` (ToRL figure 3), word for word."""

TOOL_SYSTEM = (
    "Solve the math problem. You can run a ```python block and see its printed output. "
    "Put the final answer in \\boxed{}."
)
TEXT_SYSTEM = "Solve the math problem step by step. Put the final answer in \\boxed{}."


class Prompt(Protocol):
    """Turns a question and later tool outputs into ids."""

    def question_ids(self, question: str) -> list[int]:
        """The ids that an episode starts with."""
        ...

    def observation_ids(self, observation: str) -> list[int]:
        """The ids to append when the environment answers with `observation`."""
        ...


@dataclass(frozen=True)
class PlainPrompt:
    """A text template with `{question}` in it, for base models: no chat template is applied."""

    tokenizer: Any
    template: str = TORL_TEMPLATE

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise ValueError(
                "a prompt template needs '{question}' where the problem goes; it has none"
            )

    def question_ids(self, question: str) -> list[int]:
        """Ids of the filled template, with the tokenizer's own start token if it has one."""
        ids: list[int] = self.tokenizer.encode(self.template.replace("{question}", question))
        return ids

    def observation_ids(self, observation: str) -> list[int]:
        """Ids of the observation, without special tokens."""
        ids: list[int] = self.tokenizer.encode(observation, add_special_tokens=False)
        return ids


@dataclass(frozen=True)
class ChatPrompt(PlainPrompt):
    """The tokenizer's chat template with a system message; tool output continues the same turn.

    Papers and peers differ on where tool output goes. Here it stays inside the assistant's message,
    as in ToRL, so that the context is a plain prefix of itself at every later time.
    """

    system: str = TOOL_SYSTEM

    def question_ids(self, question: str) -> list[int]:
        """Ids of system and user message and the header of the assistant's answer.

        Raises:
            ValueError: The tokenizer has no chat template.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError(
                "this tokenizer has no chat template (is it a base model?): use --prompt torl, "
                "which needs none"
            )
        messages = [{"role": "user", "content": question}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        ids: list[int] = self.tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=False
        )
        return ids


PROMPTS: dict[str, Callable[[Any], Prompt]] = {
    "chat": ChatPrompt,
    "chat-text": lambda tokenizer: ChatPrompt(tokenizer, system=TEXT_SYSTEM),
    "torl": PlainPrompt,
}


def make_prompt(name: str, tokenizer: Any) -> Prompt:
    """The prompt style called `name`.

    Raises:
        ValueError: No style has this name.
    """
    if name not in PROMPTS:
        raise ValueError(f"unknown prompt style {name!r}: choose one of {', '.join(PROMPTS)}")
    return PROMPTS[name](tokenizer)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of sampled ids as the environment reads it: special tokens are not text."""
    text: str = tokenizer.decode(
        list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text
