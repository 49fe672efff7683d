"""What runs programs in the benchmark of the sandbox: ours, and the baselines as installed."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from torl_env.sandbox import Execution, Limits, LocalSandbox
from torl_env.sandbox.backends.fusion_client import FusionSandbox

Submit = Callable[[str], Future[str]]
"""Starts a program; the future gives its standard output."""

Baseline = Callable[[], contextlib.AbstractContextManager[Submit]]

OURS: Final = "torl local"
"""Name of our sandbox beside them."""

MOST_AT_ONCE: Final = 64
_LIMITS: Final = Limits(cpu_seconds=1.0, wall_seconds=60.0)


@contextlib.contextmanager
def ours() -> Iterator[Submit]:
    """The local sandbox, warmed; at the priority of the baselines, which the default is below."""
    with LocalSandbox(_LIMITS, nice=0) as sandbox:
        sandbox.warm()
        yield lambda code: text_of(sandbox.submit(code))


def text_of(call: "Future[Execution]") -> Future[str]:
    """The standard output of an execution to come."""
    text: Future[str] = Future()

    def done(ended: "Future[Execution]") -> None:
        error = ended.exception()
        if error is not None:
            text.set_exception(error)
        else:
            text.set_result(ended.result().stdout)

    call.add_done_callback(done)
    return text


@contextlib.contextmanager
def command(*words: str) -> Iterator[Submit]:
    """A process for each program: `words`, then the program; one second of wall time."""
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:

        def run(code: str) -> str:
            process = subprocess.Popen(
                [*words, code],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            try:
                return process.communicate(timeout=1.0 if "while True" in code else 60.0)[0]
            except subprocess.TimeoutExpired:
                return ""
            finally:
                # Bubblewrap killed alone now and then leaves its program behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

        yield lambda code: pool.submit(run, code)


@contextlib.contextmanager
def fusion(url: str) -> Iterator[Submit]:
    """A Sandbox Fusion server."""
    loop = replace(_LIMITS, wall_seconds=1.0)
    with FusionSandbox(url, _LIMITS, concurrency=MOST_AT_ONCE, patience=300) as sandbox:

        def submit(code: str) -> Future[str]:
            return text_of(sandbox.submit(code, loop if "while True" in code else None))

        yield submit


@contextlib.contextmanager
def peer(*words: str) -> Iterator[Submit]:
    """A baseline's own interface, served by `peers/sandbox_peer.py` in its interpreter."""
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pending: dict[int, Future[str]] = {}
    numbers = itertools.count()

    def read() -> None:
        for line in process.stdout or ():
            number, text = json.loads(line)
            pending.pop(number).set_result(text)
        for future in list(pending.values()):
            future.set_exception(RuntimeError("the peer has ended"))

    def submit(code: str) -> Future[str]:
        number, future = next(numbers), Future[str]()
        pending[number] = future
        if process.stdin is None or process.poll() is not None:
            raise RuntimeError(f"{words[0]} has ended with exit code {process.returncode}")
        seconds = 1.0 if "while True" in code else 60.0
        process.stdin.write(json.dumps([number, code, seconds]) + "\n")
        process.stdin.flush()
        return future

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield submit
    finally:
        process.terminate()
        process.wait()
        reader.join(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def baselines(
    fusion_url: str | None = None, gem: str | None = None, sandlock: str | None = None
) -> dict[str, Baseline]:
    """What can be measured here, by name, ours first.

    Args:
        fusion_url: Of a Sandbox Fusion server.
        gem: An interpreter that has gem-llm.
        sandlock: An interpreter that has sandlock.
    """
    python = sys.executable
    driver = str(Path(__file__).parent / "peers" / "sandbox_peer.py")
    found: dict[str, Baseline] = {OURS: ours, "python -c": lambda: command(python, "-c")}
    if shutil.which("bwrap"):
        box = ("bwrap", "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent")
        found["bubblewrap"] = lambda: command(*box, python, "-c")
    if sandlock:
        places = (sys.base_prefix, sys.prefix)
        found["sandlock"] = lambda: peer(sandlock, driver, "sandlock", python, *places)
    if gem:
        found["GEM"] = lambda: peer(gem, driver, "gem")
    if fusion_url:
        found["Sandbox Fusion"] = lambda: fusion(fusion_url)
    return found
