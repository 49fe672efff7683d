"""What runs in a child interpreter: read a request, do the task, write the answer, and again."""

import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct("!Q")


def serve() -> None:
    """Answer requests from standard input until it closes."""
    settings = json.loads(sys.argv[1])
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if settings["memory_mb"]:
        size = settings["memory_mb"] << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task = _task(settings["task"])
    while True:
        header = _read(_HEADER.size)
        if not header:
            return
        request = json.loads(_read(*_HEADER.unpack(header)))
        body = json.dumps(_bounded(task, request, settings["cpu_seconds"])).encode()
        _write(answers, _HEADER.pack(len(body)) + body)


def _task(name: str) -> Callable[[Any], Any]:
    if name == "grade":
        from rewards.batch import grade_chunk

        return grade_chunk
    from rewards.workers.algebra import decide

    _import_calculus()
    return decide


def _import_calculus() -> None:
    """Let sympy import what it imports on first use, before any question's time is counted.

    A question that is broken off in such an import leaves half a module behind, and the next ones
    fail on it.
    """
    import sympy

    k, x = sympy.Symbol("k"), sympy.Symbol("x")
    sympy.Sum(2**-k, (k, 0, sympy.oo)).doit()
    sympy.Product(1 + 1 / k, (k, 1, 3)).doit()
    sympy.integrate(x * sympy.exp(-x), (x, 0, sympy.oo))
    sympy.limit(sympy.sin(x) / x, x, 0)


class _OutOfTimeError(BaseException):
    """A question has used its CPU time; no `except Exception` of a library stops it."""


def _bounded(task: Callable[[Any], Any], request: Any, cpu_seconds: float) -> Any:
    """The answer of the task, `None` once it has used its CPU seconds."""
    if not cpu_seconds:
        return task(request)

    def stop(*_: object) -> None:
        raise _OutOfTimeError

    signal.signal(signal.SIGVTALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
        try:
            return task(request)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _OutOfTimeError:
        return None


def _read(size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = os.read(0, min(size, 1 << 20))
        if not piece:
            return b""
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
