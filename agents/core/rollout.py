"""The rollout engine: many episodes at once, tools in flight, ids exactly as sampled.

The engine only carries text and ids between a `Policy` and a vector environment. By default it is
deterministic: what a tool returns is awaited after exactly one further forward pass, so that the
order of events depends on no clock. With `overlap=True` a slow tool holds up nobody, at the price
that batch composition, and with it the last bits of the logits, follows the clock.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.core.policy import Policy
from agents.core.prompts import Prompt, decode
from agents.core.types import Completion, FinishReason, Sampling, Trajectory, Turn
from torl_env import StepResult, ToRLMathVectorEnv, is_scorable
from torl_env.problems.types import Problem

MakeEnvs = Callable[[Sequence[Problem], int], ToRLMathVectorEnv]
"""Builds an environment over these problems, each `group_size` times in a row."""


@dataclass(slots=True)
class _Episode:
    """The append-only record of one row."""

    problem: Problem
    sample: int
    prompt_ids: list[int]
    room: int
    ids: list[int] = field(default_factory=list)
    loss_mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    pending: tuple[str, int] = ("", 0)
    """Text and first index of the turn that the environment is looking at."""

    def add_sampled(self, completion: Completion) -> None:
        self.ids += completion.ids
        self.logprobs += completion.logprobs
        self.loss_mask += [1] * len(completion.ids)
        self.room -= len(completion.ids)

    def add_forced(self, ids: Sequence[int]) -> None:
        self.ids += ids
        self.logprobs += [0.0] * len(ids)
        self.loss_mask += [0] * len(ids)
        self.room -= len(ids)


class Rollout:
    """Runs episodes of one policy.

    Args:
        policy: Writes the turns.
        prompt: Makes ids of questions and tool outputs.
        make_envs: Builds the vector environment for a batch of problems.
        sampling: How to sample.
        overlap: See the module's first lines.
    """

    def __init__(
        self,
        policy: Policy,
        prompt: Prompt,
        make_envs: MakeEnvs,
        sampling: Sampling,
        *,
        overlap: bool = False,
    ) -> None:
        self.policy = policy
        self.prompt = prompt
        self.make_envs = make_envs
        self.sampling = sampling
        self.overlap = overlap

    def collect(
        self,
        problems: Sequence[Problem],
        group_size: int,
        seed: int,
        on_end: Callable[[Trajectory], None] | None = None,
    ) -> list[Trajectory]:
        """Run every problem `group_size` times, all rows in one batch.

        Args:
            problems: P problems.
            group_size: G samples of each.
            seed: With the problem's id and the sample's index it fixes the random stream of a row.
            on_end: Called with each trajectory when its episode ends.

        Returns:
            P x G trajectories, grouped by problem. A fault of the machine is a trajectory with
            `scorable=False`; its siblings are unaffected.
        """
        envs = self.make_envs(problems, group_size)
        try:
            envs.reset(options={"problem_ids": [p.id for p in problems], "group_size": group_size})
            return self._run(envs, problems, group_size, seed, on_end or (lambda _: None))
        finally:
            envs.close()

    def _run(
        self,
        envs: ToRLMathVectorEnv,
        problems: Sequence[Problem],
        group_size: int,
        seed: int,
        on_end: Callable[[Trajectory], None],
    ) -> list[Trajectory]:
        episodes = self._open(problems, group_size, seed)
        done: dict[int, Trajectory] = {}
        in_flight = 0
        while len(done) < len(episodes):
            ended = self.policy.advance()
            live = len(episodes) - len(done)
            waiting = int(in_flight == live) if self.overlap else in_flight
            for result in envs.recv(min_ready=waiting):
                in_flight -= 1
                trajectory = self._receive(envs, episodes, result)
                if trajectory is None:
                    in_flight += self._continue(envs, episodes, result)
                else:
                    done[result.env_id] = trajectory
                    on_end(trajectory)
            for completion in ended:
                self._send(envs, episodes[completion.row], completion)
            in_flight += len(ended)
        return [done[row] for row in range(len(episodes))]

    def _open(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[_Episode]:
        episodes = []
        for problem in problems:
            prompt_ids = self.prompt.question_ids(problem.question)
            for sample in range(group_size):
                room = self.sampling.max_tokens
                episodes.append(_Episode(problem, sample, prompt_ids, room))
        self.policy.open(
            [e.prompt_ids for e in episodes],
            [row_seed(seed, e.problem.id, e.sample) for e in episodes],
            self.sampling,
        )
        return episodes

    def _send(self, envs: ToRLMathVectorEnv, episode: _Episode, completion: Completion) -> None:
        start = len(episode.ids)
        episode.add_sampled(completion)
        text = decode(self.policy.tokenizer, completion.ids)
        episode.pending = (text, start)
        cut = completion.finish is FinishReason.LENGTH
        envs.send([text], [completion.row], cut=[cut])

    def _receive(
        self, envs: ToRLMathVectorEnv, episodes: Sequence[_Episode], result: StepResult
    ) -> Trajectory | None:
        """Book what came back; the trajectory if the episode is over."""
        episode = episodes[result.env_id]
        text, start = episode.pending
        info = result.info
        episode.turns.append(
            Turn(
                text=text,
                observation=result.observation,
                start=start,
                end=len(episode.ids),
                action_kind=str(info["action_kind"]),
                tool_status=str(info["tool_status"]),
                error_type=str(info["error_type"]),
                reward=result.reward,
            )
        )
        if not (result.terminated or result.truncated):
            return None
        self.policy.release(result.env_id)
        return _trajectory(episode, result)

    def _continue(
        self, envs: ToRLMathVectorEnv, episodes: Sequence[_Episode], result: StepResult
    ) -> int:
        """Let the row write on; 1 if instead it had to be cut because the output does not fit."""
        episode = episodes[result.env_id]
        ids = self.prompt.observation_ids(result.observation)
        if len(ids) < episode.room:
            episode.add_forced(ids)
            self.policy.resume(result.env_id, ids)
            return 0
        episode.pending = ("", len(episode.ids))
        envs.send([""], [result.env_id], cut=[True])
        return 1


def row_seed(seed: int, problem_id: str, sample: int) -> int:
    """The seed of one row: the same whatever else is in the batch and in whatever process."""
    digest = hashlib.sha256(f"{seed}/{problem_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:16], "big")


def _trajectory(episode: _Episode, result: StepResult) -> Trajectory:
    info: dict[str, Any] = result.info
    return Trajectory(
        problem_id=episode.problem.id,
        prompt_ids=tuple(episode.prompt_ids),
        ids=tuple(episode.ids),
        loss_mask=tuple(episode.loss_mask),
        logprobs=tuple(episode.logprobs),
        turns=tuple(episode.turns),
        reward=sum(turn.reward for turn in episode.turns),
        verdict=str(info["verdict"]),
        answer=info["answer"] or "",
        tool_calls=int(info["tool_calls"]),
        tool_errors=int(info["tool_errors"]),
        stop_reason=str(info["stop_reason"]),
        truncated=result.truncated,
        scorable=is_scorable(info),
        infra_error=str(info["infra_error"]),
        reward_terms=dict(info["reward_terms"]),
        question=episode.problem.question,
        reference=episode.problem.answer,
        level=episode.problem.level,
        subject=episode.problem.subject,
        sample=episode.sample,
    )


def batches(problems: Sequence[Problem], rows: int, group_size: int) -> Iterator[list[Problem]]:
    """Problems in batches of at most `rows` rows, at least one problem each."""
    size = max(1, rows // group_size)
    for start in range(0, len(problems), size):
        yield list(problems[start : start + size])
