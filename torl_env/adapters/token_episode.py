"""One episode against an engine that takes and gives token ids: what verl, slime and Tinker share.

The stack samples, this plays: ids are kept as sampled, a tool's output is tokenised once and
appended, and nothing is ever tokenised again. The result equals that of our own rollout engine
(`agents.core.rollout.engine`) where the sampler does the same.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from torl_env.config import EnvConfig
from torl_env.env import ToRLMathEnv
from torl_env.errors import SandboxError
from torl_env.info import is_scorable
from torl_env.parsing.fenced import closes_tool_call, ends_of_calls
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem
from torl_env.sandbox.shared import SharedSandbox
from torl_env.wrappers.tokens import text_ids


class Tokenizer(Protocol):
    """What is used of a tokenizer; those of `transformers` fit."""

    all_special_ids: list[int]

    def encode(self, text: str, *, add_special_tokens: bool = True, **how: bool) -> list[int]:
        """Ids of a text."""
        ...

    def decode(self, ids: list[int], **how: bool) -> str:
        """Text of ids."""
        ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the engine wrote after one request."""

    ids: Sequence[int]
    """Exactly as sampled; a sampled end-of-text id is among them."""
    logprobs: Sequence[float] | None = None
    """One for each id, `None` where the engine was not asked for them."""
    cut: bool = False
    """The engine's own limit, below the one it was asked for, ended the text."""


_PATIENCE = 3
"""How often a request that came back empty is made again; engines abort requests, as when their
weights change, and a turn has at least one id."""

Generate = Callable[[list[int], int, tuple[str, ...]], Awaitable[Sampled]]
"""`generate(ids, max_tokens, stop)`: go on after `ids`; stop strings are kept in the output."""


@dataclass(slots=True)
class TokenEpisode:
    """An episode in ids; `ids`, `loss_mask` and `logprobs` have one length."""

    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    """What was sampled and what the tool said, in their order."""
    loss_mask: list[int] = field(default_factory=list)
    """1 exactly on sampled ids."""
    logprobs: list[float] | None = field(default_factory=list)
    """0.0 on tool output; `None` once the engine gave none."""
    reward: float = 0.0
    truncated: bool = False
    turns: int = 0
    outputs: int = 0
    """How often the tool answered."""
    info: dict[str, Any] = field(default_factory=dict)
    """Of the last step, see `torl_env.info`."""
    sampling_seconds: float = 0.0
    tool_seconds: float = 0.0
    """Of programs and, at the end, of grading."""

    def sampled(self, one: Sampled) -> None:
        """Append what the engine wrote."""
        self._append(one.ids, 1, one.logprobs)

    def shown(self, ids: Sequence[int]) -> None:
        """Append what the environment said."""
        self._append(ids, 0, [0.0] * len(ids))

    def _append(self, ids: Sequence[int], mask: int, logprobs: Sequence[float] | None) -> None:
        self.ids += ids
        self.loss_mask += [mask] * len(ids)
        if logprobs is None or self.logprobs is None:
            self.logprobs = None
        else:
            self.logprobs += logprobs

    def check(self) -> "TokenEpisode":
        """Itself, where its reward says something about the model.

        Raises:
            SandboxError: The machine failed, or the grader could not decide. Stacks count a rollout
                that raises as failed and train on its siblings.
        """
        if is_scorable(self.info):
            return self
        why = self.info["infra_error"] or "the grader could not decide"
        raise SandboxError(f"no reward for problem {self.info['problem_id']}: {why}")


@cache
def kept_open(spec: str) -> SharedSandbox:
    """A handle that this process keeps, so that no episode waits for a sandbox to start."""
    handle = SharedSandbox(spec)
    handle.get()
    return handle


def make_env(problem: Problem, options: Mapping[str, Any]) -> ToRLMathEnv:
    """An environment for one problem that a stack's data set names.

    Args:
        problem: The problem.
        options: Fields of `EnvConfig`, values as a configuration file has them.

    Raises:
        ConfigError: An option has a wrong type or is out of range.
        SandboxError: The sandbox cannot be opened.
    """
    config = EnvConfig.of(None, **{**options, "problems": Listed("row", [problem])})
    if isinstance(config.sandbox, str) and config.tool_budget:
        kept_open(config.sandbox)
    return ToRLMathEnv(config=config)


async def play(
    env: ToRLMathEnv,
    prompt_ids: Sequence[int],
    tokenizer: Tokenizer,
    generate: Generate,
    max_tokens: int,
) -> TokenEpisode:
    """Play the one problem of `env` to its end and close it.

    Args:
        env: Made by `make_env`.
        prompt_ids: What the model reads first; the environment's own question is not used.
        tokenizer: Of the model.
        generate: Asks the engine.
        max_tokens: Of the response: sampled ids and tool output together.
    """
    episode = TokenEpisode(list(prompt_ids))
    try:
        await env.areset(options={"problem_id": env.problems[0].id})
        done = False
        while not done:
            start = len(episode.ids)
            cut = await _turn(env, episode, tokenizer, generate, max_tokens)
            text = tokenizer.decode(
                episode.ids[start:], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            observation, done = await _step(env, episode, text, cut=cut)
            output = text_ids(tokenizer, observation) if observation else []
            episode.outputs += bool(output) and not done
            if done:
                break
            if len(episode.ids) + len(output) >= max_tokens:
                _, done = await _step(env, episode, "", cut=True)
            else:
                episode.shown(output)
    finally:
        await env.aclose()
    return episode


async def _turn(
    env: ToRLMathEnv,
    episode: TokenEpisode,
    tokenizer: Tokenizer,
    generate: Generate,
    max_tokens: int,
) -> bool:
    """Sample until the turn ends; whether the limit cut it.

    Engines stop at strings, the grammar at closed calls: "```" also opens a block, so a stop that
    closes no call is no end, and neither is a request that the engine aborted.

    Raises:
        SandboxError: The engine writes nothing, however often it is asked.
    """
    start, stop, asked_again = len(episode.ids), ends_of_calls(env.parser), 0
    special = frozenset(tokenizer.all_special_ids)
    while True:
        room = max_tokens - len(episode.ids)
        began = time.monotonic()
        one = await generate([*episode.prompt_ids, *episode.ids], room, stop)
        episode.sampling_seconds += time.monotonic() - began
        if len(one.ids) > room:
            raise ValueError(f"asked for at most {room} ids, the engine gave {len(one.ids)}")
        episode.sampled(one)
        if not one.ids and not one.cut:
            asked_again += 1
            if asked_again > _PATIENCE:
                raise SandboxError(f"the engine wrote nothing, {asked_again} times in a row")
            continue
        asked_again = 0
        if not one.ids or one.ids[-1] in special:
            return one.cut
        turn = tokenizer.decode(
            episode.ids[start:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        full = len(episode.ids) >= max_tokens
        if closes_tool_call(turn, env.parser):
            return False
        if full or one.cut:
            return True


async def _step(
    env: ToRLMathEnv, episode: TokenEpisode, text: str, *, cut: bool
) -> tuple[str, bool]:
    began = time.monotonic()
    observation, reward, terminated, truncated, info = await env.astep(text, cut=cut)
    episode.tool_seconds += time.monotonic() - began
    episode.reward += reward
    episode.truncated, episode.info = truncated, info
    episode.turns = info["turn"]
    return observation, terminated or truncated


class PausedEpisode:
    """`play`, which asks an engine, turned round for stacks that bring what they sampled.

    It runs as a task that waits whenever it wants more ids.

    Args:
        problem: The problem.
        options: Fields of `EnvConfig`.
        max_tokens: Of the response: sampled ids and tool output together.
    """

    def __init__(self, problem: Problem, options: Mapping[str, Any], max_tokens: int) -> None:
        self._problem, self._options, self._max_tokens = problem, options, max_tokens
        self._wanted: asyncio.Queue[tuple[list[int], tuple[str, ...]]] = asyncio.Queue()
        self._brought: asyncio.Queue[Sampled] = asyncio.Queue()
        self._played: asyncio.Task[TokenEpisode] | None = None

    async def start(self, prompt_ids: Sequence[int], tokenizer: Tokenizer) -> None:
        """Open the environment and play until ids are wanted."""
        env = await asyncio.to_thread(make_env, self._problem, self._options)
        self._played = asyncio.create_task(
            play(env, prompt_ids, tokenizer, self._generate, self._max_tokens)
        )

    async def _generate(self, ids: list[int], room: int, stop: tuple[str, ...]) -> Sampled:
        # Tinker's loop ends a rollout with room for one id, with a reward of 0 as if it were
        # earned: cut before, it is graded like every other.
        if room <= 1:
            return Sampled((), cut=True)
        self._wanted.put_nowait((ids, stop))
        return await self._brought.get()

    async def wanted(self) -> tuple[list[int], tuple[str, ...]] | TokenEpisode:
        """What to go on after, and the stop strings; or the episode, where it has ended."""
        assert self._played is not None
        ask = asyncio.ensure_future(self._wanted.get())
        await asyncio.wait((ask, self._played), return_when=asyncio.FIRST_COMPLETED)
        if ask.done():
            return ask.result()
        ask.cancel()
        return self._played.result()

    def bring(self, one: Sampled) -> None:
        """Give what was sampled after the last `wanted`."""
        self._brought.put_nowait(one)

    async def abandon(self) -> None:
        """Close the environment of an abandoned episode; idempotent."""
        if self._played is not None and not self._played.done():
            self._played.cancel()
            await asyncio.wait((self._played,))
