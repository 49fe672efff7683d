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
    task = _task(settings["task"], settings["work"])
    while True:
        header = _read(_HEADER.size)
        if not header:
            return
        request = json.loads(_read(*_HEADER.unpack(header)))
        body = json.dumps(task(request)).encode()
        _write(answers, _HEADER.pack(len(body)) + body)


def _task(name: str, work: int) -> Callable[[Any], Any]:
    if name == "grade":
        from rewards.batch import grade_chunk

        return grade_chunk
    from rewards.workers.algebra import decide

    _import_calculus()
    return lambda question: in_a_fork(decide, question, work)


def _import_calculus() -> None:
    """Let sympy import what it imports on first use, before any question's work is counted."""
    import sympy

    k, x = sympy.Symbol("k"), sympy.Symbol("x")
    sympy.Sum(2**-k, (k, 0, sympy.oo)).doit()
    sympy.Product(1 + 1 / k, (k, 1, 3)).doit()
    sympy.integrate(x * sympy.exp(-x), (x, 0, sympy.oo))
    sympy.limit(sympy.sin(x) / x, x, 0)


_ANSWERS = (True, False, None)
"""A fork answers by the index as its exit code, which cannot be half written when work runs out."""
_HUNG_SECONDS = 20
"""CPU time after which a question hangs in C code, where no calls are counted."""


def in_a_fork(decide: Callable[[Any], bool | None], question: Any, work: int) -> bool | None:
    """The answer; `None` where it takes more than `work` calls and returns of functions.

    Every question begins with the same state: one that is broken off leaves nothing half done to
    the next, and no verdict depends on what was asked before, or on how fast the machine is.

    Raises:
        OSError: The fork ended in another way, as when the kernel needed its memory.
    """
    fork = os.fork()
    if not fork:
        left = work

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                os._exit(_ANSWERS.index(None))

        resource.setrlimit(resource.RLIMIT_CPU, (_HUNG_SECONDS, _HUNG_SECONDS + 1))
        code = len(_ANSWERS)
        try:
            sys.setprofile(count)
            code = _ANSWERS.index(decide(question))
        finally:
            os._exit(code)
    _, status = os.waitpid(fork, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return None
    if (code := os.waitstatus_to_exitcode(status)) not in range(len(_ANSWERS)):
        raise OSError(f"the question's process ended with {code}")
    return _ANSWERS[code]


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
