"""Any server with OpenAI's HTTP interface as a policy: vLLM, SGLang, llama.cpp, Ollama, a cloud.

Such a server takes and gives text. What it wrote is therefore tokenised here, so these trajectories
are for evaluation, for TIRGen and for imitation, not for policy gradients: their log-probabilities
are unknown (`nan`) and their ids need not be the server's own.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from math import nan
from typing import Any

from agents.core.policies.base import Tokenizer
from agents.core.policies.stopping import StoppingCriterion, is_default
from agents.core.rollout.prompts import decode
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser, closes_tool_call
from torl_env.parsing.fenced import FencedParser

RETRIED = (408, 409, 429, 500, 502, 503, 504)
"""Answers of a server that may be otherwise in a moment."""


class ServerError(Exception):
    """A server does not answer, or not as expected; the message says what was asked of whom."""


class TextTokenizer:
    """One id for each character, for servers whose tokenizer is not at hand; 0 ends a text."""

    eos_token_id = 0

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Code points.

        Example:
            >>> TextTokenizer().decode([*TextTokenizer().encode("6·7"), 0])
            '6·7'
        """
        return [ord(character) for character in text]

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Text of code points."""
        return "".join(chr(i) for i in ids if i)

    def __len__(self) -> int:
        return 0x110000


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
    retries: int = 4
    """After the first attempt, with 1, 2, 4, ... seconds between."""
    pause: float = 1.0
    """The first of these pauses, seconds."""

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and read its answer.

        Raises:
            ServerError: It failed for good.
        """
        place = f"{self.url.rstrip('/')}/{path}"
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            place, json.dumps({"model": self.model, **body}).encode(), headers
        )
        for attempt in range(self.retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                    reply: dict[str, Any] = json.load(answer)
                    return reply
            except urllib.error.HTTPError as error:
                said = error.read(500).decode("utf-8", "replace").strip()
                problem, again = f"{error.code} {error.reason}: {said}", error.code in RETRIED
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                problem, again = str(getattr(error, "reason", error)), True
            except json.JSONDecodeError as error:
                problem, again = f"no JSON ({error})", False
            if not again:
                break
            if attempt < self.retries:
                time.sleep(self.pause * 2**attempt)
        raise ServerError(
            f"{place} with model {self.model!r} answered {problem}: is the server up, is the "
            "address right, does it know the model?"
        )

    def chat(self, messages: Sequence[Mapping[str, str]], **body: Any) -> tuple[str, str]:
        """Text and finish reason of a chat completion."""
        reply = self.post("chat/completions", {"messages": list(messages), **body})
        return _choice(reply, lambda choice: choice["message"]["content"])

    def complete(self, prompt: str, **body: Any) -> tuple[str, str]:
        """Text and finish reason of a plain completion."""
        reply = self.post("completions", {"prompt": prompt, **body})
        return _choice(reply, lambda choice: choice["text"])


def _choice(reply: Mapping[str, Any], text: Callable[[Any], str | None]) -> tuple[str, str]:
    try:
        choice = reply["choices"][0]
        return text(choice) or "", str(choice.get("finish_reason") or "stop")
    except (KeyError, IndexError, TypeError) as error:
        raise ServerError(f"expected an OpenAI completion, got {str(reply)[:200]}") from error


def chat_writer(
    server: Server, sampling: Sampling, *, rows: int = 16
) -> Callable[[Sequence[str]], list[str]]:
    """Texts to texts, each asked as a user's message: a refiner for TIRGen, a judge."""
    how = _settings(sampling)

    def write(texts: Sequence[str]) -> list[str]:
        with ThreadPoolExecutor(rows) as threads:
            asked = [[{"role": "user", "content": text}] for text in texts]
            return list(threads.map(lambda messages: server.chat(messages, **how)[0], asked))

    return write


def _settings(sampling: Sampling) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }


@dataclass(slots=True)
class _Row:
    prompt: str
    seed: int
    remaining: int
    messages: list[dict[str, str]] = field(default_factory=list)


class ServerPolicy:
    """Writes turns by asking a server; every row is a conversation of its own.

    Args:
        server: Whom to ask.
        closes_call: Whether a turn's text ends with a finished tool call. `closes_tool_call` stands
            for the style of whatever environment is played.
        stop: Strings after which the server should stop; it may leave them out of its text. By
            default those of the environment.
        tokenizer: Makes ids of what comes back; by default one a character, and lengths count so.
        chat: Ask for chat messages, tool output as a user's message; else for a plain continuation
            of the text, as base models need it.
        system: System message of a chat.
        rows: Requests at a time.
    """

    def __init__(
        self,
        server: Server,
        closes_call: Callable[[str], bool] = closes_tool_call,
        *,
        stop: Sequence[str] | None = None,
        tokenizer: Tokenizer | None = None,
        chat: bool = True,
        system: str = "",
        rows: int = 16,
    ) -> None:
        self.tokenizer: Any = tokenizer or TextTokenizer()
        self._server, self._closes_call = server, closes_call
        self._stop = list(FencedParser.stop if stop is None else stop)
        self._default_stop = stop is None and is_default(closes_call)
        self._chat, self._system = chat, system
        self._threads = ThreadPoolExecutor(rows, thread_name_prefix="server-policy")
        self._rows: dict[int, _Row] = {}
        self._asked: dict[Future[Completion], int] = {}

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless made with a rule of one's own."""
        if self._default_stop:
            self._closes_call, self._stop = StoppingCriterion(parser), list(parser.stop)

    def open(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        *,
        prefix_lengths: Sequence[int] | None = None,
        remaining_tokens: Sequence[int] | None = None,
    ) -> None:
        """Ask for the first turn of every row.

        Raises:
            ValueError: A chat cannot go on from inside a turn.
        """
        if self._chat and prefix_lengths and any(prefix_lengths):
            raise ValueError("a chat cannot go on inside a turn: use chat=False")
        self._how = how
        remaining_tokens = remaining_tokens or [how.max_tokens] * len(prompts)
        for row, (prompt, seed, remaining) in enumerate(
            zip(prompts, seeds, remaining_tokens, strict=True)
        ):
            text = decode(self.tokenizer, prompt)
            start = [{"role": "system", "content": self._system}] if self._system else []
            messages = [*start, {"role": "user", "content": text}]
            self._rows[row] = _Row(text, seed % 2**31, remaining, messages)
            self._ask(row)

    def _ask(self, row: int) -> None:
        self._asked[self._threads.submit(self._turn, row, self._rows[row])] = row

    def _turn(self, index: int, row: _Row) -> Completion:
        how = _settings(self._how) | {"stop": self._stop, "seed": row.seed}
        how["max_tokens"] = row.remaining
        if self._chat:
            text, reason = self._server.chat(row.messages, **how)
        else:
            text, reason = self._server.complete(row.prompt, **how)
        # Most servers leave the stop string out; a program without its fence or tag is no call.
        if reason == "stop" and not self._closes_call(text):
            endings = (text.rstrip("\n") + "\n```", *(text + stop for stop in self._stop))
            text = next(filter(self._closes_call, endings), text)
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        finish = FinishReason.STOP if self._closes_call(text) else FinishReason.EOS
        if reason == "length" or len(ids) >= row.remaining:
            ids, finish = ids[: row.remaining], FinishReason.LENGTH
        elif finish is FinishReason.EOS:
            ids = [*ids, self.tokenizer.eos_token_id]
        row.remaining -= len(ids)
        row.prompt += text
        row.messages.append({"role": "assistant", "content": text})
        return Completion(index, ids, [nan] * len(ids), finish)

    def advance(self) -> list[Completion]:
        """Turns that have come, at least one while any is asked for.

        Raises:
            ServerError: The server failed for good.
        """
        if not self._asked:
            return []
        done, _ = wait(self._asked, return_when=FIRST_COMPLETED)
        ended = [future.result() for future in done]
        for future in done:
            del self._asked[future]
        return sorted(ended, key=lambda completion: completion.row)

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Show the row what its tool gave and ask for its next turn."""
        state = self._rows[row]
        text = decode(self.tokenizer, ids)
        state.remaining -= len(ids)
        state.prompt += text
        state.messages.append({"role": "user", "content": text.strip()})
        self._ask(row)

    def release(self, row: int) -> None:
        """Forget the row."""
        del self._rows[row]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
