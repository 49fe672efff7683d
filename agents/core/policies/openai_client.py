"""A client of OpenAI's HTTP interface, and every form in which servers put an answer into it."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torl_env.http_client import Answer as Said
from torl_env.http_client import HttpClient, Retry, UnreachableError

RETRIED = (408, 409, 429, 500, 502, 503, 504)
"""Answers of a server that may be otherwise in a moment."""


class ServerError(Exception):
    """A server does not answer, or not as expected; the message says what was asked of whom.

    Args:
        message: For a person.
        status: HTTP's, where the server has answered.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server wrote."""

    text: str
    """The answer itself."""
    finish: str
    """`stop`, `length`, or another word of the server's."""
    thought: str = ""
    """What a reasoning model thought before it, where the server gives that apart."""
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Names and arguments of tool calls that the server has cut out of the text."""
    stopped_by: str = ""
    """The stop string that ended it, where the server tells (vLLM, SGLang)."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and how patiently."""

    model: str
    """The name that the server knows the model by."""
    url: str = "http://localhost:8000/v1"
    """Up to and with `/v1`."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; an unset one sends none."""
    timeout: float = 600.0
    """Seconds for one answer."""
    patience: float = 300.0
    """Seconds to go on asking a server that is busy, starting or gone; 0 asks once."""
    pause: float = 1.0
    """Seconds before the second attempt; doubled each time up to half a minute. `Retry-After`,
    where the server says it, counts in place of it."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Fields to add to every request; a null takes one out (`{"temperature": null}`)."""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and read its answer.

        Raises:
            ServerError: It failed for good.
        """
        content = {"model": self.model, **body} | dict(self.extra_body)
        content = {name: value for name, value in content.items() if value is not None}
        status: int | None = None
        try:
            said = self._send(path, content)
            if said.status == 400 and NEW_LIMIT in said.words and "max_tokens" in content:
                # OpenAI's reasoning models know the limit by this name alone.
                content[NEW_LIMIT] = content.pop("max_tokens")
                said = self._send(path, content)
            if said.status == 200:
                reply: dict[str, Any] = said.json()
                return reply
            problem, status = f"{self.url}/{path} answered {said.words}", said.status
        except UnreachableError as error:
            problem, status = str(error), error.answer.status if error.answer else None
        except ValueError as error:
            problem = f"{self.url}/{path} answered no JSON ({error})"
        raise ServerError(
            f"asking for {self.model!r}: {problem}: is the server up, is the address right, does "
            "it know the model?",
            status,
        )

    def _send(self, path: str, content: Mapping[str, Any]) -> Said:
        client = _client(self.url, os.environ.get(self.key_variable), self.patience, self.pause)
        body = json.dumps(content).encode()
        return client.ask("POST", f"/{path}", body, timeout=self.timeout)

    def chat(self, messages: Sequence[Mapping[str, str]], **body: Any) -> Answer:
        """A chat completion."""
        return _answer(self.post("chat/completions", {"messages": list(messages), **body}))

    def complete(self, prompt: str, **body: Any) -> Answer:
        """A plain completion."""
        return _answer(self.post("completions", {"prompt": prompt, **body}))


NEW_LIMIT = "max_completion_tokens"


@lru_cache(maxsize=64)
def _client(url: str, key: str | None, patience: float, pause: float) -> HttpClient:
    """One for all requests to a server, so that connections are kept."""
    retry = Retry(
        attempts=math.inf,
        seconds=patience,
        backoff=pause,
        longest_wait=math.inf,
        statuses=RETRIED,
        timeouts=True,
    )
    return HttpClient(url, token=key or None, retry=retry)


def served_models(
    url: str, seconds: float = 30.0, key_variable: str = "OPENAI_API_KEY"
) -> dict[str, int | None]:
    """The models of a server and their windows, where it tells them; asked once.

    Args:
        url: Up to and with `/v1`.
        seconds: To wait for the answer.
        key_variable: Environment variable that holds the key.

    Raises:
        ServerError: It does not answer, or not as expected.
    """
    client = HttpClient(url, token=os.environ.get(key_variable) or None, retry=Retry(attempts=0))
    try:
        said = client.ask("GET", "/models", timeout=seconds)
        if said.status != 200:
            raise ValueError(said.words)
        return {row["id"]: row.get("max_model_len") for row in said.json()["data"]}
    except (UnreachableError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"no server with OpenAI's interface lists its models at {client.url}/models ({error})"
        ) from error
    finally:
        client.close()


def _answer(reply: Mapping[str, Any]) -> Answer:
    try:
        choice = reply["choices"][0]
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        return Answer(
            text=_text(message.get("content")) or str(message.get("refusal") or ""),
            finish=str(choice.get("finish_reason") or "stop"),
            thought=str(message.get("reasoning_content") or message.get("reasoning") or ""),
            calls=[_call(call) for call in message.get("tool_calls") or ()],
            stopped_by=_stopped_by(choice),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ServerError(f"expected an OpenAI completion, got {str(reply)[:200]}") from error


def _text(content: Any) -> str:
    """Content is text, nothing, or a list of parts of which those of type `text` hold some."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part if isinstance(part, str) else part.get("text") or "" for part in content)


def _call(call: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    function = call["function"]
    arguments = function.get("arguments") or "{}"
    read = json.loads(arguments) if isinstance(arguments, str) else arguments
    return str(function["name"]), dict(read)


def _stopped_by(choice: Mapping[str, Any]) -> str:
    """VLLM says it in `stop_reason`, SGLang in `matched_stop`; numbers are end tokens."""
    said = choice.get("stop_reason") or choice.get("matched_stop")
    return said if isinstance(said, str) else ""
