"""verl (0.9): its agent loop on this environment, and its data set.

    VERL_USE_EXTERNAL_MODULES=torl_env.adapters.verl python -m verl.trainer.main_ppo \
        actor_rollout_ref.rollout.agent.default_agent_loop=torl \
        data.train_files=train.parquet ...

registers the loop `torl` with the defaults of `EnvConfig`. Others are chosen in the file of
`actor_rollout_ref.rollout.agent.agent_loop_config_path`:

    - name: torl
      _target_: torl_env.adapters.verl.ToRLAgentLoop
      env: {tool_budget: 2, reward: torl_penalty}
      template: plain

A rollout in which the machine failed, or whose answer the grader could not decide, raises: verl's
trainer counts it as failed, leaves it out of its group and trains on the others
(`trainer.v1.sampler.sync_refill_failed_groups` asks for another group where all have failed).
"""

import asyncio
import importlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from uuid import uuid4

from torl_env.adapters.lazy import needed, on_request
from torl_env.adapters.token_episode import Sampled, TokenEpisode, make_env, play
from torl_env.problems.types import Problem
from torl_env.wrappers.chat import opening

_STEPS = {"min_global_steps": min, "max_global_steps": max}
"""Versions of the weights that an episode was sampled with, for verl's staleness control."""


def rows(
    problems: Iterable[Problem], system: str = "", agent_name: str = "torl"
) -> Iterator[dict[str, Any]]:
    """The data set in verl's form: one dict a problem, all that a rollout needs of it.

    Args:
        problems: The problems.
        system: A system message, `""` for none.
        agent_name: The loop that plays them.

    Example:
        >>> row = next(rows([Problem("a", "What is 6*7?", "42", source="mine")]))
        >>> row["prompt"], row["problem_id"], row["reward_model"]["ground_truth"]
        ([{'role': 'user', 'content': 'What is 6*7?'}], 'a', '42')
    """
    for index, problem in enumerate(problems):
        yield {
            "data_source": problem.source or "torl",
            "agent_name": agent_name,
            "prompt": opening(problem.question, system),
            "ability": problem.subject or "math",
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "problem_id": problem.id,
            "extra_info": {"index": index, "split": problem.split, "level": problem.level},
        }


def problem_of(row: Mapping[str, Any]) -> Problem:
    """The problem of a row of verl's data set.

    Raises:
        ValueError: It lacks a column.
    """
    lacking = {"raw_prompt", "problem_id", "reward_model"} - set(row)
    if lacking:
        raise ValueError(
            f"a row for this loop needs {', '.join(sorted(lacking))}: write the data set with "
            "torl data export --to verl"
        )
    question = str(list(row["raw_prompt"])[-1]["content"])
    answer = str(row["reward_model"]["ground_truth"])
    return Problem(str(row["problem_id"]), question, answer, source=str(row.get("data_source", "")))


def output_fields(episode: TokenEpisode) -> dict[str, Any]:
    """The keywords of verl's `AgentLoopOutput`, but for what the engine said of itself."""
    info = episode.info
    return {
        "prompt_ids": episode.prompt_ids,
        "response_ids": episode.ids,
        "response_mask": episode.loss_mask,
        "response_logprobs": episode.logprobs,
        "reward_score": episode.reward,
        # The question, each turn of the model, each answer of the tool.
        "num_turns": 1 + episode.turns + episode.outputs,
        "extra_fields": {
            "turn_scores": [],
            "tool_rewards": [],
            "verdict": info["verdict"],
            "stop_reason": info["stop_reason"],
            "reward_extra_info": {
                "acc": float(info["verdict"] == "correct"),
                "tool_calls": float(info["tool_calls"]),
                "tool_errors": float(info["tool_errors"]),
                "truncated": float(episode.truncated),
            },
        },
    }


def stops(engine: str, stop: tuple[str, ...]) -> dict[str, Any]:
    """Sampling parameters that end a request at a string and keep it; engines differ in names."""
    keep = "no_stop_trim" if engine == "sglang" else "include_stop_str_in_output"
    return {"stop": list(stop), keep: True}


@cache
def _loop() -> Any:
    remedy = "verl 0.9 in the environment of your trainer: pip install torl-env there"
    core = needed("verl.experimental.agent_loop.agent_loop", remedy)
    needed("verl.utils.profiler", remedy)  # which a broken installation lacks
    return _loop_of(core)


def _loop_of(core: Any) -> Any:
    class ToRLAgentLoop(core.AgentLoopBase):  # type: ignore[misc]
        """Plays one problem; verl makes one of these for each rollout.

        Args:
            *args: verl's.
            env: Fields of `EnvConfig`.
            template: `chat` for the tokenizer's chat template, `plain` for base models: the
                prompt's texts as they are.
            **kwargs: verl's.
        """

        __qualname__ = "ToRLAgentLoop"

        def __init__(
            self,
            *args: Any,
            env: Mapping[str, Any] | None = None,
            template: str = "chat",
            **kwargs: Any,
        ) -> None:
            super().__init__(*args, **kwargs)
            if template not in ("chat", "plain"):
                raise ValueError(f"template must be 'chat' or 'plain', got {template!r}")
            self.env, self.template = _plain(env or {}), template

        async def run(self, sampling_params: dict[str, Any], **row: Any) -> Any:
            """One episode.

            Raises:
                SandboxError: There is nothing to be learned from this rollout.
            """
            env = await asyncio.to_thread(make_env, problem_of(row), self.env)
            prompt_ids = await self._prompt_ids([dict(one) for one in row["raw_prompt"]])
            engine = _Engine(self, sampling_params, row)
            limit = int(self.rollout_config.response_length)
            episode = await play(env, prompt_ids, self.tokenizer, engine.generate, limit)
            fields = output_fields(episode.check())
            fields["extra_fields"] |= engine.extra
            metrics = core.AgentLoopMetrics(
                generate_sequences=episode.sampling_seconds,
                tool_calls=episode.tool_seconds,
                num_preempted=engine.preempted,
            )
            return core.AgentLoopOutput(metrics=metrics, **fields)

        async def _prompt_ids(self, messages: list[dict[str, Any]]) -> list[int]:
            if self.template == "chat":
                ids: list[int] = await self.ct_build_initial_tokens(messages)
                return ids
            text = "".join(str(message["content"]) for message in messages)
            return list(self.tokenizer.encode(text))[-int(self.rollout_config.prompt_length) :]

    ToRLAgentLoop.__module__ = __name__
    return core.register("torl")(ToRLAgentLoop)


def _plain(options: Any) -> dict[str, Any]:
    """Options of a configuration file as plain containers."""
    omegaconf = importlib.import_module("omegaconf")
    if isinstance(options, omegaconf.DictConfig):
        options = omegaconf.OmegaConf.to_container(options, resolve=True)
    return dict(options)


class _Engine:
    """The server manager of verl for one episode, and what it said of itself."""

    def __init__(self, loop: Any, sampling: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        self._loop, self._sampling = loop, dict(sampling)
        self._priority = int(row.get("priority", 0))
        fixed = getattr(loop.rollout_config, "full_determinism", False)
        # One id an episode: verl sends its requests to the server that has its prefix.
        self._request = f"det-{self._priority}" if fixed else uuid4().hex
        self.preempted = -1
        self.extra: dict[str, Any] = {}

    async def generate(self, ids: list[int], max_tokens: int, stop: tuple[str, ...]) -> Sampled:
        output = await self._loop.server_manager.generate(
            request_id=self._request,
            prompt_ids=ids,
            sampling_params={
                **self._sampling,
                **stops(str(self._loop.rollout_config.name), stop),
                "max_tokens": max_tokens,
            },
            priority=self._priority,
        )
        if output.num_preempted is not None:
            self.preempted = max(self.preempted, 0) + output.num_preempted
        for name, value in output.extra_fields.items():
            known = self.extra.get(name)
            pick = _STEPS.get(name)
            self.extra[name] = pick(known, value) if pick and known is not None else value
        return Sampled(output.token_ids, output.log_probs or None)


__getattr__ = on_request(__name__, ("ToRLAgentLoop",), lambda name: _loop())
