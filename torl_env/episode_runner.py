"""One episode with its machinery: what the scalar and the vector environment both drive."""

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gymnasium as gym

import rewards
from rewards.errors import UndecidedError
from rewards.types import Attempt, Grade, Scored, Verdict
from torl_env.config import EnvConfig
from torl_env.episode import Continue, Episode, RunTool
from torl_env.errors import SandboxError
from torl_env.parsing.types import ToolCall
from torl_env.problems.types import Problem
from torl_env.sandbox.types import Sandbox, Session
from torl_env.tools.session import CodeSession, LoggedTurn
from torl_env.tools.toolbox import Toolbox, WorkItem
from torl_env.tools.types import Outcome, ToolContext


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """What the last step of an episode showed, where the next one began in the same step."""

    observation: str
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step of one environment gave."""

    env_id: int
    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    final: EpisodeEnd | None = None
    """The end of the episode in mode `SameStep`, where `observation` and `info` are the next's."""
    tool_name: str = ""
    """The tool that the action called, `""` where none was started."""
    images: tuple[bytes, ...] = ()
    """PNG files that the call drew, for whoever reads along: the model gets text only."""

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


StepGenerator = Generator[WorkItem, Any, StepResult]
"""A step in progress: yields work, is sent its result (or thrown its error), returns the step.

The episode so needs no thread and knows nothing of who waits how: `env` waits in the caller's
thread or on an event loop, `pending_steps` for many at once.

    work = next(step)             # a program to run, or a future of one that runs
    work = step.send(result)      # an answer to grade
    step.send(grade)              # StopIteration, its value the StepResult
"""


class EpisodeRunner:
    """Runs one episode after the other.

    Args:
        config: Options of the env.
        sandbox: Gives the sandbox; called once, when code runs for the first time.
        env_id: Stamped on results.
    """

    def __init__(self, config: EnvConfig, sandbox: Callable[[], Sandbox], env_id: int = 0) -> None:
        self.config = config
        self.env_id = env_id
        self.toolbox = Toolbox(config.components.tools)
        self.episode: Episode | None = None
        self.problem: Problem | None = None
        self.session: CodeSession | None = None
        self._open_sandbox = sandbox
        self._sandbox: Sandbox | None = None
        self._reward = config.components.reward
        self._grader = config.components.grader
        self._pending: Future[Any] | None = None
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether an episode is under way."""
        return self.episode is not None and self.episode.ending is None

    def reset(self, problem: Problem) -> StepResult:
        """Begin an episode.

        Raises:
            ClosedEnvironmentError: After `close`.
        """
        self._check_open()
        self._release()
        prompt = self.config.components.prompt(problem.question)
        self.problem, self.episode = problem, Episode(self.config, prompt)
        if self.config.stateful:
            self.session = self.open_session()
        return StepResult(
            self.env_id, prompt, 0.0, False, False, _build_info(problem, self.episode)
        )

    def clear(self) -> None:
        """End the episode without an outcome."""
        self._release()
        self.episode = self.problem = None

    def open_session(self, log: tuple[LoggedTurn, ...] = ()) -> CodeSession:
        """An interpreter of this episode, opened when it is first used."""
        return CodeSession(self.interpreter, log)

    def interpreter(self) -> Session:
        """A fresh interpreter in the sandbox of this env."""
        return self._open_sandbox().session(self.config.limits)

    def check_action(self, action: object) -> None:
        """Whether this action can be taken now.

        Raises:
            ResetNeeded: There is no running episode.
            InvalidAction: The action is not text.
            ClosedEnvironmentError: After `close`.
        """
        self._check_open()
        if not self.running:
            what = "there is no episode yet" if self.episode is None else "the episode is over"
            raise gym.error.ResetNeeded(f"env {self.env_id}: {what}; call reset() before step()")
        if not isinstance(action, str):
            raise gym.error.InvalidAction(
                f"env {self.env_id}: an action is the model's text (str), "
                f"got {type(action).__name__}"
            )

    def step(self, action: str, *, cut: bool = False) -> StepGenerator:
        """One step; an interrupted one leaves the episode as it was before.

        Raises:
            ResetNeeded: There is no running episode.
            InvalidAction: The action is not text.
            ClosedEnvironmentError: `close` was called, before or meanwhile.
        """
        self.check_action(action)
        episode, _ = self._current()
        # States are immutable, so that keeping the old one is all that undoing a step takes.
        before, log = episode.state, self._log()
        try:
            return (yield from self._step(episode, action, cut))
        except BaseException as error:
            # Also GeneratorExit (a pending step is discarded) and asyncio's CancelledError.
            episode.state = before
            self._cancel()
            if self.session is not None:
                # The interpreter may have run half of the turn: rebuild it when next used.
                self.session = self.session.renewed(log)
            if isinstance(error, CancelledError):
                raise gym.error.ClosedEnvironmentError(
                    f"env {self.env_id} was closed while its step ran"
                ) from error
            raise

    def _step(self, episode: Episode, action: str, cut: bool) -> StepGenerator:
        move = episode.act(action, cut=cut)
        if not isinstance(move, RunTool):
            observation = move.observation if isinstance(move, Continue) else ""
            return (yield from self._end_step(episode, observation))
        name = move.call.name
        try:
            outcome: Outcome = yield from self._with_retry(partial(self._call, move.call))
        except SandboxError as error:
            return replace(self._infrastructure_error(episode, error), tool_name=name)
        observation = episode.observe(outcome)
        result = yield from self._end_step(episode, observation)
        return replace(result, tool_name=name, images=outcome.images)

    def _end_step(self, episode: Episode, observation: str) -> StepGenerator:
        if episode.ending is None:
            return self._result(observation, _build_info(self._current()[1], episode))
        return (yield from self._grade(episode))

    def _with_retry(self, start: Callable[[], WorkItem]) -> Generator[WorkItem, Any, Any]:
        """Work that is tried a second time when the machine failed."""
        log = self._log()
        try:
            return (yield from self._once(start))
        except SandboxError:
            # What the interpreter did of the failed turn is unknown: replay the log into a new one.
            if self.session is not None:
                self.session = self.session.renewed(log)
        return (yield from self._once(start))

    def _once(self, start: Callable[[], WorkItem]) -> Generator[WorkItem, Any, Any]:
        try:
            # Each attempt starts anew: a future cannot run twice.
            work = start()
            # `close` cancels it from any thread, which kills the program.
            self._pending = work if isinstance(work, Future) else None
            value = yield work
        except Exception:
            self._pending = None
            raise
        # Behind an interrupt (Ctrl-C, a cancelled task) the program still runs: `step` cancels it.
        self._pending = None
        return value

    def _call(self, call: ToolCall) -> WorkItem:
        if self._sandbox is None:
            self._sandbox = self._open_sandbox()
        context = ToolContext(self._sandbox, self.config.limits, self.session)
        return self.toolbox.start(call, context)

    def _grade(self, episode: Episode) -> StepGenerator:
        problem = self._current()[1]
        grading = partial(self._judged, episode, problem)
        try:
            # A grader or reward of one's own may ask a server, which can fail as a sandbox can.
            grade, scored = yield from self._with_retry(lambda: grading)
        except SandboxError as error:
            return self._infrastructure_error(episode, error)
        info = _build_info(problem, episode, grade=grade, scored=scored)
        return self._result("", info, scored.total)

    def _judged(self, episode: Episode, problem: Problem) -> tuple[Grade, Scored]:
        """Verdict and reward of an ended episode; both may wait for a server."""
        prose = episode.prose
        grade = self._grader(prose, problem.answer)
        # An answer that could not be judged is neither right nor wrong: no term may see it.
        if grade.verdict is Verdict.UNGRADABLE:
            return grade, Scored(0.0)
        try:
            return grade, self._reward.score(_attempt(episode, problem, grade, prose))
        except UndecidedError as error:
            why = str(error)
            undecided = replace(grade, verdict=Verdict.UNGRADABLE, rule="undecided", detail=why)
            return undecided, Scored(0.0)

    def _infrastructure_error(self, episode: Episode, error: SandboxError) -> StepResult:
        episode.fail()
        what = f"{type(error).__name__}: {error}"
        return self._result("", _build_info(self._current()[1], episode, infra_error=what))

    def _result(self, observation: str, info: dict[str, Any], reward: float = 0.0) -> StepResult:
        ending = self._current()[0].ending
        terminated = ending is not None and ending.terminates
        truncated = ending is not None and not terminated
        # The processes of an ended episode would wait for the reset, hundreds of them in a batch.
        if ending is not None and self.session is not None:
            self.session.close()
        return StepResult(self.env_id, observation, reward, terminated, truncated, info)

    def _log(self) -> tuple[LoggedTurn, ...]:
        return self.session.log if self.session is not None else ()

    def _current(self) -> tuple[Episode, Problem]:
        assert self.episode is not None
        assert self.problem is not None
        return self.episode, self.problem

    def _cancel(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise gym.error.ClosedEnvironmentError(f"env {self.env_id} is closed: make a new one")

    def close(self) -> None:
        """End what runs, for good; idempotent. The sandbox stays open."""
        self._closed = True
        self._release()

    def _release(self) -> None:
        self._cancel()
        session, self.session = self.session, None
        if session is not None:
            session.close()


def _attempt(episode: Episode, problem: Problem, grade: Grade, prose: str) -> Attempt:
    """The ended episode as a reward sees it; a grader that looked for the box has said so."""
    state, ending = episode.state, episode.ending
    response = "".join(part.text for part in state.segments if part.role != "prompt")
    return Attempt(
        verdict=grade.verdict,
        tool_calls=state.tool_calls,
        tool_errors=state.tool_errors,
        turns=state.turn,
        truncated=ending is not None and not ending.terminates,
        boxed=rewards.extract(prose).boxed if grade.boxed is None else grade.boxed,
        length=episode.config.components.length(response),
        question=problem.question,
        response=response,
        reference=problem.answer,
    )


def _build_info(
    problem: Problem,
    episode: Episode,
    *,
    grade: Grade | None = None,
    scored: Scored | None = None,
    infra_error: str = "",
) -> dict[str, Any]:
    """A fresh dict with exactly `INFO_KEYS`, the same at every reset and step: no clocks, no paths.

    Args:
        problem: The problem at hand; its answer is not used.
        episode: The episode after the action.
        grade: What the grader said, at the end only.
        scored: The reward and its terms, at the end only.
        infra_error: What failed in the machine.
    """
    state = episode.state
    seen = state.last
    return {
        "problem_id": problem.id,
        "split": problem.split,
        "turn": state.turn,
        "action_kind": str(state.action_kind),
        "tool_status": str(seen.status) if seen else "",
        "error_type": seen.error_type if seen else "",
        "output_chars": seen.output_chars if seen else 0,
        "output_truncated": seen.output_truncated if seen else False,
        "tool_calls": state.tool_calls,
        "tool_errors": state.tool_errors,
        "verdict": str(grade.verdict) if grade else "",
        "answer": (grade.answer or "") if grade else "",
        "reward_terms": {name: float(term) for name, term in scored.terms.items()}
        if scored
        else {},
        "stop_reason": str(episode.ending or ""),
        "infra_error": infra_error,
        "stop": episode.stop,
        "continue_generation": state.open_turn is not None,
    }
