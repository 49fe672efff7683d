"""The rollout engine: many episodes at once, tools in flight, ids exactly as sampled.

The engine only carries text and ids between a `Policy` and a vector environment. With
`overlap=False` it is deterministic: what a tool returns is awaited after exactly one further
forward pass, so that the order of events depends on no clock. With `overlap=True` one looping
program does not hold up its whole batch, at the price that batch composition, and with it the last
bits of the logits, follows the clock. The first is the default on a CPU, the second on GPUs and
with vLLM, whose kernels do not give the same bits from run to run in any case.
"""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from agents.core.policies.base import Policy, RowStart
from agents.core.rollout.branching import Point
from agents.core.rollout.prompts import Prompt, decode
from agents.core.run.heartbeat import beat
from agents.core.types import Completion, FinishReason, Sampling, Trajectory, Turn
from torl_env import EnvState, Parser, RolloutEnvs, StepResult, is_scorable
from torl_env.parsing.fenced import FencedParser
from torl_env.problems.types import Problem

MakeEnvs = Callable[[Sequence[Problem], int], RolloutEnvs]
"""Builds an environment over these problems, each `group_size` times in a row."""
IMAGE_BYTES = 200_000
"""PNG bytes that a turn keeps; a plot of matplotlib's usual size has 15,000 to 40,000."""
Until = Callable[[StepResult], bool]
"""Whether to leave an episode after this step, which did not end it."""


@dataclass(slots=True)
class _Episode:
    """The append-only record of one row."""

    problem: Problem
    sample: int
    prompt_ids: list[int]
    remaining: int
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
    states: list[EnvState] = field(default_factory=list)
    """The environment before each turn, where these are kept."""

    def add_sampled(self, completion: Completion) -> None:
        self.ids += completion.ids
        self.logprobs += completion.logprobs
        self.versions += completion.versions
        self.loss_mask += [1] * len(completion.ids)
        self.entropies += completion.entropies
        self.remaining -= len(completion.ids)

    def add_forced(self, ids: Sequence[int]) -> None:
        self.ids += ids
        self.logprobs += [0.0] * len(ids)
        self.entropies += [0.0] * (len(ids) if self.entropies else 0)
        # Where the policy marks its ids, some of them always come before the first output.
        self.versions += [-1] * len(ids) if self.versions else []
        self.loss_mask += [0] * len(ids)
        self.remaining -= len(ids)
        self.turn_start = len(self.ids)


class Rollout:
    """Runs episodes of one policy.

    Args:
        policy: Writes the turns.
        prompt: Makes ids of questions and tool outputs.
        make_envs: Builds the vector environment for a batch of problems.
        sampling: How to sample.
        overlap: See the module's first lines; by default what suits the policy.
        keep_states: Keep the environment before each turn, so that episodes can be left there.
    """

    def __init__(
        self,
        policy: Policy,
        prompt: Prompt,
        make_envs: MakeEnvs,
        sampling: Sampling,
        *,
        overlap: bool | None = None,
        keep_states: bool = False,
    ) -> None:
        self.policy = policy
        self.prompt = prompt
        self.make_envs = make_envs
        self.sampling = sampling
        self.overlap = getattr(policy, "overlaps", False) if overlap is None else overlap
        self.keep_states = keep_states
        self.parser: Parser = FencedParser()
        """How the environment of the last batch reads calls."""
        self._states: dict[int, tuple[Trajectory, Sequence[EnvState]]] = {}

    def collect(
        self,
        problems: Sequence[Problem],
        group_size: int,
        seed: int,
        on_end: Callable[[Trajectory], None] | None = None,
        until: Until | None = None,
    ) -> list[Trajectory]:
        """Run every problem `group_size` times, all rows in one batch.

        Args:
            problems: P problems.
            group_size: G samples of each.
            seed: With the problem's id and the sample's index it fixes the random stream of a row.
            on_end: Called with each trajectory when its episode ends.
            until: Leave an episode after a step of which this is true.

        Returns:
            P x G trajectories, grouped by problem. An infrastructure error is a trajectory with
            `scorable=False`; its siblings are unaffected. The `stop_reason` of an episode that
            `until` has left is empty.
        """
        envs = self.make_envs(problems, group_size)
        try:
            episodes = self._begun(envs, problems, group_size)
            seeds = _row_seeds(seed, problems, group_size)
            return self._run(envs, episodes, seeds, on_end or _ignore, until or _never)
        finally:
            envs.close()

    def go_on(
        self,
        points: Sequence[Point],
        samples: int,
        seed: int,
        on_end: Callable[[Trajectory], None] | None = None,
        until: Until | None = None,
    ) -> list[Trajectory]:
        """Continue episodes from inside, `samples` times each, all rows in one batch.

        Args:
            points: Where to leave the episodes of an earlier batch.
            samples: Continuations of each point.
            seed: Of this batch.
            on_end: As in `collect`.
            until: As in `collect`.

        Returns:
            Whole trajectories, grouped by point: what was kept and what was written after it.
        """
        envs = self.make_envs([point.problem for point in points], samples)
        try:
            episodes: list[_Episode] = []
            seeds: list[int] = []
            for point in points:
                for sample in range(samples):
                    envs.set_state(len(episodes), point.state)
                    episodes.append(_resumed(point, self.sampling.max_tokens, self.keep_states))
                    name = f"{point.trajectory.sample}/{point.turn}/{point.attempt}/{sample}"
                    seeds.append(row_seed(seed, point.problem.id, name))
            return self._run(envs, episodes, seeds, on_end or _ignore, until or _never)
        finally:
            envs.close()

    def states(self, trajectory: Trajectory) -> Sequence[EnvState]:
        """The environment before each turn, and after the last where `until` left the episode.

        Raises:
            ValueError: None were kept of this trajectory.
        """
        if id(trajectory) not in self._states:
            raise ValueError(
                "no states of this trajectory: make the rollout with keep_states=True and ask "
                "before forget() is called"
            )
        return self._states[id(trajectory)][1]

    def forget(self) -> None:
        """Let go of all states."""
        self._states = {}

    def _run(
        self,
        envs: RolloutEnvs,
        episodes: Sequence[_Episode],
        seeds: Sequence[int],
        on_end: Callable[[Trajectory], None],
        until: Until,
    ) -> list[Trajectory]:
        self.parser = envs.parser
        if hasattr(self.policy, "set_parser"):
            self.policy.set_parser(self.parser)
        self._open(episodes, seeds)
        done: dict[int, Trajectory] = {}
        in_flight = 0
        while len(done) < len(episodes):
            beat("sampling")
            ended = self.policy.advance()
            live = len(episodes) - len(done)
            # Overlapping, it waits only when every row left has a tool to wait for. Else all rows
            # go through the same passes, whatever the clock does: rounding depends on who shares a
            # pass, and a seed then gives the same ids.
            waiting = int(in_flight == live) if self.overlap else in_flight
            for result in map(_own_end, envs.recv(min_ready=waiting)):
                in_flight -= 1
                episode = episodes[result.env_id]
                forced = self._book(episode, result)
                # Strictly: an output that takes all the room leaves no id for an answer.
                fits = len(forced) < episode.remaining
                if result.done or (fits and until(result)):
                    done[result.env_id] = self._close(envs, episode, result, forced)
                    on_end(done[result.env_id])
                elif fits:
                    episode.add_forced(forced)
                    self.policy.resume(result.env_id, forced)
                else:
                    self._cut(envs, episode, result.env_id)
                    in_flight += 1
            # Only now, so that `recv` above did not wait for programs of this very pass.
            for completion in ended:
                self._send(envs, episodes[completion.row], completion)
            in_flight += len(ended)
        return [done[row] for row in range(len(episodes))]

    def _begun(
        self, envs: RolloutEnvs, problems: Sequence[Problem], group_size: int
    ) -> list[_Episode]:
        ids = [problem.id for problem in problems]
        starts, _ = envs.reset(options={"problem_ids": ids, "group_size": group_size})
        episodes: list[_Episode] = []
        for i, problem in enumerate(problems):
            # What the environment shows, which its own template may have changed.
            prompt_ids = self.prompt.question_ids(starts[i * group_size])
            remaining = self.sampling.max_tokens
            for sample in range(group_size):
                episodes.append(_Episode(problem, sample, prompt_ids, remaining))
        return episodes

    def _open(self, episodes: Sequence[_Episode], seeds: Sequence[int]) -> None:
        self.policy.open(_starts(episodes, seeds), self.sampling)

    def _send(self, envs: RolloutEnvs, episode: _Episode, completion: Completion) -> None:
        self._keep_state(envs, episode, completion.row)
        episode.add_sampled(completion)
        # An end token is no text, even one that its tokenizer does not call special.
        end = -1 if completion.finish is FinishReason.EOS else None
        episode.pending = decode(self.policy.tokenizer, episode.ids[episode.turn_start : end])
        cut = completion.finish is FinishReason.LENGTH
        envs.send([episode.pending], [completion.row], cut=[cut])

    def _cut(self, envs: RolloutEnvs, episode: _Episode, row: int) -> None:
        """End an episode whose last tool output does not fit."""
        # The ids hold nothing of this output, so the record does not either.
        episode.turns[-1] = replace(episode.turns[-1], observation="")
        self._keep_state(envs, episode, row)
        envs.send([""], [row], cut=[True])

    def _keep_state(self, envs: RolloutEnvs, episode: _Episode, row: int) -> None:
        if self.keep_states:
            episode.states.append(envs.get_state(row))

    def _book(self, episode: _Episode, result: StepResult) -> list[int]:
        """Note the turn that ended; the ids of what came back."""
        info = result.info
        images = _kept_images(result.images)
        episode.turns.append(
            Turn(
                text=episode.pending,
                observation=result.observation,
                start=episode.turn_start,
                end=len(episode.ids),
                action_kind=str(info["action_kind"]),
                tool_status=str(info["tool_status"]),
                error_type=str(info["error_type"]),
                reward=result.reward,
                tool_name=result.tool_name,
                images=images,
                images_dropped=len(result.images) - len(images),
            )
        )
        episode.turn_start, episode.pending = len(episode.ids), ""
        return [] if result.done else self.prompt.observation_ids(result.observation)

    def _close(
        self,
        envs: RolloutEnvs,
        episode: _Episode,
        result: StepResult,
        forced: Sequence[int],
    ) -> Trajectory:
        """The trajectory of an episode that is over, or that `until` leaves here."""
        self.policy.release(result.env_id)
        episode.add_forced(forced)
        trajectory = _trajectory(episode, result)
        if not result.done:
            self._keep_state(envs, episode, result.env_id)
        if self.keep_states:
            self._states[id(trajectory)] = (trajectory, tuple(episode.states))
        return trajectory


def _resumed(point: Point, max_tokens: int, keep_states: bool) -> _Episode:
    """An episode as it was at a point; its turn goes on after the ids that are kept."""
    left, keep = point.trajectory, point.keep
    episode = _Episode(point.problem, left.sample, list(left.prompt_ids), max_tokens - keep)
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


def _starts(episodes: Sequence[_Episode], seeds: Sequence[int]) -> list[RowStart]:
    return [
        RowStart([*e.prompt_ids, *e.ids], seed, len(e.ids) - e.turn_start, e.remaining)
        for e, seed in zip(episodes, seeds, strict=True)
    ]


def _own_end(result: StepResult) -> StepResult:
    """With `SameStep` a last step shows the beginning of an episode that was not asked for."""
    if result.final is None:
        return result
    return replace(result, observation=result.final.observation, info=result.final.info)


def _ignore(trajectory: Trajectory) -> None:
    """The end of this episode is not reported."""


def _never(result: StepResult) -> bool:
    return False


def row_seed(seed: int, problem_id: str, sample: int | str) -> int:
    """The seed of one row: the same whatever else is in the batch and in whatever process."""
    digest = hashlib.sha256(f"{seed}/{problem_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:16], "big")


def _row_seeds(seed: int, problems: Sequence[Problem], group_size: int) -> list[int]:
    """A seed for each row; a problem that comes again samples anew, not the same group twice."""
    seen: Counter[str] = Counter()
    seeds = []
    for problem in problems:
        again = f"{seen[problem.id]}/" if seen[problem.id] else ""
        seen[problem.id] += 1
        seeds += [row_seed(seed, problem.id, f"{again}{sample}") for sample in range(group_size)]
    return seeds


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
        # An episode that `until` has left is judged by whoever left it there.
        scorable=not result.done or is_scorable(info),
        infra_error=str(info["infra_error"]),
        reward_terms=dict(info["reward_terms"]),
        question=episode.problem.question,
        reference=episode.problem.answer,
        level=episode.problem.level,
        subject=episode.problem.subject,
        sample=episode.sample,
        entropies=tuple(episode.entropies),
        policy_versions=tuple(episode.versions),
    )


def batches(problems: Sequence[Problem], rows: int, group_size: int) -> Iterator[list[Problem]]:
    """Problems in batches of at most `rows` rows, at least one problem each."""
    size = max(1, rows // group_size)
    for start in range(0, len(problems), size):
        yield list(problems[start : start + size])
