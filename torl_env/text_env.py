"""Any Gymnasium environment whose spaces are text, behind the face that rollouts use.

    own = TextEnv(MyEnv())  # or an id: TextEnv("My-v0", level=3)
    rollout = Rollout(policy, prompt, own.make_envs, sampling)
    rollout.collect(own.problems.head(64), group_size=8, seed=0)

A problem is a seed: the question is what `reset(seed=...)` observes, and the samples of a group
begin alike. An `infra_error` in a step's info voids the episode, and where `continue_generation` is
true the next action goes on with the same turn; one of this project's environments says all of its
info itself. Steps run one after the other in the caller's thread. What needs states (branches,
going back) and tools that run while others are sampled needs `ToRLMath-v0`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import gymnasium as gym

from rewards.types import Verdict
from torl_env.env import ToRLMathEnv
from torl_env.episode import StopReason
from torl_env.episode_runner import StepResult
from torl_env.errors import ConfigError, ProblemError, SandboxError
from torl_env.parsing import named_parser
from torl_env.parsing.types import ActionKind, Parser
from torl_env.problem_sampling import ResetOptions
from torl_env.problems.source import Source
from torl_env.problems.types import Problem
from torl_env.snapshot import EnvState

_PREFIX = "seed-"


class RolloutEnvs(Protocol):
    """What a rollout needs of many episodes: `ToRLMathVectorEnv` and `TextVectorEnv` have it."""

    @property
    def parser(self) -> Parser:
        """Where a turn of the model ends."""
        ...

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Function schemas for chat templates."""
        ...

    def reset(
        self, *, options: Mapping[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin episodes: `problem_ids`, `group_size`."""
        ...

    def send(
        self, actions: Sequence[str], ids: Sequence[int], *, cut: Sequence[bool] | None = None
    ) -> None:
        """Start steps."""
        ...

    def recv(self, min_ready: int = 1, timeout: float | None = None) -> list[StepResult]:
        """Steps that have ended."""
        ...

    def get_state(self, env_id: int, *, live: bool = False) -> EnvState:
        """Where an episode stands."""
        ...

    def set_state(self, env_id: int, state: EnvState) -> None:
        """Go back there."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class PlainParser:
    """No calls: a turn ends where the model ends it, and observations have no frame."""

    stop: tuple[str, ...] = ()

    def parse(self, turn: str) -> None:
        """Every turn is final."""

    def prose(self, turn: str) -> str:
        """The turn itself."""
        return turn

    def frame(self, turn: str, body: str) -> str:
        """The observation on lines of its own."""
        return f"{'' if turn.endswith(chr(10)) else chr(10)}{body}\n"


class TextEnv:
    """An environment of one's own, as problems and as vector environments for a rollout.

    Args:
        env: An environment, an id for `gym.make`, or a function that makes one.
        parser: `plain`, where a turn ends with the model's end of text, or a style of calls, where
            it also ends behind a call (`fenced`, `xml`, `hermes`), or a parser.
        size: Number of seeds.
        **options: For `gym.make`, with an id.

    Raises:
        ConfigError: It is no environment, or its spaces are not text.

    Example:
        >>> own = TextEnv("torl_env:ToRLMath-v0", problems="procedural:gcd:L1")
        >>> own.problems[3].id
        'seed-3'
    """

    def __init__(
        self,
        env: gym.Env[Any, Any] | str | Callable[[], gym.Env[Any, Any]],
        *,
        parser: str | Parser = "plain",
        size: int = 1_000_000,
        **options: Any,
    ) -> None:
        if isinstance(parser, str):
            parser = PlainParser() if parser == "plain" else named_parser(parser)
        self.parser = parser
        self._make = _maker(env, options)
        self.problems: Source = SeededProblems(self._make, size)

    def make_envs(self, problems: Sequence[Problem], group_size: int) -> "TextVectorEnv":
        """An environment for each row of a batch."""
        return TextVectorEnv(self._make, len(problems) * group_size, self.parser)


def _maker(env: Any, options: Mapping[str, Any]) -> Callable[[], gym.Env[Any, Any]]:
    if isinstance(env, str):
        return lambda: gym.make(env, **options)
    if options:
        raise ConfigError(
            f"options go with an id for gym.make, got {', '.join(options)} with {env!r}"
        )
    if isinstance(env, gym.Env):
        return lambda: _copy(env)
    if callable(env):
        return env  # type: ignore[no-any-return]
    raise ConfigError(
        f"env: expected a Gymnasium environment, an id or a function that makes one, got {env!r}"
    )


def _copy(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    spec = env.spec
    # A wrapper that does not record its arguments, as few of users' own do, cannot be made anew.
    if (
        spec is None
        or spec.id not in gym.registry
        or any(wrapper.kwargs is None for wrapper in spec.additional_wrappers)
    ):
        return copy.deepcopy(env)
    if spec.additional_wrappers:
        return gym.make(spec)
    # Not `gym.make(spec)`, which copies the arguments: a sandbox among them is to be shared.
    return gym.make(spec.id, max_episode_steps=spec.max_episode_steps, **spec.kwargs)


class SeededProblems(Source):
    """The starts of an environment as problems: one for each seed, without a reference answer."""

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], size: int) -> None:
        """Seeds from 0 to `size - 1`."""
        self._env = _checked(make())
        self._size = size
        self.name = str(self._env.spec.id if self._env.spec else type(self._env.unwrapped).__name__)

    def __len__(self) -> int:
        return self._size

    def at(self, index: int) -> Problem:
        """What the environment shows at the start with this seed."""
        # The copy that is played is reset with the same seed and shows the same.
        question, _ = self._env.reset(seed=index)
        return Problem(f"{_PREFIX}{index}", question, "", self.name)

    def position(self, problem_id: str) -> int:
        """The seed of an id."""
        digits = problem_id.removeprefix(_PREFIX)
        if digits == problem_id or not digits.isdecimal() or int(digits) >= self._size:
            raise ProblemError(f"{self.name} has ids like {_PREFIX}7, got {problem_id!r}")
        return int(digits)


def _checked(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Whether it speaks text; `gymnasium.spaces.Text` does, and so does `torl_env.Unicode`."""
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not (isinstance(space, gym.Space) and isinstance(space.sample(), str)):
            raise ConfigError(
                f"{env}: expected {name} to be text (gymnasium.spaces.Text, torl_env.Unicode), "
                f"got {space!r}; wrap the environment in one that writes and reads text"
            )
    return env


class TextVectorEnv:
    """Copies of one environment, stepped in the caller's thread.

    Args:
        make: Makes a copy.
        num_envs: Number of episodes.
        parser: Where a turn ends.
    """

    tools: list[dict[str, Any]] = []  # noqa: RUF012 - it has none, and nothing is appended
    config = None

    def __init__(
        self, make: Callable[[], gym.Env[Any, Any]], num_envs: int, parser: Parser | None = None
    ) -> None:
        self.num_envs = num_envs
        self.parser: Parser = parser or PlainParser()
        self._envs = [_checked(make()) for _ in range(num_envs)]
        self._problem_ids = [""] * num_envs
        self._turns = [0] * num_envs
        self._going_on = [False] * num_envs
        self._earned = [0.0] * num_envs
        self._ready: list[StepResult] = []

    def reset(
        self, *, options: Mapping[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin the episodes of `problem_ids`, `group_size` envs side by side for each."""
        wanted = ResetOptions.vector(options, self.num_envs)
        observations = [""] * self.num_envs
        for i in range(len(wanted.problem_ids or ()) * wanted.group_size):
            problem_id = (wanted.problem_ids or ())[i // wanted.group_size]
            self._problem_ids[i], self._turns[i], self._earned[i] = problem_id, 0, 0.0
            self._going_on[i] = False
            seed = int(problem_id.removeprefix(_PREFIX))
            observations[i], _ = self._envs[i].reset(seed=seed)
        return tuple(observations), {}

    def send(
        self, actions: Sequence[str], ids: Sequence[int], *, cut: Sequence[bool] | None = None
    ) -> None:
        """Take steps; `recv` gives their results."""
        for action, i, is_cut in zip(actions, ids, cut or [False] * len(ids), strict=True):
            self._ready.append(self._step(i, action, is_cut))

    def recv(self, min_ready: int = 1, timeout: float | None = None) -> list[StepResult]:
        """All steps that were sent."""
        ready, self._ready = self._ready, []
        return ready

    def _step(self, i: int, action: str, cut: bool) -> StepResult:
        env = self._envs[i]
        if isinstance(env.unwrapped, ToRLMathEnv):
            # It knows all that a rollout asks for, and its observations have their frame.
            with _cutting(env.unwrapped) if cut else nullcontext():
                observation, reward, terminated, truncated, given = env.step(action)
            info = {**given, "problem_id": self._problem_ids[i]}
            return StepResult(i, observation, float(reward), terminated, truncated, info)
        return self._strange_step(i, action, cut)

    def _strange_step(self, i: int, action: str, cut: bool) -> StepResult:
        self._turns[i] += not self._going_on[i]
        observation, reward, terminated, truncated, infra_error = "", 0.0, False, False, ""
        given: dict[str, Any] = {}
        # A sampler without room for the last observation has written nothing in this turn.
        if action or not cut:
            try:
                observation, earned, terminated, truncated, given = self._envs[i].step(action)
                reward = float(earned)
                self._earned[i] += reward
                infra_error = str(given.get("infra_error") or "")
            except SandboxError as error:
                infra_error = f"{type(error).__name__}: {error}"
        if infra_error:
            terminated, truncated = False, True
        reason = _stop_reason(terminated, truncated, cut, infra_error)
        # Gymnasium allows both flags at once; what learns from an episode wants one reason.
        truncated = not terminated and (truncated or cut)
        done = terminated or truncated
        self._going_on[i] = not done and bool(given.get("continue_generation"))
        if not done and not self._going_on[i]:
            observation = self.parser.frame(action, observation)
        info = {
            # Its own keys come first: where one is called as ours, ours counts.
            **given,
            "problem_id": self._problem_ids[i],
            "split": "",
            "turn": self._turns[i],
            "action_kind": str(_kind(done, cut)),
            "tool_status": "",
            "error_type": "",
            "output_chars": len(observation),
            "output_truncated": False,
            "tool_calls": 0,
            "tool_errors": 0,
            "verdict": _verdict(given) if done else "",
            "answer": str(given.get("answer", "")) if done else "",
            "reward_terms": {"environment": self._earned[i]} if done else {},
            "stop_reason": reason,
            "infra_error": infra_error,
            "stop": self.parser.stop,
            "continue_generation": self._going_on[i],
        }
        return StepResult(i, "" if done else observation, reward, terminated, truncated, info)

    def get_state(self, env_id: int, *, live: bool = False) -> EnvState:
        """Not here.

        Raises:
            ConfigError: Always; the message says what has states.
        """
        raise self._stateless()

    def set_state(self, env_id: int, state: EnvState) -> None:
        """Not here.

        Raises:
            ConfigError: Always; the message says what has states.
        """
        raise self._stateless()

    def _stateless(self) -> ConfigError:
        name = type(self._envs[0].unwrapped).__name__
        return ConfigError(
            f"{name} keeps no states to go back to: branches, THOR's correction and episodes left "
            "in the middle need ToRLMath-v0 (its problems, tools, reward and grader may be yours)"
        )

    def close(self) -> None:
        """Close all copies."""
        for env in self._envs:
            env.close()


@contextmanager
def _cutting(base: ToRLMathEnv) -> Iterator[None]:
    """Within it a step is that of a turn which was cut, so that all wrappers see it as a step."""
    vars(base)["step"] = base.cut
    try:
        yield
    finally:
        del vars(base)["step"]


def _kind(done: bool, cut: bool) -> ActionKind:
    if cut:
        return ActionKind.CUT
    return ActionKind.FINAL if done else ActionKind.TOOL


def _stop_reason(terminated: bool, truncated: bool, cut: bool, infra_error: str) -> str:
    if infra_error:
        return str(StopReason.INFRA_ERROR)
    if terminated:
        return str(StopReason.FINAL)
    if cut:
        return str(StopReason.LENGTH)
    return str(StopReason.MAX_TURNS) if truncated else ""


def _verdict(info: Mapping[str, Any]) -> str:
    """What the environment says of the answer: `verdict`, or `is_success` as is the custom."""
    said = info.get("verdict", "")
    if said in tuple(Verdict):
        return str(said)
    if "is_success" in info:
        return str(Verdict.CORRECT if info["is_success"] else Verdict.WRONG)
    return ""
