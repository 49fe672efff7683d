"""Any server with OpenAI's HTTP interface as a policy: vLLM, SGLang, llama.cpp, Ollama, a cloud.

Such a server takes and gives text. What it wrote is therefore tokenised here, so these trajectories
are for evaluation, for TIRGen and for imitation, not for policy gradients: their log-probabilities
are unknown (`nan`) and their ids need not be the server's own.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from math import nan
from typing import Any

from agents.core.policies.base import RowStart, Tokenizer
from agents.core.policies.openai_client import Answer, Server, ServerError
from agents.core.policies.stopping import StoppingCriterion, is_default
from agents.core.rollout.prompts import decode
from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser, closes_tool_call
from torl_env.parsing.fenced import FencedParser
from torl_env.wrappers.chat import opening

CHARACTERS = 4
"""About so many make a token, where a server's tokenizer is not at hand."""
_BITS = 21
"""Of a code point."""


class TextTokenizer:
    """One id for every four characters, where a server's tokenizer is not at hand; 0 ends a text.

    An id is the code points themselves, 21 bits each, so that no vocabulary is needed and ids on
    file can be read by anybody, while their number is about that of the server's tokens.
    """

    eos_token_id = 0

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Ids of four characters each, of fewer at the end.

        Example:
            >>> ids = TextTokenizer().encode("6·7 = 42")
            >>> len(ids), TextTokenizer().decode([*ids, 0])
            (2, '6·7 = 42')
        """
        pieces = (text[i : i + CHARACTERS] for i in range(0, len(text), CHARACTERS))
        return [sum(ord(c) << _BITS * i for i, c in enumerate(piece)) for piece in pieces]

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """The text of ids."""
        return "".join(_characters(i) for i in ids)

    def __len__(self) -> int:
        return 1 << _BITS * CHARACTERS


def _characters(i: int) -> str:
    text = ""
    while i:
        text += chr(i & (1 << _BITS) - 1)
        i >>= _BITS
    return text


def chat_writer(
    server: Server, sampling: Sampling, *, rows: int = 16
) -> Callable[[Sequence[str]], list[str]]:
    """Texts to texts, each asked as a user's message: a refiner for TIRGen, a judge."""
    how = _settings(sampling)

    def write(texts: Sequence[str]) -> list[str]:
        with ThreadPoolExecutor(rows) as threads:
            asked = [[{"role": "user", "content": text}] for text in texts]
            return list(threads.map(lambda messages: server.chat(messages, **how).text, asked))

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
    """Tokens left of the whole response."""
    messages: list[dict[str, str]] = field(default_factory=list)
    requests: int = 0

    def next_seed(self) -> int:
        """Of a request: with one for all, a row's turns would be drawn with the same numbers."""
        self.requests += 1
        return (self.seed + self.requests - 1) % 2**31

    def begun(self, text: str) -> list[dict[str, str]]:
        """The conversation with `text` behind the assistant's last message."""
        if self.messages[-1]["role"] != "assistant":
            return [*self.messages, {"role": "assistant", "content": text}]
        *before, last = self.messages
        return [*before, {"role": "assistant", "content": last["content"] + text}]

    def add(self, text: str) -> None:
        """Note what the assistant wrote."""
        self.prompt += text
        self.messages = self.begun(text)


def _certain(stops: Sequence[str]) -> list[str]:
    """Stop strings that end nothing but a call; OpenAI takes four at most.

    A closing fence ends any code block, of whatever language, and servers leave it out of their
    text: which block it was would be unknown. What stands behind a call is cut off here instead.

    Example:
        >>> _certain(FencedParser.stop)
        ['```output']
    """
    return [stop for stop in stops if stop.strip("` \n")][:4]


_MARKS = re.compile(r"[`>](?![`>])|\n")
"""Behind one of these a call may end."""


def _first_call(text: str, is_call: Callable[[str], bool]) -> str:
    """The text up to the end of its first call: a sampler of ours would have stopped there."""
    ends = (mark.end() for mark in _MARKS.finditer(text))
    return next((text[:end] for end in ends if is_call(text[:end])), text)


def _restored(answer: Answer, is_call: Callable[[str], bool], stops: Sequence[str]) -> str:
    """What the model wrote, with what the server has taken out of it: a call, or the stop string.

    Raises:
        ServerError: A tool call cannot be written in the style of the environment.
    """
    text = answer.text
    if answer.calls:
        name, arguments = answer.calls[-1]
        found = next(filter(is_call, (f"{text}\n{way}" for way in _calls(name, arguments))), None)
        if found is None:
            raise ServerError(
                f"the server gave a call of {name!r} apart from the text, which this environment's "
                "style of calls cannot hold: start it without its tool-call parser"
            )
        return found
    if answer.stopped_by and not is_call(text):
        return text + answer.stopped_by
    if answer.finish == "stop" and not is_call(text):
        return next(filter(is_call, (text + stop for stop in stops)), text)
    return text


def _calls(name: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """A call in every style that can hold it."""
    yield "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"
    if len(arguments) == 1:
        (body,) = arguments.values()
        yield f"```{name}\n{body}\n```"
        yield f"<{name}>\n{body}\n</{name}>"


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
        self._stop = _certain(FencedParser.stop) if stop is None else list(stop)
        self._continues = True
        self._default_stop = stop is None and is_default(closes_call)
        self._chat, self._system = chat, system
        self._threads = ThreadPoolExecutor(rows, thread_name_prefix="server-policy")
        self._rows: dict[int, _Row] = {}
        self._asked: dict[Future[Completion], int] = {}

    def set_parser(self, parser: Parser) -> None:
        """Stop where this parser sees a call, unless made with a rule of one's own."""
        if self._default_stop:
            self._closes_call, self._stop = StoppingCriterion(parser), _certain(parser.stop)

    def open(self, starts: Sequence[RowStart], how: Sampling) -> None:
        """Ask for the first turn of every row.

        Raises:
            ValueError: A chat cannot go on from inside a turn.
        """
        if self._chat and any(start.prefix_length for start in starts):
            raise ValueError("a chat cannot go on inside a turn: use chat=False")
        self._how = how
        for row, start in enumerate(starts):
            text = decode(self.tokenizer, start.ids)
            messages = opening(text, self._system)
            self._rows[row] = _Row(text, start.seed % 2**31, start.remaining(how), messages)
            self._ask(row)

    def _ask(self, row: int) -> None:
        self._asked[self._threads.submit(self._turn, row, self._rows[row])] = row

    def _turn(self, index: int, row: _Row) -> Completion:
        answer = self._asked_for(row, "")
        thought = f"<think>\n{answer.thought}\n</think>\n\n" if answer.thought else ""

        def is_call(text: str, before: str = "") -> bool:
            return self._closes_call(thought + before + text)

        text = _first_call(_restored(answer, is_call, self._stop), is_call)
        # What stopped the server may be quoted, and no call: then the turn is not over.
        while answer.stopped_by and not is_call(text) and self._left(row, thought + text) > 0:
            answer = self._asked_for(row, text)
            text = _first_call(
                text + _restored(answer, partial(is_call, before=text), self._stop), is_call
            )
        ids = self.tokenizer.encode(thought + text, add_special_tokens=False)
        finish = FinishReason.STOP if is_call(text) else FinishReason.EOS
        if finish is FinishReason.EOS and answer.finish == "length":
            ids, finish = ids[: row.remaining], FinishReason.LENGTH
        elif finish is FinishReason.EOS and len(ids) < row.remaining:
            ids = [*ids, self.tokenizer.eos_token_id]
        row.remaining -= len(ids)
        row.add(text)
        return Completion(index, ids, [nan] * len(ids), finish)

    def _asked_for(self, row: _Row, so_far: str) -> Answer:
        how = _settings(self._how) | {"stop": self._stop or None, "seed": row.next_seed()}
        how["max_tokens"] = self._left(row, so_far)
        if not self._chat:
            return self._server.complete(row.prompt + so_far, **how)
        if so_far or row.messages[-1]["role"] == "assistant":
            return self._went_on(row, so_far, how)
        return self._server.chat(row.messages, **how)

    def _went_on(self, row: _Row, so_far: str, how: Mapping[str, Any]) -> Answer:
        """More of an assistant's message: vLLM and SGLang go on in it, others are asked to."""
        begun = row.begun(so_far)
        if self._continues:
            inside = {"continue_final_message": True, "add_generation_prompt": False}
            try:
                return self._server.chat(begun, **how, **inside)
            except ServerError as error:
                if error.status not in (400, 422):
                    raise
                self._continues = False
        return self._server.chat([*begun, {"role": "user", "content": "Go on."}], **how)

    def _left(self, row: _Row, so_far: str) -> int:
        return row.remaining - len(self.tokenizer.encode(so_far, add_special_tokens=False))

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
        if text.strip():
            # Nothing came back where the turn goes on, as it does when the budget is used up.
            state.messages.append({"role": "user", "content": text.strip()})
        self._ask(row)

    def release(self, row: int) -> None:
        """Forget the row."""
        del self._rows[row]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
