"""Groups that begin and end at any time, while the weights may change under them.

`Rollout.collect` begins a batch together and ends with its slowest row. Here a group joins the open
batch whenever there is room for it, is handed out when its last row ends, and goes on where the
weights change in between (partial rollouts: AReaL, arXiv 2505.24298; PipelineRL, 2509.19128). A row
is then the work of several policies, and every id carries the version that sampled it:

    ids               P P P s s s s T T T s s s x      P prompt, s sampled, T tool output, x end
    policy_versions         4 4 5 5 - - - 5 6 6 6
                                ^ new weights      ^ again, while the tool ran or the row wrote

Prefixes are read again under new weights, so the log-probability of an id is that of its version
given all ids before it, which is what an importance ratio needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.core.policies.base import Policy, RowStart, Weights
from agents.core.rollout.engine import MakeEnvs, Rollout, never
from agents.core.rollout.episode import Episode, row_seeds, starts
from agents.core.rollout.prompts import Prompt
from agents.core.run.heartbeat import beat
from agents.core.types import Completion, Sampling, Trajectory
from torl_env import RolloutEnvs
from torl_env.problems.types import Problem


class JoinablePolicy(Policy, Protocol):
    """A policy whose rows begin at different times, and whose weights may change meanwhile.

    Ids sampled after `renew` carry its version in `Completion.versions`.
    """

    def join(self, starts: Sequence[RowStart], how: Sampling) -> list[int]:
        """Start rows beside those that are open; their numbers."""
        ...

    def renew(self, weights: Weights, version: int) -> list[Completion]:
        """Take over weights between two ids; turns that ended meanwhile."""
        ...


@dataclass(slots=True)
class _Group:
    key: int
    envs: RolloutEnvs
    episodes: list[Episode]
    done: dict[int, Trajectory] = field(default_factory=dict)


class Stream(Rollout):
    """A rollout of single groups; made as a `Rollout` is, over a `JoinablePolicy`."""

    policy: JoinablePolicy

    def __init__(
        self, policy: JoinablePolicy, prompt: Prompt, make_envs: MakeEnvs, sampling: Sampling
    ) -> None:
        super().__init__(policy, prompt, make_envs, sampling, overlap=True)
        self._groups: dict[int, _Group] = {}
        self._at: dict[int, tuple[_Group, Episode]] = {}
        """The group and the episode of each of the policy's rows."""

    @property
    def live(self) -> int:
        """Groups that have begun and not ended."""
        return len(self._groups)

    def begin(self, key: int, problem: Problem, group_size: int, seed: int) -> None:
        """Let `group_size` episodes of a problem join those that are under way.

        Args:
            key: By which `step` hands the group out; no other open group has it.
            problem: The problem.
            group_size: Episodes.
            seed: With the problem's id and the sample's index it fixes each row's random stream.
        """
        envs = self.make_envs([problem], group_size)
        group = _Group(key, envs, self._begun(envs, [problem], group_size))
        self.parser = envs.parser
        if hasattr(self.policy, "set_parser"):
            self.policy.set_parser(self.parser)
        begins = starts(group.episodes, row_seeds(seed, [problem], group_size))
        rows = self.policy.join(begins, self.sampling)
        self._groups[key] = group
        for episode, row in zip(group.episodes, rows, strict=True):
            episode.row = row
            self._at[row] = group, episode

    def step(self) -> tuple[bool, list[tuple[int, list[Trajectory]]]]:
        """One unit of the policy's work, and whatever tools have returned; waits for no tool.

        Returns:
            Whether anything happened, and the groups that ended, each with its key.
        """
        beat("sampling")
        ended = self.policy.advance()
        moved = bool(ended) or self._writing()
        finished: list[tuple[int, list[Trajectory]]] = []
        for group in list(self._groups.values()):
            moved |= self._collect_ready(group)
            if len(group.done) == len(group.episodes):
                finished.append((group.key, self._leave(group)))
        self._send_all(ended)
        return moved, finished

    def renew(self, weights: Weights, version: int) -> None:
        """Change the weights under all rows that are open."""
        self._send_all(self.policy.renew(weights, version))

    def close(self) -> None:
        """Close the environments of all groups, wherever these are."""
        for group in list(self._groups.values()):
            self._leave(group)

    def _writing(self) -> bool:
        """Whether some row does not wait for its tool."""
        open_rows = (
            episode
            for group in self._groups.values()
            for episode in group.episodes
            if episode.env_id not in group.done
        )
        return any(not episode.in_flight for episode in open_rows)

    def _send_all(self, ended: Sequence[Completion]) -> None:
        for completion in ended:
            group, episode = self._at[completion.row]
            self._send(group.envs, episode, completion)

    def _collect_ready(self, group: _Group) -> bool:
        """Take what the group's tools have returned; whether that was anything."""
        if not any(episode.in_flight for episode in group.episodes):
            return False
        results = group.envs.recv(min_ready=0)
        for result in results:
            episode = group.episodes[result.env_id]
            trajectory = self._receive(group.envs, episode, result, never)
            if trajectory is not None:
                group.done[result.env_id] = trajectory
                del self._at[episode.row]
        return bool(results)

    def _leave(self, group: _Group) -> list[Trajectory]:
        group.envs.close()
        del self._groups[group.key]
        return [group.done[local] for local in sorted(group.done)]
