"""The append-only record of one row: ids as sampled, ids put in between, turns, and its seed."""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from agents.core.policies.base import RowStart
from agents.core.rollout.branching import Point
from agents.core.types import Completion, Trajectory, Turn
from torl_env import EnvState, StepResult, is_scorable
from torl_env.problems.types import Problem

IMAGE_BYTES = 200_000
"""PNG bytes that a turn keeps; a plot of matplotlib's usual size has 15,000 to 40,000."""


@dataclass(slots=True)
class Episode:
    """The append-only record of one row."""

    problem: Problem
    sample: int
    prompt_ids: list[int]
    remaining: int
    env_id: int
    """Its place in its vector environment."""
    row: int = -1
    """The policy's number of it."""
    ids: list[int] = field(default_factory=list)
    loss_mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    turn_start: int = 0
    """Index of the first id of the turn that is being written."""
    pending: str = ""
    """Text of the turn that the environment is looking at."""
    in_flight: bool = False
    """Whether the environment is looking at a turn."""
    states: list[EnvState] = field(default_factory=list)
    """The environment before each turn, where these are kept."""

    def add_sampled(self, completion: Completion) -> None:
        """Append what the policy wrote: mask 1."""
        self.ids += completion.ids
        self.logprobs += completion.logprobs
        self.versions += completion.versions
        self.loss_mask += [1] * len(completion.ids)
        self.entropies += completion.entropies
        self.remaining -= len(completion.ids)

    def add_forced(self, ids: Sequence[int]) -> None:
        """Append what it did not write, tool output in its frame: mask 0."""
        self.ids += ids
        self.logprobs += [0.0] * len(ids)
        self.entropies += [0.0] * (len(ids) if self.entropies else 0)
        # Where the policy marks its ids, some of them always come before the first output.
        self.versions += [-1] * len(ids) if self.versions else []
        self.loss_mask += [0] * len(ids)
        self.remaining -= len(ids)
        self.turn_start = len(self.ids)

    def add_turn(self, result: StepResult) -> None:
        """Note the turn that ended."""
        info, images = result.info, _kept_images(result.images)
        self.turns.append(
            Turn(
                text=self.pending,
                observation=result.observation,
                start=self.turn_start,
                end=len(self.ids),
                action_kind=str(info["action_kind"]),
                tool_status=str(info["tool_status"]),
                error_type=str(info["error_type"]),
                reward=result.reward,
                tool_name=result.tool_name,
                images=images,
                images_dropped=len(result.images) - len(images),
            )
        )
        self.turn_start, self.pending, self.in_flight = len(self.ids), "", False

    def trajectory(self, result: StepResult) -> Trajectory:
        """The whole record, as `result` ended it or as `until` left it."""
        info: dict[str, Any] = result.info
        return Trajectory(
            problem_id=self.problem.id,
            prompt_ids=tuple(self.prompt_ids),
            ids=tuple(self.ids),
            loss_mask=tuple(self.loss_mask),
            logprobs=tuple(self.logprobs),
            turns=tuple(self.turns),
            reward=sum(turn.reward for turn in self.turns),
            verdict=str(info["verdict"]),
            answer=info["answer"] or "",
            tool_calls=int(info["tool_calls"]),
            tool_errors=int(info["tool_errors"]),
            stop_reason=str(info["stop_reason"]),
            truncated=result.truncated,
            # An episode that `until` has left is judged by whoever left it there.
            scorable=not result.done or is_scorable(info),
            infra_error=str(info["infra_error"]),
            reward_terms=dict(info["reward_terms"]),
            question=self.problem.question,
            reference=self.problem.answer,
            level=self.problem.level,
            subject=self.problem.subject,
            sample=self.sample,
            entropies=tuple(self.entropies),
            policy_versions=tuple(self.versions),
        )


def resumed(point: Point, max_tokens: int, env_id: int, keep_states: bool) -> Episode:
    """An episode as it was at a point; its turn goes on after the ids that are kept."""
    left, keep = point.trajectory, point.keep
    episode = Episode(point.problem, left.sample, list(left.prompt_ids), max_tokens - keep, env_id)
    episode.ids, episode.loss_mask = list(left.ids[:keep]), list(left.loss_mask[:keep])
    episode.logprobs, episode.turns = list(left.logprobs[:keep]), list(left.turns[: point.turn])
    episode.entropies = list(left.entropies[:keep])
    episode.versions = list(left.policy_versions[:keep])
    episode.turn_start = point.turn_start
    if keep_states:
        episode.states = list(point.before)
    return episode


def _kept_images(images: Sequence[bytes]) -> tuple[str, ...]:
    """The first images of a turn as base64, as many as fit: batches hold thousands of turns."""
    sizes = accumulate(len(image) for image in images)
    return tuple(
        b64encode(image).decode()
        for image, so_far in zip(images, sizes, strict=True)
        if so_far <= IMAGE_BYTES
    )


def starts(episodes: Sequence[Episode], seeds: Sequence[int]) -> list[RowStart]:
    """Where the policy begins to write."""
    return [
        RowStart([*e.prompt_ids, *e.ids], seed, len(e.ids) - e.turn_start, e.remaining)
        for e, seed in zip(episodes, seeds, strict=True)
    ]


def row_seed(seed: int, problem_id: str, sample: int | str) -> int:
    """The seed of one row: the same whatever else is in the batch and in whatever process."""
    digest = hashlib.sha256(f"{seed}/{problem_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:16], "big")


def row_seeds(seed: int, problems: Sequence[Problem], group_size: int) -> list[int]:
    """A seed for each row; a problem that comes again samples anew, not the same group twice."""
    seen: Counter[str] = Counter()
    seeds = []
    for problem in problems:
        again = f"{seen[problem.id]}/" if seen[problem.id] else ""
        seen[problem.id] += 1
        seeds += [row_seed(seed, problem.id, f"{again}{sample}") for sample in range(group_size)]
    return seeds
