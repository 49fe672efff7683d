"""The rollout engine: many episodes at once, tools in flight, ids exactly as sampled.

The engine only carries text and ids between a `Policy` and a vector environment. With
`overlap=False` it is deterministic: what a tool returns is awaited after exactly one further
forward pass, so that the order of events depends on no clock. With `overlap=True` one looping
program does not hold up its whole batch, at the price that batch composition, and with it the last
bits of the logits, follows the clock. The first is the default on a CPU, the second on GPUs and
with vLLM, whose kernels do not give the same bits from run to run in any case.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from agents.core.policies.base import Policy
from agents.core.rollout.branching import Point
from agents.core.rollout.episode import Episode, resumed, row_seed, row_seeds, starts
from agents.core.rollout.prompts import Prompt, decode
from agents.core.run.heartbeat import beat
from agents.core.types import Completion, FinishReason, Sampling, Trajectory
from torl_env import EnvState, Parser, RolloutEnvs, StepResult
from torl_env.parsing.fenced import FencedParser
from torl_env.problems.types import Problem

MakeEnvs = Callable[[Sequence[Problem], int], RolloutEnvs]
"""Builds an environment over these problems, each `group_size` times in a row."""
Until = Callable[[StepResult], bool]
"""Whether to leave an episode after this step, which did not end it."""


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
            seeds = row_seeds(seed, problems, group_size)
            return self._run(envs, episodes, seeds, on_end or _ignore, until or never)
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
            episodes: list[Episode] = []
            seeds: list[int] = []
            for point in points:
                for sample in range(samples):
                    envs.set_state(len(episodes), point.state)
                    room, env_id = self.sampling.max_tokens, len(episodes)
                    episodes.append(resumed(point, room, env_id, self.keep_states))
                    seeds.append(row_seed(seed, point.problem.id, f"{point.name}/{sample}"))
            return self._run(envs, episodes, seeds, on_end or _ignore, until or never)
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
        episodes: Sequence[Episode],
        seeds: Sequence[int],
        on_end: Callable[[Trajectory], None],
        until: Until,
    ) -> list[Trajectory]:
        self.parser = envs.parser
        if hasattr(self.policy, "set_parser"):
            self.policy.set_parser(self.parser)
        for row, episode in enumerate(episodes):
            episode.row = row
        self.policy.open(starts(episodes, seeds), self.sampling)
        done: dict[int, Trajectory] = {}
        while len(done) < len(episodes):
            beat("sampling")
            ended = self.policy.advance()
            in_flight, live = sum(e.in_flight for e in episodes), len(episodes) - len(done)
            # Overlapping, it waits only when every row left has a tool to wait for. Else all rows
            # go through the same passes, whatever the clock does: rounding depends on who shares a
            # pass, and a seed then gives the same ids.
            waiting = int(in_flight == live) if self.overlap else in_flight
            for result in envs.recv(min_ready=waiting):
                trajectory = self._receive(envs, episodes[result.env_id], result, until)
                if trajectory is not None:
                    done[result.env_id] = trajectory
                    on_end(trajectory)
            # Only now, so that `recv` above did not wait for programs of this very pass.
            for completion in ended:
                self._send(envs, episodes[completion.row], completion)
        return [done[row] for row in range(len(episodes))]

    def _begun(
        self, envs: RolloutEnvs, problems: Sequence[Problem], group_size: int
    ) -> list[Episode]:
        ids = [problem.id for problem in problems]
        starts, _ = envs.reset(options={"problem_ids": ids, "group_size": group_size})
        episodes: list[Episode] = []
        for i, problem in enumerate(problems):
            # What the environment shows, which its own template may have changed.
            prompt_ids = self.prompt.question_ids(starts[i * group_size])
            remaining = self.sampling.max_tokens
            for sample in range(group_size):
                place = i * group_size + sample
                episodes.append(Episode(problem, sample, prompt_ids, remaining, place))
        return episodes

    def _send(self, envs: RolloutEnvs, episode: Episode, completion: Completion) -> None:
        """Hand over the turn that a row has written."""
        episode.add_sampled(completion)
        # An end token is no text, even one that its tokenizer does not call special.
        end = -1 if completion.finish is FinishReason.EOS else None
        episode.pending = decode(self.policy.tokenizer, episode.ids[episode.turn_start : end])
        self._look_at(envs, episode, cut=completion.finish is FinishReason.LENGTH)

    def _look_at(self, envs: RolloutEnvs, episode: Episode, *, cut: bool) -> None:
        """Have the environment read what is pending."""
        self._keep_state(envs, episode)
        episode.in_flight = True
        envs.send([episode.pending], [episode.env_id], cut=[cut])

    def _keep_state(self, envs: RolloutEnvs, episode: Episode) -> None:
        if self.keep_states:
            episode.states.append(envs.get_state(episode.env_id))

    def _receive(
        self, envs: RolloutEnvs, episode: Episode, result: StepResult, until: Until
    ) -> Trajectory | None:
        """Note what came back and let the row write on; its trajectory where it ends here."""
        result = _own_end(result)
        episode.add_turn(result)
        forced = [] if result.done else self.prompt.observation_ids(result.observation)
        # Strictly: an output that takes all the room leaves no id for an answer.
        fits = len(forced) < episode.remaining
        if result.done or (fits and until(result)):
            return self._close(envs, episode, result, forced)
        if fits:
            episode.add_forced(forced)
            self.policy.resume(episode.row, forced)
        else:
            # The ids hold nothing of this output, so the record does not either.
            episode.turns[-1] = replace(episode.turns[-1], observation="")
            self._look_at(envs, episode, cut=True)
        return None

    def _close(
        self, envs: RolloutEnvs, episode: Episode, result: StepResult, forced: Sequence[int]
    ) -> Trajectory:
        """The trajectory of an episode that is over, or that `until` leaves here."""
        self.policy.release(episode.row)
        episode.add_forced(forced)
        trajectory = episode.trajectory(result)
        if not result.done:
            self._keep_state(envs, episode)
        if self.keep_states:
            self._states[id(trajectory)] = (trajectory, tuple(episode.states))
        return trajectory


def _own_end(result: StepResult) -> StepResult:
    """With `SameStep` a last step shows the beginning of an episode that was not asked for."""
    if result.final is None:
        return result
    return replace(result, observation=result.final.observation, info=result.final.info)


def _ignore(trajectory: Trajectory) -> None:
    """The end of this episode is not reported."""


def never(result: StepResult) -> bool:
    """Leaves no episode before its end."""
    return False


def batches(problems: Sequence[Problem], rows: int, group_size: int) -> Iterator[list[Problem]]:
    """Problems in batches of at most `rows` rows, at least one problem each."""
    size = max(1, rows // group_size)
    for start in range(0, len(problems), size):
        yield list(problems[start : start + size])
