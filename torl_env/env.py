"""The environment for one episode at a time."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from os import PathLike
from typing import Any

import gymnasium as gym

from torl_env.config import EnvConfig
from torl_env.configured import Configured
from torl_env.episode import Episode
from torl_env.episode_runner import EpisodeRunner, StepGenerator, StepResult
from torl_env.pending_steps import started
from torl_env.problem_sampling import ResetOptions
from torl_env.problems.types import ProblemSource
from torl_env.snapshot import EnvState
from torl_env.spaces import Unicode
from torl_env.tools.toolbox import WorkItem

Transition = tuple[str, float, bool, bool, dict[str, Any]]
_SHARED = {"config", "problems", "spec", "_sandbox", "_runner"}
"""What a copy has in common with its original, or makes anew."""
Wait = Callable[[WorkItem], Awaitable[Any]]
"""Gives the result of a piece of work, or raises its error."""


class ToRLMathEnv(Configured, gym.Env[str, str]):
    r"""A problem, a Python interpreter and a model that writes text.

    The observation is only the text that the env adds: the prompt at `reset`, the output of a
    program after a call, `""` at the end. An action is what the model writes in one turn; the
    grammar is in `torl_env.parsing.fenced`, the keys of `info` in `torl_env.info`.

    Args:
        problems: As the field of `EnvConfig`.
        config: The description of the environment.
        render_mode: `ansi` or `None`.
        **options: Fields of `EnvConfig`, in place of those of `config`.

    Raises:
        ProblemError: The problems cannot be opened, or there are none.
        ConfigError: An option has a wrong type or is out of range.

    Example:
        >>> env = gym.make("torl_env:ToRLMath-v0", problems="procedural:easy")
        >>> question, info = env.reset(seed=0)
        >>> _, reward, terminated, truncated, info = env.step("It is \\boxed{-1.5}.")
        >>> reward, terminated, truncated, info["verdict"]
        (-1.0, True, False, 'wrong')
        >>> env.close()
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self,
        problems: ProblemSource | str | PathLike[str] | None = None,
        *,
        config: EnvConfig | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self._configure(problems, config, options)
        self.observation_space = Unicode()
        self.action_space = Unicode()
        self.render_mode = render_mode
        self._runner = EpisodeRunner(self.config, self._sandbox.get)

    @property
    def episode(self) -> Episode:
        """The episode at hand: its transcript, its counters, why it ended.

        Raises:
            ResetNeeded: There is none yet.
        """
        if self._runner.episode is None:
            raise gym.error.ResetNeeded("there is no episode yet: call reset() first")
        return self._runner.episode

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode with a problem drawn by `np_random`.

        Args:
            seed: Seeds `np_random`, as everywhere in Gymnasium.
            options: `{"problem_id": ...}` takes that problem, without a draw.

        Raises:
            ProblemError: No problem has this id.
            ValueError: An unknown option, or an id that is no text.
        """
        super().reset(seed=seed)
        chosen = ResetOptions.scalar(options)
        result = self._runner.reset(chosen.sample_one(self.problems, self.np_random))
        return result.observation, result.info

    def step(self, action: str) -> Transition:
        """Take the model's turn.

        Raises:
            ResetNeeded: There is no running episode.
            InvalidAction: The action is not text.
        """
        return _transition(_drive(self._runner.step(action)))

    def cut(self, action: str) -> Transition:
        """Take a turn that a length limit of the sampler has cut: the episode is truncated."""
        return _transition(_drive(self._runner.step(action, cut=True)))

    async def astep(self, action: str, *, cut: bool = False) -> Transition:
        """`step` without blocking the event loop.

        Cancelling it kills the program and leaves the episode as it was before the action.
        """
        return _transition(await _adrive(self._runner.step(action, cut=cut), _elsewhere))

    async def areset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """`reset` in a thread, for sources that read files or a network."""
        return await asyncio.to_thread(self.reset, seed=seed, options=options)

    async def aclose(self) -> None:
        """`close` in a thread."""
        await asyncio.to_thread(self.close)

    def render(self) -> str | None:
        """The whole transcript so far with `render_mode="ansi"`."""
        return None if self.render_mode is None else self.episode.transcript

    def get_state(self, *, live: bool = False) -> EnvState:
        """Keep where the episode stands.

        Args:
            live: Copy the running interpreter too; the state then must be closed. Without it, the
                programs run so far are replayed when the interpreter is next used.

        Raises:
            ResetNeeded: There is no episode.
        """
        return EnvState.of(self._runner, self.np_random, live=live)

    def set_state(self, state: EnvState) -> None:
        """Go back, or to what another env with the same options and problems has kept.

        Raises:
            ProblemError: A state from JSON names a problem that this source does not hold.
        """
        self.np_random = state.generator()
        state.restore(self._runner, self.problems)

    def branch(self, n: int) -> "list[ToRLMathEnv]":
        """`n` independent envs that stand where this one stands, interpreter included.

        They use the same sandbox; each has to be closed.
        """
        # The state holds one copy of the interpreter, which every branch forks once more: leaving
        # the block closes that copy and none of theirs.
        with self.get_state(live=True) as state:
            branches = [self._sibling() for _ in range(n)]
            for branch in branches:
                branch.set_state(state)
        return branches

    def __deepcopy__(self, memo: dict[int, Any]) -> "ToRLMathEnv":
        """An env of its own that stands where this one stands, over the same sandbox."""
        memo[id(self)] = twin = self._sibling()
        for name in self.__dict__.keys() - _SHARED:
            twin.__dict__[name] = copy.deepcopy(self.__dict__[name], memo)
        if self._runner.episode is not None:
            with self.get_state(live=True) as state:
                twin.set_state(state)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle`, without processes: variables of an interpreter come back by a replay."""
        kept = {**self.__dict__, "_runner": None}
        if self._runner.episode is not None:
            kept["_runner"] = self.get_state()
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        state: EnvState | None = kept["_runner"]
        self._runner = EpisodeRunner(self.config, self._sandbox.get)
        if state is not None:
            self.set_state(state)

    def _sibling(self) -> "ToRLMathEnv":
        # Not through `__init__`: problems are shared as they are, and a subclass may take others.
        sibling = type(self).__new__(type(self))
        sibling.__dict__.update(self.__dict__)
        sibling._sandbox = self._sandbox.another()
        sibling._runner = EpisodeRunner(self.config, sibling._sandbox.get)
        return sibling

    def close(self) -> None:
        """End the interpreter and let the sandbox go; idempotent."""
        # Gymnasium closes envs in `__del__` too, of which the constructor may have failed.
        if hasattr(self, "_runner"):
            self._runner.close()
            self._sandbox.close()


def _drive(steps: StepGenerator) -> StepResult:
    """Run a step to its end in this thread."""
    try:
        # Nothing in it waits for an event loop, so its first run is its last.
        _adrive(steps, _here).send(None)
    except StopIteration as end:
        result: StepResult = end.value
        return result
    raise RuntimeError("a step in this thread cannot be suspended")


async def _adrive(steps: StepGenerator, wait: Wait) -> StepResult:
    """Run a step to its end: `wait` for its work, and send what came of it back in."""
    try:
        work = next(steps)
        while True:
            try:
                value = await wait(work)
            except BaseException as error:  # noqa: BLE001 - the step decides what an error means
                work = steps.throw(error)
            else:
                work = steps.send(value)
    except StopIteration as end:
        result: StepResult = end.value
        return result


async def _here(work: WorkItem) -> Any:
    """Blocks this thread."""
    return work.result() if isinstance(work, Future) else work()


async def _elsewhere(work: WorkItem) -> Any:
    """Leaves the event loop free."""
    return await asyncio.wrap_future(started(work))


def _transition(result: StepResult) -> Transition:
    return result.observation, result.reward, result.terminated, result.truncated, result.info
