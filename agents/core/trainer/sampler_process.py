"""The process that samples while another one learns; `async_sampler` starts it.

It is told which groups to sample and when there are new weights, and tells which groups have ended.
Both ends close with their processes, so that neither outlives the other or waits for it for ever.
"""

import faulthandler
import mmap
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import torch
from torch import Tensor

from agents.core.rollout.stream import Stream
from agents.core.run.heartbeat import pulse
from agents.core.types import Trajectory
from torl_env.problems.types import Problem

Layout = Sequence[tuple[str, tuple[int, ...], torch.dtype]]
"""Name, shape and type of each weight, in the order of the model."""
INTERVAL = 1.0
"""Seconds between two signs of life."""
_TOOLS = 0.005
"""Seconds between two looks at tools while no row writes."""
_ALIGNED = 64
"""Bytes to which weights are aligned."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the process needs to begin."""

    make: Callable[[], Stream]
    """Makes what samples; it loads the model."""
    layout: Layout
    threads: int
    """Of torch; 0 is its own choice."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Sample a group."""

    key: int
    problem: Problem
    group_size: int
    seed: int


@dataclass(frozen=True, slots=True)
class NewWeights:
    """Weights of this version are in the shared memory; sent back when they are in use.

    Until then the memory stays as it is.
    """

    version: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A group."""

    key: int
    rows: Sequence[Trajectory]


@dataclass(frozen=True, slots=True)
class Alive:
    """A sign of life."""

    beats: int
    doing: str
    idle: float
    """Seconds for which there was no group to sample, since the start."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last message of a process that ends with an error."""

    error: str


class WeightBlock:
    """Weights in memory that two processes share.

    It is a file without a name: a killed process leaves nothing behind, and the size of `/dev/shm`,
    64 MB in most containers, is no limit.

    Args:
        file: Descriptor of the file, as long as `size_of(layout)` says.
        layout: What is in it.
    """

    def __init__(self, file: int, layout: Layout) -> None:
        self._layout = layout
        self._memory = mmap.mmap(file, size_of(layout))

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Name and tensor of each weight; writing to a tensor writes to the block."""
        start = 0
        for name, shape, dtype in self._layout:
            count = prod(shape)
            flat = torch.frombuffer(self._memory, dtype=dtype, count=count, offset=start)
            yield name, flat.view(shape)
            start += _bytes_of(shape, dtype)


def size_of(layout: Layout) -> int:
    """Bytes of a block.

    Example:
        >>> size_of([("a", (3,), torch.float32), ("b", (40, 2), torch.bfloat16)])
        256
    """
    return max(_ALIGNED, sum(_bytes_of(shape, dtype) for _, shape, dtype in layout))


def _bytes_of(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return -(-prod(shape) * dtype.itemsize // _ALIGNED) * _ALIGNED


class Process:
    """The loop.

    Args:
        connection: To the learner.
        stream: Samples.
        weights: What the learner writes.
    """

    def __init__(self, connection: Connection, stream: Stream, weights: WeightBlock) -> None:
        self._connection, self._stream, self._weights = connection, stream, weights
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle, self._stopped = 0.0, False
        # A learner in the middle of a step reads when it can: a full pipe must not stop sampling.
        threading.Thread(target=self._post, name="outbox", daemon=True).start()
        threading.Thread(target=self._live, name="alive", daemon=True).start()

    def run(self) -> None:
        """Until the learner says stop, or is gone."""
        try:
            while not self._stopped:
                self._turn()
        except EOFError:
            return
        finally:
            self._stream.close()

    def _turn(self) -> None:
        if not self._stream.live:
            start = time.monotonic()
            self._connection.poll(INTERVAL)
            self._idle += time.monotonic() - start
        while not self._stopped and self._connection.poll(0):
            self._obey(self._connection.recv())
        if not self._stream.live:
            return
        moved, ended = self._stream.step()
        for key, rows in ended:
            self._outbox.put(Ended(key, rows))
        if not moved:
            self._connection.poll(_TOOLS)

    def _obey(self, message: Begin | NewWeights | None) -> None:
        if isinstance(message, Begin):
            self._stream.begin(message.key, message.problem, message.group_size, message.seed)
        elif isinstance(message, NewWeights):
            self._stream.renew(self._weights, message.version)
            self._outbox.put(NewWeights(message.version))
        else:
            self._stopped = True

    def _post(self) -> None:
        while True:
            try:
                self._connection.send(self._outbox.get())
            except OSError:
                # The learner is gone; the loop sees the end of its messages.
                return

    def _live(self) -> None:
        while True:
            self._outbox.put(Alive(*pulse(), self._idle))
            time.sleep(INTERVAL)


def main(connection: str, weights: str) -> None:
    """Run with open descriptors of both, as numbers."""
    # `kill -USR1` shows where it stands, as the learner does before it gives a hung one up.
    faulthandler.register(signal.SIGUSR1)
    pipe = Connection(int(connection))
    try:
        sys.path[:] = pipe.recv()
        setup: Setup = cloudpickle.loads(pipe.recv_bytes())
        if setup.threads:
            torch.set_num_threads(setup.threads)
        Process(pipe, setup.make(), WeightBlock(int(weights), setup.layout)).run()
    except EOFError:
        # The learner has ended before it asked for anything.
        return
    except Exception as error:  # noqa: BLE001 - it is passed on to the learner
        traceback.print_exc()
        pipe.send(Failed(f"{type(error).__name__}: {error}"))
        # Threads of tools and sandboxes may not be in a state to be waited for.
        os._exit(1)
