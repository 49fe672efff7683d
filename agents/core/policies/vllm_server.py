"""A server started by `vllm serve` as an engine: unlike others it takes ids and gives ids."""

import json
import queue
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agents.core.policies.openai_client import Server, ServerError, served_models
from agents.core.policies.vllm import Answer, Request
from agents.core.policies.vllm_engines import arrived, on_disk, settings_of
from agents.core.policies.vllm_worker import EXTENSION
from torl_env.http_client import HttpClient, Retry, UnreachableError


class ServedEngine:
    """A vLLM server.

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
        self._window = vllm_models(server.url).get(server.model)

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
        body = {**settings_of(request), "prompt": list(request.ids), "return_token_ids": True}
        reply = self._server.post("completions", body)
        try:
            choice = reply["choices"][0]
            ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
            full = choice["finish_reason"] == "length"
        except (KeyError, IndexError, TypeError) as error:
            raise ServerError(
                f"{self._server.url} gave no ids or no log-probabilities: expected one started by "
                f"`vllm serve` (0.31 or later), got {str(reply)[:200]}"
            ) from error
        return Answer(request.name, ids, [float(x) for x in logprobs], full)

    def answers(self) -> list[Answer]:
        """All that have come, at least one.

        Raises:
            ServerError: The server failed for good.
        """
        return arrived(self._ended)

    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> None:
        """Through a file, by a method that `vllm_worker` adds to the server's workers.

        Raises:
            ServerError: The server was not started as it must be.
        """
        root = self._server.url.rstrip("/").removesuffix("/v1")
        with on_disk(weights, self._shared) as folder:
            order = {"method": "take_weights", "kwargs": {"weights_path": str(folder)}}
            _post(f"{root}/collective_rpc", order, self._server.timeout)
        _post(f"{root}/reset_prefix_cache", {}, self._server.timeout)

    def close(self) -> None:
        """End the threads; the server stays."""
        self._threads.shutdown(cancel_futures=True)


def vllm_models(url: str) -> dict[str, int | None]:
    """The models of a server and their windows.

    Args:
        url: Up to and with `/v1`.

    Raises:
        ServerError: It does not answer.
    """
    try:
        return served_models(url)
    except ServerError as error:
        raise ServerError(
            f"{error}: start one with `vllm serve MODEL --logprobs-mode processed_logprobs`, or "
            "mend the address"
        ) from error


def _post(place: str, body: dict[str, Any], timeout: float) -> None:
    # Once: whether a server that did not answer has taken the weights is not known.
    client = HttpClient(place, retry=Retry(attempts=0))
    try:
        said = client.ask("POST", "", json.dumps(body).encode(), timeout=timeout)
        problem = "" if said.status == 200 else said.words
    except (UnreachableError, TimeoutError) as error:
        problem = str(error)
    finally:
        client.close()
    if problem:
        raise ServerError(
            f"{place} answered {problem}: a server that takes weights is started by "
            f"`VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --worker-extension-cls {EXTENSION}`, with "
            "torl-gym installed beside vLLM"
        )
