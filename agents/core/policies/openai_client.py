"""A client of OpenAI's HTTP interface, and every form in which servers put an answer into it."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

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
        place = f"{self.url.rstrip('/')}/{path}"
        content = {"model": self.model, **body} | dict(self.extra_body)
        content = {name: value for name, value in content.items() if value is not None}
        deadline, pause = time.monotonic() + self.patience, self.pause
        while True:
            status: int | None = None
            try:
                return self._once(place, content)
            except urllib.error.HTTPError as error:
                said = error.read(500).decode("utf-8", "replace").strip()
                problem, again = f"{error.code} {error.reason}: {said}", error.code in RETRIED
                status = error.code
                wait_for = _retry_after(error.headers.get("Retry-After"))
                if error.code == 400 and NEW_LIMIT in said and "max_tokens" in content:
                    # OpenAI's reasoning models know the limit by this name alone.
                    content[NEW_LIMIT] = content.pop("max_tokens")
                    continue
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                problem, again, wait_for = str(getattr(error, "reason", error)), True, None
            except json.JSONDecodeError as error:
                problem, again, wait_for = f"no JSON ({error})", False, None
            seconds = pause if wait_for is None else wait_for
            if not again or time.monotonic() + seconds > deadline:
                raise ServerError(
                    f"{place} with model {self.model!r} answered {problem}: is the server up, is "
                    "the address right, does it know the model?",
                    status,
                )
            time.sleep(seconds)
            pause = min(2 * pause, 30.0)

    def _once(self, place: str, content: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(place, json.dumps(content).encode(), headers)
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            reply: dict[str, Any] = json.load(answer)
            return reply

    def chat(self, messages: Sequence[Mapping[str, str]], **body: Any) -> Answer:
        """A chat completion."""
        return _answer(self.post("chat/completions", {"messages": list(messages), **body}))

    def complete(self, prompt: str, **body: Any) -> Answer:
        """A plain completion."""
        return _answer(self.post("completions", {"prompt": prompt, **body}))


NEW_LIMIT = "max_completion_tokens"


def _retry_after(header: str | None) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, 10.2.3): a number, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


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
