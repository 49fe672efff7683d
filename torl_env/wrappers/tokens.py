"""Token ids in and out, with the loss mask that training needs."""

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from torl_env.spaces import UnboundedSpace
from torl_env.wrappers.transcript import base_of

Ids = npt.NDArray[np.int64]


class Tokenizer(Protocol):
    """What is used of a tokenizer; those of `transformers` fit."""

    eos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool = True, **how: bool) -> list[int]:
        """Ids of a text."""
        ...

    def decode(self, ids: list[int], *, skip_special_tokens: bool = False) -> str:
        """Text of ids."""
        ...

    def __len__(self) -> int: ...


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of what is text and nothing else: no control token is among them.

    A tokenizer reads `<|im_end|>` in a tool's output as the end of a turn, so that a program could
    print turns of the user; here it becomes the characters it is spelt with.

    Args:
        tokenizer: One of `transformers`, or what takes `split_special_tokens` as they do.
        text: Of a tool, or of anybody who must not write control tokens.
    """
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    # One without control tokens, such as that of a server's text, has no list of them either.
    added = getattr(tokenizer, "added_tokens_decoder", {})
    controls = {*getattr(tokenizer, "all_special_ids", ())}
    controls.update(i for i, token in added.items() if token.special)
    if not controls.isdisjoint(ids):
        ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return ids


class TokenPrompt(Protocol):
    """Makes ids of what the env says."""

    def question_ids(self, question: str) -> list[int]:
        """The ids an episode begins with."""
        ...

    def observation_ids(self, observation: str) -> list[int]:
        """The ids to append for a tool's output."""
        ...


class InlineTokens:
    """Plain text for base models, the output inside the running text as in ToRL."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def question_ids(self, question: str) -> list[int]:
        """The text, with the tokenizer's start token if it has one."""
        return self._tokenizer.encode(question)

    def observation_ids(self, observation: str) -> list[int]:
        """The text without special tokens, of which it can spell none."""
        return text_ids(self._tokenizer, observation)


class ChatTokens:
    """The tokenizer's chat template, tool output as a message of the role `tool`.

    What stands between two messages is read off the template once; a conversation is never
    rendered again, so that ids once given never change.

    Args:
        tokenizer: One with a chat template.
        system: A system message to begin with, `""` for none.

    Raises:
        ValueError: The template leaves a message out, so that nothing can be read off it.
    """

    def __init__(self, tokenizer: Any, system: str = "") -> None:
        self._tokenizer = tokenizer
        self._system = [{"role": "system", "content": system}] if system else []
        said, shown = "(what was said)", "(what was shown)"
        conversation = [
            *self._system,
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": said},
            {"role": "tool", "content": shown},
        ]
        try:
            whole = self._render(conversation)
        except Exception as error:
            # Whatever a template raises (Gemma wants user and assistant to alternate, Mistral an
            # id of the call): it has no form for the output of a tool.
            raise ValueError(
                f"the chat template cannot show what a tool said ({error}): use InlineTokens"
            ) from error
        if said not in whole or shown not in whole:
            raise ValueError("the chat template drops assistant or tool messages: use InlineTokens")
        self._before = whole.split(said)[1].split(shown)[0]
        self._after = whole.split(shown)[1]

    def _render(self, conversation: list[dict[str, str]]) -> str:
        text: str = self._tokenizer.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=True
        )
        return text

    def question_ids(self, question: str) -> list[int]:
        """System and user message and the header of the answer."""
        text = self._render([*self._system, {"role": "user", "content": question}])
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def observation_ids(self, observation: str) -> list[int]:
        """The end of the answer, the tool's message and the header of the next answer."""

        def encode(text: str) -> list[int]:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
            return ids

        inside = text_ids(self._tokenizer, observation)
        if inside == encode(observation):
            return encode(self._before + observation + self._after)
        return [*encode(self._before), *inside, *encode(self._after)]


class TokenIds(UnboundedSpace[Ids]):
    """One-dimensional arrays of token ids, of any length.

    Args:
        vocabulary: Ids are below this.
        seed: Seed of `sample`.
    """

    def __init__(self, vocabulary: int, seed: int | None = None) -> None:
        self.vocabulary = vocabulary
        super().__init__(shape=None, dtype=np.int64, seed=seed)

    def _draw(self) -> Ids:
        size = int(self.np_random.integers(1, 17))
        return self.np_random.integers(self.vocabulary, size=size, dtype=np.int64)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a flat array or list of ids of the vocabulary."""
        ids = np.asarray(x)
        if ids.ndim != 1 or not (ids.size == 0 or np.issubdtype(ids.dtype, np.integer)):
            return False
        return bool(ids.size == 0 or (ids.min() >= 0 and ids.max() < self.vocabulary))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenIds) and self.vocabulary == other.vocabulary

    def __hash__(self) -> int:
        return hash((TokenIds, self.vocabulary))


class Tokens(gym.Wrapper[Any, Any, Any, Any]):
    """Actions are sampled ids, observations the ids to append.

    `ids` only ever grows and holds the sampled ids as they were sampled; `loss_mask` is 1 on them
    and 0 on everything that the env said.

    Args:
        env: A `ToRLMathEnv`, wrapped or not.
        tokenizer: Ids to text and back.
        prompt: How the env's text becomes ids; `InlineTokens` by default.
    """

    def __init__(
        self, env: gym.Env[str, str], tokenizer: Tokenizer, prompt: TokenPrompt | None = None
    ) -> None:
        super().__init__(env)
        self._base = base_of(env)
        self._tokenizer = tokenizer
        self._prompt = prompt or InlineTokens(tokenizer)
        self._ids: list[int] = []
        self._mask: list[int] = []
        self.action_space = TokenIds(len(tokenizer))
        self.observation_space = TokenIds(len(tokenizer))

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt, samples and tool outputs so far."""
        return tuple(self._ids)

    @property
    def loss_mask(self) -> tuple[int, ...]:
        """For each of `ids` whether the model sampled it."""
        return tuple(self._mask)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Ids, dict[str, Any]]:
        """As the env's, with the ids of the prompt."""
        question, info = self.env.reset(seed=seed, options=options)
        self._ids, self._mask = [], []
        return self._append(self._prompt.question_ids(question)), info

    def step(self, action: Sequence[int]) -> tuple[Ids, float, bool, bool, dict[str, Any]]:
        """Take sampled ids, a final end-of-text id included; give the ids to append."""
        if not self.action_space.contains(action):
            raise gym.error.InvalidAction(
                f"an action is a list of token ids from 0 to {len(self._tokenizer) - 1}, "
                f"got {action!r:.200}"
            )
        sampled = [int(token) for token in action]
        text = self._tokenizer.decode(sampled, skip_special_tokens=True)
        observation, reward, terminated, truncated, info = self.env.step(text)
        self._ids += sampled
        self._mask += [1] * len(sampled)
        return self._append(self._added(observation)), float(reward), terminated, truncated, info

    def _added(self, observation: str) -> list[int]:
        if not observation:
            return []
        if isinstance(self._prompt, ChatTokens):
            # A chat template has frames of its own.
            observation = self._base.episode.state.segments[-1].body
        added = self._prompt.observation_ids(observation)
        ended = self._ids[-1:] == [self._tokenizer.eos_token_id]
        return added[1:] if ended and added[:1] == self._ids[-1:] else added

    def _append(self, added: list[int]) -> Ids:
        self._ids += added
        self._mask += [0] * len(added)
        return np.array(added, dtype=np.int64)
