"""Many episodes at once: all their programs run together, and no episode waits for the slowest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from torl_env.config import EnvConfig
from torl_env.configured import Configured
from torl_env.episode_runner import EpisodeEnd, EpisodeRunner, StepResult
from torl_env.errors import ConfigError
from torl_env.pending_steps import PendingSteps
from torl_env.problem_sampling import ResetOptions, sample_problem
from torl_env.problems.types import Problem, ProblemSource
from torl_env.snapshot import EnvState
from torl_env.spaces import Unicode

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
VectorTransition = tuple[tuple[str, ...], Floats, Bools, Bools, dict[str, Any]]


class ToRLMathVectorEnv(Configured, VectorEnv[tuple[str, ...], Sequence[str], npt.NDArray[Any]]):
    """`num_envs` episodes over one sandbox; each behaves as `ToRLMathEnv` does, step by step.

    Besides `step`, which takes an action for every env, `send` starts the steps of some and `recv`
    gives those that are ready, in the order in which they became so. One thread sends and receives.

    Args:
        num_envs: Number of episodes.
        problems: As in `ToRLMathEnv`.
        config: As in `ToRLMathEnv`.
        autoreset_mode: `SameStep` begins the next episode in the step that ends one and keeps the
            last observation and info in `final_obs` and `final_info`; `NextStep` spends the next
            action on it; `Disabled` leaves it to `reset(options={"reset_mask": ...})`.
        **options: As in `ToRLMathEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        problems: ProblemSource | str | PathLike[str] | None = None,
        *,
        config: EnvConfig | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **options: Any,
    ) -> None:
        if not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ConfigError(f"num_envs must be an integer of at least 1, got {num_envs!r}")
        self._configure(problems, config, options)
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = Unicode()
        self.single_action_space = Unicode()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._runners = [EpisodeRunner(self.config, self._sandbox.get, i) for i in range(num_envs)]
        self._randoms: list[np.random.Generator | None] = [None] * num_envs
        self._observations = [""] * num_envs
        self._pending = PendingSteps()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin episodes.

        Args:
            seed: Env `i` is seeded with `seed + i`, or with item `i` of a sequence.
            options: `problem_ids` with `group_size` G fill the envs group by group, G envs for
                each problem; envs left over stay without an episode. `group_size` alone draws one
                problem for each group. `reset_mask` limits the reset to some envs.

        Raises:
            ProblemError: No problem has this id.
            ValueError: An unknown option, an id that is no text, or sizes that do not fit.
        """
        wanted = ResetOptions.vector(options, self.num_envs)
        mask = np.ones(self.num_envs, np.bool_) if wanted.mask is None else wanted.mask
        self._seed(seed, mask)
        randoms = [self._random(i) for i in range(self.num_envs)]
        chosen = wanted.sample_groups(self.problems, randoms)
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(mask).tolist():
            self._pending.discard(i)
            self._runners[i].clear()
            self._observations[i] = ""
        # Only now, when every problem is found: a wrong id has ended no episode.
        for i, problem in chosen.items():
            infos = self._add_info(infos, self._begin(i, problem).info, i)
        return tuple(self._observations), infos

    def step(self, actions: Sequence[str]) -> VectorTransition:
        """Take one action for each env and wait for all.

        Raises:
            ResetNeeded: An env has no running episode and `autoreset_mode` is `Disabled`.
            ValueError: There are not `num_envs` actions, or steps are in flight.
        """
        self._send_all(actions)
        return self.batch(self.recv(self.num_envs))

    def _send_all(self, actions: Sequence[str]) -> None:
        if self._pending.count:
            raise ValueError(
                f"{self._pending.count} steps are in flight: recv() them before step()"
            )
        if len(actions) != self.num_envs:
            raise ValueError(f"step takes {self.num_envs} actions, got {len(actions)}")
        self.send(list(actions), range(self.num_envs))

    def send(
        self,
        actions: Sequence[str],
        ids: Sequence[int],
        *,
        cut: Sequence[bool] | None = None,
    ) -> None:
        """Start steps and return at once.

        Args:
            actions: One text for each id.
            ids: Which envs; each at most once and without a step in flight.
            cut: Which of the texts a length limit of the sampler has cut.

        Raises:
            ResetNeeded: An env has no running episode; then none of the steps is started.
            ValueError: Lengths differ, or an id is unknown, twice there, or in flight.
        """
        cuts = [False] * len(ids) if cut is None else list(cut)
        if not len(actions) == len(ids) == len(cuts):
            raise ValueError(
                "actions, ids and cut must be of one length, "
                f"got {len(actions)}, {len(ids)} and {len(cuts)}"
            )
        wrong = [i for i in ids if not 0 <= i < self.num_envs or self._pending.has(i)]
        if wrong or len(set(ids)) < len(ids):
            raise ValueError(
                f"ids must be distinct, from 0 to {self.num_envs - 1} and not in flight, "
                f"got {list(ids)}" + (f"; wrong: {wrong}" if wrong else "")
            )
        # All checks come before the first start, so that an error leaves nothing half sent.
        due = [self._spends_action_on_reset(i) for i in ids]
        for i, action, reset in zip(ids, actions, due, strict=True):
            if not reset:
                self._runners[i].check_action(action)
        problems = {i: self._sampled(i) for i, reset in zip(ids, due, strict=True) if reset}
        for i, action, reset, is_cut in zip(ids, actions, due, cuts, strict=True):
            if reset:
                self._pending.add_result(i, self._begin(i, problems[i]))
            else:
                self._pending.start(i, self._runners[i].step(action, cut=is_cut))

    def _spends_action_on_reset(self, i: int) -> bool:
        """Whether the next action of an env is spent on its reset."""
        ended = self._runners[i].episode is not None and not self._runners[i].running
        return ended and self.autoreset_mode is AutoresetMode.NEXT_STEP

    def recv(self, min_ready: int = 1, timeout: float | None = None) -> list[StepResult]:
        """Steps that have ended, in the order in which they did.

        In mode `SameStep` a step that ends an episode has the first observation and info of the
        next one, and the end of the last one in `final`. Where the source fails to give that next
        problem, its error is raised and the steps stay for the next `recv`.

        Args:
            min_ready: Wait for so many, but not for more than are in flight; 0 never waits.
            timeout: Seconds to wait at most; then there may be fewer.

        Raises:
            ClosedEnvironmentError: The env was closed.
        """
        ready = self._pending.collect_ready(min_ready, timeout)
        return self._reset_ended(ready)

    def _reset_ended(self, ready: Sequence[StepResult]) -> list[StepResult]:
        kept: list[StepResult] = []
        try:
            for result in ready:
                kept.append(self._autoreset(result))
        except BaseException:
            for result in (*kept, *ready[len(kept) :]):
                self._pending.add_result(result.env_id, result)
            raise
        return kept

    def _autoreset(self, result: StepResult) -> StepResult:
        i = result.env_id
        if result.final is not None:
            # It was reset in a `recv` that the reset of another one has broken off.
            return result
        if result.done and self.autoreset_mode is AutoresetMode.SAME_STEP:
            # Gymnasium's rule: reward and flags are of the step that ended the episode, observation
            # and info of the reset behind it.
            fresh = self._begin(i, self._sampled(i))
            end = EpisodeEnd(result.observation, result.info)
            return replace(result, observation=fresh.observation, info=fresh.info, final=end)
        self._observations[i] = result.observation
        return result

    def batch(self, results: Sequence[StepResult]) -> VectorTransition:
        """Results as the arrays of Gymnasium; envs without one have reward 0 and no info."""
        rewards, flags = np.zeros(self.num_envs), np.zeros((2, self.num_envs), np.bool_)
        infos: dict[str, Any] = {}
        # In the order of the envs, so that `_add_info` builds the same arrays whoever ended first.
        for result in sorted(results, key=lambda result: result.env_id):
            i = result.env_id
            rewards[i] = result.reward
            flags[:, i] = result.terminated, result.truncated
            info = result.info
            if result.final is not None:
                final = {"final_obs": result.final.observation, "final_info": result.final.info}
                info = {**final, **info}
            infos = self._add_info(infos, info, i)
        return tuple(self._observations), rewards, flags[0], flags[1], infos

    async def astep(self, actions: Sequence[str]) -> VectorTransition:
        """`step` without blocking the event loop; what a cancelled one began, `recv` gives."""
        self._send_all(actions)
        return self.batch(await self.arecv(self.num_envs))

    async def arecv(self, min_ready: int = 1, timeout: float | None = None) -> list[StepResult]:
        """`recv` without blocking the event loop; a cancelled one loses nothing."""
        ready = await self._pending.acollect_ready(min_ready, timeout)
        return self._reset_ended(ready)

    def get_state(self, env_id: int, *, live: bool = False) -> EnvState:
        """As `ToRLMathEnv.get_state`, of one env without a step in flight."""
        self._check_not_pending(env_id)
        return EnvState.of(self._runners[env_id], self._random(env_id), live=live)

    def set_state(self, env_id: int, state: EnvState) -> None:
        """As `ToRLMathEnv.set_state`, of one env without a step in flight."""
        self._check_not_pending(env_id)
        self._randoms[env_id] = state.generator()
        state.restore(self._runners[env_id], self.problems)
        # What the env has said last; behind a turn of the model it has not answered yet.
        segments = state.episode.segments
        self._observations[env_id] = segments[-1].text if segments[-1].role != "model" else ""

    def branch(self, env_id: int, into: Sequence[int]) -> None:
        """Put the envs `into` where `env_id` stands, interpreter included.

        Raises:
            ValueError: An env is unknown or has a step in flight; then none is touched.
        """
        for target in into:
            self._check_not_pending(target)
        with self.get_state(env_id, live=True) as state:
            for target in into:
                self.set_state(target, state)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a vector environment cannot be pickled, for its steps run: pickle envs.config, with "
            "which to make it again, and envs.get_state(i) of each episode"
        )

    def _check_not_pending(self, env_id: int) -> None:
        # A negative number would be an env counted from the end, of which nothing is in flight.
        if not 0 <= env_id < self.num_envs:
            raise ValueError(f"envs are 0 to {self.num_envs - 1}, got {env_id}")
        if self._pending.has(env_id):
            raise ValueError(f"env {env_id} has a step in flight: recv() it first")

    def _sampled(self, i: int) -> Problem:
        return sample_problem(self.problems, self._random(i))

    def _begin(self, i: int, problem: Problem) -> StepResult:
        result = self._runners[i].reset(problem)
        self._observations[i] = result.observation
        return result

    def _seed(self, seed: int | Sequence[int | None] | None, mask: Bools) -> None:
        if seed is None:
            return
        seeds = (
            [int(seed) + i for i in range(self.num_envs)]
            if isinstance(seed, int | np.integer)
            else list(seed)
        )
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must have {self.num_envs} items, got {len(seeds)}")
        for i, one in enumerate(seeds):
            if one is not None and mask[i]:
                self._randoms[i], _ = seeding.np_random(one)

    def _random(self, i: int) -> np.random.Generator:
        random = self._randoms[i]
        # An env that was never seeded and always got its problem by id draws no entropy.
        if random is None:
            random, _ = seeding.np_random()
            self._randoms[i] = random
        return random

    def close_extras(self, **kwargs: Any) -> None:
        """Kill what runs, end interpreters, let the sandbox go."""
        if hasattr(self, "_pending"):
            self._pending.close()
            for runner in self._runners:
                runner.close()
            self._sandbox.close()
