"""Who runs programs in the benchmark of the sandbox: ours, its rivals as installed, the floor."""

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from torl_env.sandbox import Execution, Limits, LocalSandbox
from torl_env.sandbox.backends.fusion_client import FusionSandbox

Submit = Callable[[str], Future[str]]
"""Starts a program; the future gives its standard output."""

Contender = Callable[[], contextlib.AbstractContextManager[Submit]]

MOST_AT_ONCE: Final = 64
_LIMITS: Final = Limits(cpu_seconds=1.0, wall_seconds=60.0)


@contextlib.contextmanager
def ours() -> Iterator[Submit]:
    """The local sandbox, warmed; at the priority of its rivals, which the default is below."""
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
    limits = Limits(cpu_seconds=1.0, wall_seconds=60.0)
    loop = replace(limits, wall_seconds=1.0)
    with FusionSandbox(url, limits, concurrency=MOST_AT_ONCE, patience=300) as sandbox:

        def submit(code: str) -> Future[str]:
            return text_of(sandbox.submit(code, loop if "while True" in code else None))

        yield submit


@contextlib.contextmanager
def peer(*words: str) -> Iterator[Submit]:
    """A rival's own interface, served by `peers/sandbox_peer.py` in the rival's interpreter."""
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    flying: dict[int, Future[str]] = {}
    numbers = itertools.count()

    def read() -> None:
        for line in process.stdout or ():
            number, text = json.loads(line)
            flying.pop(number).set_result(text)
        for future in list(flying.values()):
            future.set_exception(RuntimeError("the peer has ended"))

    def submit(code: str) -> Future[str]:
        number, future = next(numbers), Future[str]()
        flying[number] = future
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


@dataclass(frozen=True, slots=True)
class Installed:
    """Where rivals are that this environment does not have."""

    url: str | None = None
    """Of a Sandbox Fusion server."""
    gem: str | None = None
    """An interpreter that has gem-llm."""
    sandlock: str | None = None
    """An interpreter that has sandlock."""


def contenders(installed: Installed) -> dict[str, Contender]:
    """What can be measured here, by name."""
    python = sys.executable
    driver = str(Path(__file__).parent / "peers" / "sandbox_peer.py")
    found: dict[str, Contender] = {
        "torl local": ours,
        "python -c": lambda: command(python, "-c"),
    }
    if shutil.which("bwrap"):
        box = ("bwrap", "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent")
        found["bubblewrap"] = lambda: command(*box, python, "-c")
    if sandlock := installed.sandlock:
        places = (sys.base_prefix, sys.prefix)
        found["sandlock"] = lambda: peer(sandlock, driver, "sandlock", python, *places)
    if gem := installed.gem:
        found["GEM"] = lambda: peer(gem, driver, "gem")
    if url := installed.url:
        found["Sandbox Fusion"] = lambda: fusion(url)
    return found
