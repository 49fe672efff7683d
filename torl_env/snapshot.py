"""Where an episode stands, to go back to, to branch from, to store as JSON."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import gymnasium as gym
import numpy as np

from torl_env.episode import Episode, EpisodeState, Report, Segment, StopReason
from torl_env.episode_runner import EpisodeRunner
from torl_env.parsing.types import ActionKind
from torl_env.problems.types import Problem, ProblemSource
from torl_env.sandbox.types import Status
from torl_env.tools.session import CodeSession, LoggedTurn

FORMAT = 2


@dataclass(frozen=True, slots=True)
class EnvState:
    """A snapshot; a context manager, because a live interpreter has to be closed."""

    problem_id: str
    episode: EpisodeState
    random: dict[str, Any]
    """State of the bit generator of `np_random`."""
    code: tuple[LoggedTurn, ...] = ()
    """Turns that made the interpreter's variables and files, for a replay."""
    problem: Problem | None = None
    """Absent in a state read from JSON, which holds no answer either."""
    session: CodeSession | None = None

    @classmethod
    def of(cls, runner: EpisodeRunner, random: np.random.Generator, *, live: bool = False) -> Self:
        """Snapshot of a runner between two steps."""
        if runner.episode is None or runner.problem is None:
            raise gym.error.ResetNeeded("there is no episode to keep: call reset() first")
        session = runner.session
        return cls(
            problem_id=runner.problem.id,
            episode=runner.episode.state,
            random=dict(random.bit_generator.state),
            code=session.log if session else (),
            problem=runner.problem,
            session=session.branch() if session and live else None,
        )

    def generator(self) -> np.random.Generator:
        """A generator in the kept state."""
        bits = getattr(np.random, self.random["bit_generator"])()
        bits.state = self.random
        return np.random.Generator(bits)

    def restore(self, runner: EpisodeRunner, problems: ProblemSource) -> None:
        """Put a runner where this state was taken."""
        problem = self.problem or problems.find(self.problem_id)
        # Ends what runs and opens a fresh interpreter; the episode and its session come next.
        runner.reset(problem)
        episode = Episode(runner.config)
        episode.state = self.episode
        runner.episode = episode
        if runner.config.stateful:
            live = self.session
            runner.session = (
                live.branch(runner.interpreter) if live else runner.open_session(self.code)
            )

    def to_json(self) -> str:
        """As text, without the live interpreter; the problem is named by its id."""
        kept = asdict(replace(self, problem=None, session=None))
        del kept["problem"], kept["session"]
        return json.dumps({"format": FORMAT, **kept}, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is not such a text, or of another version.
        """
        kept = json.loads(text)
        if not isinstance(kept, dict) or kept.get("format") != FORMAT:
            raise ValueError(f"not a state of format {FORMAT}: take the text that to_json() gave")
        episode = dict(kept["episode"])
        last = episode["last"]
        episode |= {
            "segments": tuple(Segment(**segment) for segment in episode["segments"]),
            "action_kind": ActionKind(episode["action_kind"]),
            "last": last and Report(**{**last, "status": Status(last["status"])}),
            "ending": episode["ending"] and StopReason(episode["ending"]),
        }
        return cls(
            problem_id=kept["problem_id"],
            episode=EpisodeState(**episode),
            random=kept["random"],
            code=tuple(LoggedTurn(*turn) for turn in kept["code"]),
        )

    def close(self) -> None:
        """End the live interpreter, if there is one; idempotent."""
        if self.session is not None:
            self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
