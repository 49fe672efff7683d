"""vLLM's asynchronous engine as a policy: ids in, ids and log-probabilities out.

Each turn is one request whose prompt is all ids so far, so that prefix caching stands in for a
cache kept across the tool. Written against vLLM 0.10 and later (`vllm.v1.engine.async_llm`). The
class takes any engine with `generate` of that kind, which is how it is tested here; with vLLM
itself it has not been run.
"""

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from agents.core.types import Completion, FinishReason, Sampling
from torl_env import Parser
from torl_env.protocol import FencedParser

MakeParams = Callable[[Sampling, int, int, Sequence[str]], Any]
"""(how, tokens left, seed, stop strings) -> the engine's sampling parameters."""


def make_engine(model: str, **options: Any) -> Any:
    """An `AsyncLLM` with the settings that training on its log-probabilities needs.

    Args:
        model: What vLLM is asked to load.
        **options: More fields of vLLM's `AsyncEngineArgs`.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    # Log-probabilities after temperature and nucleus are those of the distribution sampled from.
    settings = {"enable_prefix_caching": True, "logprobs_mode": "processed_logprobs", **options}
    return AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **settings))


def make_params(how: Sampling, room: int, seed: int, stop: Sequence[str]) -> Any:
    """VLLM's `SamplingParams`; the stop string stays in the text."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=how.temperature,
        top_p=how.top_p,
        max_tokens=room,
        seed=seed % 2**63,
        stop=list(stop),
        include_stop_str_in_output=True,
        logprobs=0,
    )


@dataclass(slots=True)
class _Row:
    ids: list[int]
    seed: int
    room: int
    turn: int = 0


class VLLMPolicy:
    """Samples with an asynchronous engine; rows never wait for each other.

    Args:
        engine: An `AsyncLLM`.
        tokenizer: Its tokenizer.
        stop: Strings after which the engine stops; by default those of the environment played.
        params: Makes the engine's sampling parameters.
    """

    def __init__(
        self,
        engine: Any,
        tokenizer: Any,
        *,
        stop: Sequence[str] | None = None,
        params: MakeParams = make_params,
    ) -> None:
        self.tokenizer = tokenizer
        self._engine, self._params, self._follows = engine, params, stop is None
        self._stop = FencedParser.stop if stop is None else tuple(stop)
        self._rows: dict[int, _Row] = {}
        self._ended: queue.SimpleQueue[Completion | BaseException] = queue.SimpleQueue()
        self._asked = 0
        self._names = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def follow(self, parser: Parser) -> None:
        """Stop where this parser says, unless made with strings of its own."""
        if self._follows:
            self._stop = parser.stop

    def open(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
        *,
        heads: Sequence[int] | None = None,
        rooms: Sequence[int] | None = None,
    ) -> None:
        """Ask for the first turn of every row; stop strings work the same inside a turn."""
        if self._rows:
            raise RuntimeError(f"{len(self._rows)} rows of the last batch were never released")
        self._how = how
        rooms = rooms or [how.max_tokens] * len(prompts)
        for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            self._rows[row] = _Row(list(prompt), seed, rooms[row])
            self._ask(row)

    def _ask(self, row: int) -> None:
        self._asked += 1
        asked = asyncio.run_coroutine_threadsafe(self._turn(row, self._rows[row]), self._loop)
        asked.add_done_callback(self._note)

    def _note(self, asked: "Future[Completion]") -> None:
        self._ended.put(asked.exception() or asked.result())

    async def _turn(self, index: int, row: _Row) -> Completion:
        params = self._params(self._how, row.room, row.seed + row.turn, self._stop)
        name, told = str(next(self._names)), None
        async for grown in self._engine.generate({"prompt_token_ids": row.ids}, params, name):
            told = grown.outputs[0]
        if told is None:
            raise RuntimeError(f"the engine gave nothing for request {name}")
        ids = list(told.token_ids)
        logprobs = [float(at[i].logprob) for i, at in zip(ids, told.logprobs, strict=True)]
        return Completion(index, ids, logprobs, self._finish(ids, told))

    def _finish(self, ids: Sequence[int], told: Any) -> FinishReason:
        if told.finish_reason == "length":
            return FinishReason.LENGTH
        if ids and ids[-1] == self.tokenizer.eos_token_id:
            return FinishReason.EOS
        # A stop string may also stand where no call ends; the environment then says to go on.
        return FinishReason.STOP

    def advance(self) -> list[Completion]:
        """Turns that have come, at least one while any is asked for.

        Raises:
            RuntimeError: The engine failed; its own error is passed on.
        """
        ended: list[Completion] = []
        while self._asked and (not ended or not self._ended.empty()):
            told = self._ended.get()
            self._asked -= 1
            if isinstance(told, BaseException):
                raise told
            row = self._rows[told.row]
            row.ids += told.ids
            row.room -= len(told.ids)
            ended.append(told)
        return sorted(ended, key=lambda completion: completion.row)

    def resume(self, row: int, ids: Sequence[int]) -> None:
        """Append tool output and ask for the row's next turn."""
        state = self._rows[row]
        if len(ids) >= state.room:
            raise ValueError(f"{len(ids)} ids do not fit into the {state.room} left of row {row}")
        state.ids += ids
        state.room -= len(ids)
        state.turn += 1
        self._ask(row)

    def release(self, row: int) -> None:
        """Forget the row."""
        del self._rows[row]

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Take over the weights of a model in training, `model.named_parameters()`."""

        async def load() -> None:
            pairs = [(name, weight.data) for name, weight in weights]
            await self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": pairs})
            await self._engine.reset_prefix_cache()

        asyncio.run_coroutine_threadsafe(load(), self._loop).result()

    def close(self) -> None:
        """End the thread that talks to the engine."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
