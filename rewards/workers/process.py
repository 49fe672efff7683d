"""One child interpreter that answers one request at a time and may be killed at any moment.

Requests and answers are JSON in length-prefixed frames over pipes. The child is a fresh interpreter
and no fork, so it inherits no locks and no threads; it ends by itself when its parent does.
"""

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rewards.errors import WorkerError

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOT = "import sys; sys.path.insert(0, {root!r}); from rewards.workers.child import serve; serve()"
_HEADER = struct.Struct("!Q")


class Worker:
    """A child that runs one task.

    Args:
        task: `grade` or `sympy`.
        work: Calls and returns that a question to sympy may take. Beyond them the answer is `null`.
        memory_mb: Address space of the child; 0 for no limit.
    """

    def __init__(self, task: str, work: int = 0, memory_mb: int = 0) -> None:
        self.owner = os.getpid()
        limits = json.dumps({"task": task, "work": work, "memory_mb": memory_mb})
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT.format(root=_ROOT), limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # The order of sets is that of hashes, and how much work a question is that of sets.
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )

    def ask(self, request: Any, wall_seconds: float) -> Any:
        """The child's answer.

        Raises:
            WorkerError: There is none, or not within so many seconds.
        """
        try:
            assert self._process.stdin is not None
            self._write(json.dumps(request).encode())
            deadline = time.monotonic() + wall_seconds
            (size,) = _HEADER.unpack(self._read(_HEADER.size, deadline))
            return json.loads(self._read(size, deadline))
        except (OSError, ValueError) as error:
            self.close()
            raise WorkerError(f"the worker broke off: {error}") from None

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def _write(self, body: bytes) -> None:
        assert self._process.stdin is not None
        data = memoryview(_HEADER.pack(len(body)) + body)
        while data:
            data = data[os.write(self._process.stdin.fileno(), data) :]

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        pieces: list[bytes] = []
        while size:
            left = deadline - time.monotonic()
            if left <= 0 or not waiter.poll(left * 1000):
                raise TimeoutError("no answer in time")
            piece = os.read(descriptor, min(size, 1 << 20))
            if not piece:
                raise OSError("it is dead")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Kill the child; idempotent. In a forked process only the inherited pipes are closed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # not ours to wait for
