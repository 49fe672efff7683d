"""Tinker (tinker-cookbook 0.6): its `Env` in token ids, group builder and data set.

    from tinker_cookbook.rl import train
    from torl_env.adapters.tinker import ToRLDatasetBuilder

    await train.main(train.Config(
        recipe_name="torl", model_name="Qwen/Qwen3-8B", max_tokens=2048, log_path="out",
        learning_rate=4e-5,
        dataset_builder=ToRLDatasetBuilder(
            model_name="Qwen/Qwen3-8B", problems="torl", batch_size=64, group_size=16,
            env={"tool_budget": 2},
        ),
    ))

Each observation is the prompt, all ids sampled so far and the tool's outputs, so that Tinker makes
one datum of an episode, masked exactly on sampled ids. Where the machine failed or the grader could
not decide `step` raises: a strategy such as `RetryOnFailure` plays the rollout again.
"""

import importlib
import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, Self

from torl_env.adapters.lazy import needed, on_request
from torl_env.adapters.token_episode import PausedEpisode, Sampled
from torl_env.problems.types import Problem
from torl_env.wrappers.chat import opening

_NAMES = ("ToRLDataset", "ToRLDatasetBuilder", "ToRLEnv", "ToRLGroupBuilder")
_STOPS = {"final": "completed", "length": "max_tokens", "tool_budget": "max_tool_calls"}
"""Tinker's names of our stop reasons, where they differ."""


@cache
def _plugin() -> SimpleNamespace:
    chz, tinker, types, limits = (
        needed(name, "tinker-cookbook 0.6: pip install tinker-cookbook")
        for name in (
            *("chz", "tinker"),
            *("tinker_cookbook.rl.types", "tinker_cookbook.rl.rollout_limits"),
        )
    )
    env = _env_of(types, tinker.ModelInput, limits.RolloutLimits)
    group = _group_of(types, env)
    return SimpleNamespace(
        ToRLEnv=env, ToRLGroupBuilder=group, **vars(_dataset_of(types, chz, group))
    )


def _env_of(types: Any, model_input: Any, limits: Any) -> Any:
    class ToRLEnv(types.Env):  # type: ignore[misc]
        """One rollout of one problem.

        Args:
            problem: The problem.
            prompt_ids: What the model reads first.
            tokenizer: Of the model.
            options: Fields of `EnvConfig`.
            max_tokens: Of the response, sampled ids and tool output together.
        """

        __qualname__ = "ToRLEnv"

        def __init__(
            self,
            problem: Problem,
            prompt_ids: Sequence[int],
            tokenizer: Any,
            options: Mapping[str, Any],
            max_tokens: int,
        ) -> None:
            self.prompt_ids, self.tokenizer = list(prompt_ids), tokenizer
            self.episode = PausedEpisode(problem, options, max_tokens)
            # Tinker's loop asks for no more than is left of this.
            self.rollout_limits = limits(max_trajectory_tokens=len(self.prompt_ids) + max_tokens)

        async def initial_observation(self) -> tuple[Any, list[str]]:
            """The prompt and the stop strings."""
            await self.episode.start(self.prompt_ids, self.tokenizer)
            now = await self.episode.wanted()
            assert isinstance(now, tuple), "the first turn asks for ids"
            return self._observation(now)

        async def step(self, action: list[int], *, extra: Any = None) -> Any:
            """Go on after what was sampled.

            Raises:
                SandboxError: There is nothing to be learned from this rollout.
            """
            cut = (extra or {}).get("stop_reason") == "length"
            self.episode.bring(Sampled(action, cut=cut))
            now = await self.episode.wanted()
            if isinstance(now, tuple):
                observation, stop = self._observation(now)
                # No reward before the end. A stop string inside a turn ends no turn of the
                # grammar: then nothing is appended, and the model goes on.
                return types.StepResult(0.0, False, observation, stop)
            ended = now.check()
            info = ended.info
            reason = _STOPS.get(info["stop_reason"], info["stop_reason"])
            metrics = {
                "correct": float(info["verdict"] == "correct"),
                "tool_calls": info["tool_calls"],
                "tool_errors": info["tool_errors"],
                f"stop/{reason}": 1.0,
            }
            last = model_input.from_ints([*ended.prompt_ids, *ended.ids])
            return types.StepResult(ended.reward, True, last, [], metrics)

        def _observation(self, wanted: tuple[list[int], tuple[str, ...]]) -> tuple[Any, list[str]]:
            ids, stop = wanted
            # Tinker takes strings or ids, not both: the end of a text goes by its own string.
            return model_input.from_ints(ids), [*stop, self.tokenizer.eos_token]

    ToRLEnv.__module__ = __name__
    return ToRLEnv


def _group_of(types: Any, env: Any) -> Any:
    class ToRLGroupBuilder(types.EnvGroupBuilder):  # type: ignore[misc]
        """The rollouts of one problem; can be pickled, as Tinker's executors ask.

        Args:
            problem: The problem.
            dataset: The `ToRLDatasetBuilder` with everything else.
        """

        __qualname__ = "ToRLGroupBuilder"

        def __init__(self, problem: Problem, dataset: Any) -> None:
            self.problem, self.dataset = problem, dataset
            self._made: list[Any] = []

        async def make_envs(self) -> list[Any]:
            """Environments that open when they are first observed."""
            tokenizer = tokenizer_of(self.dataset.model_name)
            messages = opening(self.problem.question, self.dataset.system)
            prompt = prompt_ids(messages, tokenizer, self.dataset.template)
            options, limit = dict(self.dataset.env), self.dataset.max_tokens
            made = [
                env(self.problem, prompt, tokenizer, options, limit)
                for _ in range(self.dataset.group_size)
            ]
            self._made += made
            return made

        async def cleanup(self) -> None:
            """Close what a limit of Tinker left in the middle."""
            made, self._made = self._made, []
            for one in made:
                await one.episode.abandon()

        def logging_tags(self) -> list[str]:
            """Where the problem comes from."""
            return [self.problem.source or "torl"]

        def __getstate__(self) -> dict[str, Any]:
            return {**self.__dict__, "_made": []}

    ToRLGroupBuilder.__module__ = __name__
    return ToRLGroupBuilder


@cache
def tokenizer_of(model_name: str) -> Any:
    """Tinker's tokenizer of a model."""
    return importlib.import_module("tinker_cookbook.tokenizer_utils").get_tokenizer(model_name)


def prompt_ids(messages: list[dict[str, str]], tokenizer: Any, template: str) -> list[int]:
    """Ids of the prompt: by the chat template, as plain text, or by a renderer of Tinker."""
    if template == "plain":
        return list(tokenizer.encode("".join(one["content"] for one in messages)))
    if template == "chat":
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(tokenizer.encode(text, add_special_tokens=False))
    renderers = importlib.import_module("tinker_cookbook.renderers")
    renderer = renderers.get_renderer(template, tokenizer)
    ids: list[int] = renderer.build_generation_prompt(messages).to_ints()
    return ids


def _dataset_of(types: Any, chz: Any, group: Any) -> SimpleNamespace:
    class ToRLDataset(types.RLDataset):  # type: ignore[misc]
        """Batches of groups, in the order of the problems."""

        __qualname__ = "ToRLDataset"

        def __init__(self, problems: Sequence[Problem], builder: Any) -> None:
            self.problems, self.builder = problems, builder

        def get_batch(self, index: int) -> list[Any]:
            """The groups of one step."""
            size = self.builder.batch_size
            batch = self.problems[index * size : (index + 1) * size]
            return [group(problem, self.builder) for problem in batch]

        def __len__(self) -> int:
            return len(self.problems) // int(self.builder.batch_size)

    class ToRLDatasetBuilder(types.RLDatasetBuilder):  # type: ignore[misc]
        """What Tinker's trainer takes as `dataset_builder`."""

        __qualname__ = "ToRLDatasetBuilder"
        model_name: str
        batch_size: int
        """Problems of a step."""
        group_size: int
        problems: str = "procedural:easy"
        split: str | None = None
        count: int = 1000
        max_tokens: int = 1024
        """Of a response, sampled ids and tool output together."""
        template: str = "chat"
        """`chat`: the tokenizer's; `plain`: texts as they are; else a renderer's name."""
        system: str = ""
        env: Mapping[str, Any] = chz.field(default_factory=dict)
        """Fields of `EnvConfig`."""

        async def __call__(self: Self) -> tuple[Any, None]:
            """Open the problems."""
            from torl_env.problems import load

            found = list(itertools.islice(load(self.problems, split=self.split), self.count))
            return ToRLDataset(found, self), None

    ToRLDataset.__module__ = ToRLDatasetBuilder.__module__ = __name__
    return SimpleNamespace(ToRLDataset=ToRLDataset, ToRLDatasetBuilder=chz.chz(ToRLDatasetBuilder))


__getattr__ = on_request(__name__, _NAMES, lambda name: getattr(_plugin(), name))
