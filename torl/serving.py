"""Servers in the foreground: what `torl serve` and `torl sandbox serve` have in common."""

import contextlib
import signal
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torl_env.http_server import HttpServer


def prepare_to_serve() -> None:
    """Check the packages, and make a stop by `kill` as orderly as one from the keyboard.

    Raises:
        ModuleNotFoundError: The extra `serve` is not installed.
    """
    if find_spec("uvicorn") is None:
        raise ModuleNotFoundError("serving needs more packages: pip install 'torl-gym[serve]'")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def serve(server: "HttpServer", words: str, prepare: Callable[[], object] = int) -> None:
    """Run until interrupted.

    Args:
        server: Listens already.
        words: To print when it answers.
        prepare: What is left to do before.
    """
    try:
        with contextlib.suppress(KeyboardInterrupt):
            prepare()
            server.run(lambda: print(words, flush=True))
    finally:
        server.stop()
