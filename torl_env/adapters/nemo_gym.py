r"""NeMo-Gym (0.7): a resources server with the tool `python`, our grader and its data set.

`examples/nemo_gym` holds the folder that NeMo-Gym starts: `app.py`, which runs
`ToRLResourcesServer`, and a configuration that pairs it with NeMo-Gym's `simple_agent`, behind the
environment server through which 0.7 collects:

    NEMO_GYM_EXTRA_ROOTS=examples/nemo_gym gym env start \
        --resources-server torl_math --model-type vllm_model

`seed_session` opens an environment for the problem of the row, `/python` takes a step in it, and
`/verify` ends it, whether an agent asks or one of NeMo-Gym's environment servers. NeMo-Gym's model
server samples and keeps token ids; this side deals in text.

Where the machine failed or the grader could not decide, the row goes where NeMo-Gym puts those of
a judge that failed: into `..._failures.jsonl`, in no mean, and a resumed run plays it again.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

from torl_env.adapters.lazy import needed, on_request
from torl_env.adapters.token_episode import make_env
from torl_env.adapters.trl import Message, ToRLEnvironment, finished
from torl_env.env import ToRLMathEnv
from torl_env.info import is_scorable
from torl_env.problems.types import Problem
from torl_env.tools.toolbox import PythonTool
from torl_env.wrappers.chat import opening

_NAMES = ("ToRLResourcesServer", "ToRLResourcesServerConfig")


def rows(
    problems: Iterable[Problem], system: str = "", agent: str = "torl_math_simple_agent"
) -> Iterator[dict[str, Any]]:
    """The data set in NeMo-Gym's form, one dict a problem, for a JSON-lines file.

    Args:
        problems: The problems.
        system: A system message, `""` for none.
        agent: Name of the agent in NeMo-Gym's configuration.

    Example:
        >>> row = next(rows([Problem("a", "What is 6*7?", "42")]))
        >>> row["responses_create_params"]["input"], row["answer"]
        ([{'role': 'user', 'content': 'What is 6*7?'}], '42')
    """
    tool = {
        "type": "function",
        "name": PythonTool.name,
        "description": PythonTool.description,
        "parameters": {**PythonTool.parameters, "additionalProperties": False},
        "strict": True,
    }
    for problem in problems:
        yield {
            "responses_create_params": {
                "input": opening(problem.question, system),
                "tools": [tool],
                "parallel_tool_calls": False,
            },
            "problem_id": problem.id,
            "question": problem.question,
            "answer": problem.answer,
            "agent_ref": {"type": "responses_api_agents", "name": agent},
        }


def completion(output: Iterable[Any]) -> list[Message]:
    """The items of a response as messages; calls and their outputs hold no words of the model."""
    messages: list[Message] = []
    for item in output:
        if item.type == "message" and item.role == "assistant":
            parts = [item.content] if isinstance(item.content, str) else item.content
            text = "".join(
                one if isinstance(one, str) else getattr(one, "text", "") for one in parts
            )
            messages.append({"role": "assistant", "content": text})
        elif item.type == "function_call":
            messages.append({"role": "assistant", "content": "", "tool_calls": [item.name]})
        elif item.type == "function_call_output":
            messages.append({"role": "tool", "content": str(item.output)})
    return messages


@dataclass(slots=True)
class _Rollout:
    env: ToRLMathEnv
    tools: ToRLEnvironment
    heard: float
    """When its agent last spoke, monotonic seconds."""


class Sessions:
    """Environments by NeMo-Gym's session, which a cookie carries through one rollout.

    Args:
        options: Fields of `EnvConfig`; a call past the budget is refused in words unless they say
            otherwise.
        idle_seconds: An environment without a request for this long is closed.
    """

    def __init__(self, options: Mapping[str, Any], idle_seconds: float) -> None:
        self._options = {"over_budget": "notice", **options, "parser": "hermes"}
        self._idle = idle_seconds
        self._open: dict[str, _Rollout] = {}
        # Of environment servers, whose seed may come late or twice; a name each, kept for good.
        self._ended: set[str] = set()

    def seed_once(self, session: str, problem: Problem) -> None:
        """As an environment server asks: again changes nothing.

        Raises:
            LookupError: It was closed before.
        """
        if session in self._ended:
            raise LookupError(f"session {session} is closed already")
        if session not in self._open:
            self.seed(session, problem)

    def end(self, session: str) -> None:
        """Close what an environment server has seeded, or will."""
        self._ended.add(session)
        self._close(session)

    def seed(self, session: str, problem: Problem) -> None:
        """Open the environment of a rollout."""
        now = time.monotonic()
        for name, known in list(self._open.items()):
            if name == session or now - known.heard > self._idle:
                self._close(name)
        env = make_env(problem, self._options)
        tools = ToRLEnvironment(env)
        tools.reset(problem_id=problem.id)
        self._open[session] = _Rollout(env, tools, now)

    def python(self, session: str, code: str) -> str:
        """What the model reads of a program."""
        rollout = self._of(session)
        rollout.heard = time.monotonic()
        return rollout.tools.python(code)

    def verify(self, session: str, output: Iterable[Any]) -> tuple[float, dict[str, Any]]:
        """Grade and close."""
        rollout = self._of(session)
        try:
            return finished(rollout.tools, completion(output))
        finally:
            self._close(session)

    def _of(self, session: str) -> _Rollout:
        if session not in self._open:
            raise LookupError("no environment for this session: call /seed_session first")
        return self._open[session]

    def _close(self, session: str) -> None:
        rollout = self._open.pop(session, None)
        if rollout is not None:
            rollout.env.close()


@cache
def _plugin() -> SimpleNamespace:
    base, judge, utils = (
        needed(f"nemo_gym.{name}", "NeMo-Gym in the environment of the server")
        for name in ("base_resources_server", "judge", "server_utils")
    )
    return _server_of(base, judge, utils.SESSION_ID_KEY)


def _server_of(base: Any, judge: Any, session_id: str) -> SimpleNamespace:
    from fastapi import Request
    from fastapi.responses import PlainTextResponse
    from pydantic import BaseModel, ConfigDict, PrivateAttr

    class ToRLResourcesServerConfig(base.BaseResourcesServerConfig):  # type: ignore[misc]
        """The server's section of the configuration."""

        env: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
        idle_seconds: float = 3600.0

    class SeedRequest(base.BaseSeedSessionRequest):  # type: ignore[misc]
        """A row of the data set."""

        model_config = ConfigDict(extra="ignore")
        problem_id: str
        question: str
        answer: str

    class PythonRequest(BaseModel):
        """The arguments of the tool."""

        code: str

    class VerifyRequest(base.BaseVerifyRequest):  # type: ignore[misc]
        """What the model wrote, with the row."""

        model_config = ConfigDict(extra="allow")

    class VerifyResponse(base.BaseVerifyResponse):  # type: ignore[misc]
        """The reward; NeMo-Gym averages the numbers beside it."""

        model_config = ConfigDict(extra="allow")
        verdict: str
        correct: float
        tool_calls: int
        tool_errors: int

    class ToRLResourcesServer(base.SimpleResourcesServer):  # type: ignore[misc]
        """Tool and grader for NeMo-Gym's agents."""

        config: ToRLResourcesServerConfig
        _sessions: Sessions = PrivateAttr()

        def model_post_init(self, context: Any) -> None:
            """Check the options before the first rollout."""
            self._sessions = Sessions(self.config.env, self.config.idle_seconds)

        def setup_webserver(self) -> Any:
            """NeMo-Gym's routes and the tool's."""
            app = super().setup_webserver()
            app.post(f"/{PythonTool.name}")(self.python)
            return app

        async def seed_session(
            self, request: Request, body: base.ResourcesSeedSessionRequest | SeedRequest
        ) -> Any:
            """Open the environment of a rollout, for an environment server or for an agent."""
            if isinstance(body, SeedRequest):
                row, seed, name = body, self._sessions.seed, request.session[session_id]
                answer = base.BaseSeedSessionResponse()
            else:
                row, seed = SeedRequest.model_validate(body.task_data), self._sessions.seed_once
                name = request.session[session_id] = body.resources_session_id
                answer = base.ResourcesSeedSessionResponse(resources_session_id=name)
            await asyncio.to_thread(seed, name, Problem(row.problem_id, row.question, row.answer))
            return answer

        async def close_resources_session(self, body: base.ResourcesCloseSessionRequest) -> Any:
            """Close what an environment server seeded."""
            await asyncio.to_thread(self._sessions.end, body.resources_session_id)
            return base.ResourcesCloseSessionResponse(
                resources_session_id=body.resources_session_id
            )

        async def python(self, request: Request, body: PythonRequest) -> PlainTextResponse:
            """Run a program."""
            session = request.session[session_id]
            return PlainTextResponse(
                await asyncio.to_thread(self._sessions.python, session, body.code)
            )

        async def verify(self, request: Request, body: VerifyRequest) -> VerifyResponse:
            """Grade the rollout and close its environment."""
            session, output = request.session[session_id], body.response.output
            reward, info = await asyncio.to_thread(self._sessions.verify, session, output)
            if not is_scorable(info):
                raise judge.JudgeError(info["infra_error"] or "the grader could not decide")
            return VerifyResponse(
                **body.model_dump(),
                reward=reward,
                verdict=info["verdict"],
                correct=float(info["verdict"] == "correct"),
                tool_calls=info["tool_calls"],
                tool_errors=info["tool_errors"],
            )

    return SimpleNamespace(
        ToRLResourcesServer=ToRLResourcesServer,
        ToRLResourcesServerConfig=ToRLResourcesServerConfig,
    )


__getattr__ = on_request(__name__, _NAMES, lambda name: getattr(_plugin(), name))
