"""Prompts: the one place where text that the policy did not write becomes ids.

A prompt is tokenised once at the start of an episode and every tool output once when it arrives;
the ids are then only ever appended to.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rewards.suggestion import did_you_mean
from torl_env import ConfigError, EnvConfig, system_text
from torl_env.instructions import TEXT_SYSTEM, TOOL_SYSTEM, takes_tools, tools_text
from torl_env.loading import is_reference, load_object
from torl_env.wrappers.tokens import text_ids

TORL_TEMPLATE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it.\nUser: Please integrate natural language reasoning with programs to solve the problem "
    "above, and put your final answer within \\boxed{}.\n{question}\nAssistant:\n"
)
"""ToRL's prompt for base models, `tir_base_0309` (ToRL figure 3), word for word."""

_PLAIN = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it.\nUser: {system}\n{question}\nAssistant:\n"
)
"""The same for other tasks and tools."""


__all__ = [
    "PROMPTS",
    "TEXT_SYSTEM",
    "TOOL_SYSTEM",
    "TORL_TEMPLATE",
    "ChatPrompt",
    "PlainPrompt",
    "Prompt",
    "decode",
    "make_prompt",
]


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
        """Ids of the observation, without special tokens, of which it can spell none."""
        return text_ids(self.tokenizer, observation)


@dataclass(frozen=True)
class ChatPrompt(PlainPrompt):
    """The tokenizer's chat template with a system message; tool output continues the same turn.

    Papers and peers differ on where tool output goes. Here it stays inside the assistant's message,
    as in ToRL, so that the context is a plain prefix of itself at every later time.
    """

    system: str = TOOL_SYSTEM
    tools: Sequence[Mapping[str, Any]] | None = None
    """Function schemas, where the template is to tell the model of them."""

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
        tools = {"tools": list(self.tools)} if self.tools else {}
        ids: list[int] = self.tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=False, **tools
        )
        return ids


def _chat(tokenizer: Any, config: EnvConfig) -> Prompt:
    if _template_tells_of_tools(tokenizer, config):
        schemas = config.components.schemas
        return ChatPrompt(tokenizer, system=system_text(config, tools_apart=True), tools=schemas)
    return ChatPrompt(tokenizer, system=system_text(config))


def _template_tells_of_tools(tokenizer: Any, config: EnvConfig) -> bool:
    """Whether the model's own template renders tools, in the style that the parser reads."""
    asked_in_text = config.system is not None and "{tools}" in config.system
    if not takes_tools(config) or asked_in_text or not getattr(tokenizer, "chat_template", None):
        return False
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}],
        tools=config.components.schemas,
        tokenize=False,
        add_generation_prompt=True,
    )
    # Llama's template, say, asks for calls of another form.
    return "<tool_call>" in text


def _plain(tokenizer: Any, config: EnvConfig) -> Prompt:
    system = system_text(config)
    # ToRL's own words where they are true, which is the task and the tool of its paper.
    if system == TOOL_SYSTEM:
        return PlainPrompt(tokenizer)
    return PlainPrompt(tokenizer, _PLAIN.replace("{system}", system))


PROMPTS: dict[str, Callable[[Any, EnvConfig], Prompt]] = {
    "chat": _chat,
    "chat-text": lambda tokenizer, config: _chat(tokenizer, replace(config, tool_budget=0)),
    "torl": _plain,
}


def make_prompt(name: str, tokenizer: Any, config: EnvConfig | None = None) -> Prompt:
    """How a model is asked.

    Args:
        name: `chat`, `chat-text` (no mention of tools), `torl` (for base models), or
            `module:object`: a template with `{question}` in it, where `{system}` and `{tools}` are
            replaced, or a function that makes a `Prompt` of a tokenizer.
        tokenizer: Of the model.
        config: The environment, whose task and tools the system text names.

    Raises:
        ConfigError: No style has this name, or the object is no prompt.
    """
    config = config or EnvConfig()
    if name in PROMPTS:
        return PROMPTS[name](tokenizer, config)
    if not is_reference(name):
        raise ConfigError(
            f"unknown prompt style {name!r}: choose one of {', '.join(PROMPTS)}, or module:object."
            f"{did_you_mean(name, PROMPTS)}"
        )
    found = load_object(name, "prompt")
    if isinstance(found, str):
        parts = {"{system}": system_text(config), "{tools}": tools_text(config)}
        for key, text in parts.items():
            found = found.replace(key, text)
        return PlainPrompt(tokenizer, found)
    made = found(tokenizer) if callable(found) else found
    if not all(hasattr(made, method) for method in ("question_ids", "observation_ids")):
        raise ConfigError(
            f"prompt {name}: expected a template or what makes a Prompt (question_ids, "
            f"observation_ids) of a tokenizer, got {made!r}"
        )
    prompt: Prompt = made
    return prompt


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of sampled ids as the environment reads it: special tokens are not text."""
    text: str = tokenizer.decode(
        list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text
