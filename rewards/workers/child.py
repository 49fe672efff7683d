"""What runs in a child interpreter: read a request, do the task, write the answer, and again."""

import json
import os
import resource
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
        if settings["cpu_seconds"]:
            _allow(settings["cpu_seconds"])
        body = json.dumps(task(request)).encode()
        _write(answers, _HEADER.pack(len(body)) + body)


def _task(name: str) -> Callable[[Any], Any]:
    if name == "grade":
        from rewards.batch import grade_chunk

        return grade_chunk
    from rewards.workers.algebra import decide

    return decide


def _allow(seconds: int) -> None:
    """Grant so many CPU seconds from now on; the kernel kills at the end of them."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds + 1, hard))


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
