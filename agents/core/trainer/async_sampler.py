"""Sampling in a process of its own, which goes on while this one learns.

While step n is learned from, the groups of the next K steps are sampled with the weights there are;
new ones are taken over in mid-episode, between two ids. At most (K + 1) times the groups of a step
are begun and not learned from, and the oldest are learned from first, so no id is older than K
versions (AReaL's bound, arXiv 2505.24298, eq. 3):

    K = 1     learner   wait       | learn 1   | learn 2   | learn 3      version of its weights
              sampler   groups 1 2 | groups 3  | groups 4  |              before a step: step - 1
              versions  0 0 0 0 0 0 0 1 1 1 1 1 2 2 2 2 2

What the loss needs is there with each id: the log-probability under the weights that sampled it,
the denominator of what the id is weighed by (`token_weights.decouple`).
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import IO, Any

import cloudpickle
import torch

from agents.core.models.lora import plain_weights
from agents.core.rollout.stream import Stream
from agents.core.trainer.options import Late, TrainingError
from agents.core.trainer.sampler_process import (
    Alive,
    Begin,
    Ended,
    Failed,
    Layout,
    NewWeights,
    Setup,
    WeightBlock,
    size_of,
)
from agents.core.trainer.weight_sync import RolloutSampler
from agents.core.types import Trajectory
from torl_env.problems.types import Problem

_PROGRAM = "import sys; from agents.core.trainer.sampler_process import main; main(*sys.argv[1:])"
_SILENCE = 5.0
"""Seconds after the last message of a process that has ended."""
_LAST_WORDS = 20.0
"""Seconds that a process which was told to stop, or has closed its end, may take to end."""


class SamplerError(TrainingError):
    """The sampler's process has ended or hangs."""


class AsyncSampler(RolloutSampler):
    """Samples in another process; evaluations are made in this one, with whole weights.

    Args:
        own: Samples in this process, for evaluations: one version from the first to the last id.
        make: Makes what samples, in the other process; sent there by cloudpickle.
        layout: Of the weights it takes over, see `layout_of`.
        threads: Of torch there; 0 is its own choice.
        patience: Seconds without progress after which the process hangs.

    Raises:
        TrainingError: `make` cannot be sent.
    """

    def __init__(
        self,
        own: Any,
        make: Callable[[], Stream],
        layout: Layout,
        *,
        threads: int = 0,
        patience: float = 1200.0,
    ) -> None:
        self.own, self._layout, self._patience = own, layout, patience
        self._setup = sendable(Setup(make, layout, threads))
        self._news = threading.Condition()
        self._open: dict[int, Problem] = {}
        """Groups that have begun and are not learned from, in the order in which they began."""
        self._ended: dict[int, Sequence[Trajectory]] = {}
        """Those of them that have ended, in that order."""
        self._begun = 0
        self._published = self._took = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def rollout(self) -> Any:  # type: ignore[override]
        """That of this process."""
        return self.own.rollout

    def sync(self, model: Any) -> None:
        """Take over weights for an evaluation."""
        self.own.sync(model)

    @property
    def pid(self) -> int | None:
        """Of the process, while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def in_flight(self) -> list[Problem]:
        """Of each group that has begun and is not learned from, in the order of their beginning."""
        return list(self._open.values())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within this block there is the process."""
        ours, theirs = socket.socketpair()
        with _nameless(size_of(self._layout)) as file, theirs:
            numbers = (theirs.fileno(), file.fileno())
            self._process = subprocess.Popen(
                # Not `-m`: messages would be of classes of `__main__`, which this process lacks.
                [sys.executable, "-c", _PROGRAM, *map(str, numbers)],
                pass_fds=numbers,
                # Ctrl-C is for the learner, which ends its step and then this process.
                start_new_session=True,
                # Threads that spin while they wait would take the learner's cores.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            )
            self._weights = WeightBlock(file.fileno(), self._layout)
        self._socket, self._pipe = ours.dup(), Connection(ours.detach())
        self._heard = time.monotonic()
        self._over, self._failed, self._doing = False, "", "starting"
        self._beats, self._moved = -1, time.monotonic()
        self._idle = self._idle_before = self._waited = 0.0
        self._reader = threading.Thread(target=self._read, name="sampler", daemon=True)
        self._reader.start()
        try:
            self._send(sys.path)
            with suppress(OSError):
                self._pipe.send_bytes(self._setup)
            yield
        finally:
            self._stop()

    def publish(self, model: Any, version: int) -> None:
        """Give the process the weights of `model`; it goes on with them between two ids.

        Raises:
            SamplerError: The process has ended or hangs.
        """
        self._wait(lambda: self._took >= self._published)
        with torch.no_grad():
            for (_, mine), theirs in zip(self._weights, plain_weights(model), strict=True):
                mine.copy_(theirs)
        self._published = version
        self._send(NewWeights(version))

    def begin(self, problem: Problem, group_size: int, seed: int) -> None:
        """Let the process sample a group."""
        self._begun += 1
        self._open[self._begun] = problem
        self._send(Begin(self._begun, problem, group_size, seed))

    def take(self, count: int, late: Late) -> list[Sequence[Trajectory]]:
        """Groups to learn from, in the order in which they began.

        Args:
            count: How many.
            late: `wait`: those that began first. `mask`: those that ended first.

        Raises:
            SamplerError: The process has ended or hangs.
        """
        with self._news:
            first = list(self._open)[:count]

        def found() -> list[int]:
            if late == "mask":
                return list(self._ended)[:count]
            return [key for key in first if key in self._ended]

        self._wait(lambda: len(found()) >= count)
        with self._news:
            keys = sorted(found())
            for key in keys:
                del self._open[key]
            return [self._ended.pop(key) for key in keys]

    def waits(self) -> dict[str, float]:
        """Seconds that learner and sampler have waited for each other since the last call."""
        with self._news:
            waits = {"learner_wait": self._waited, "sampler_wait": self._idle - self._idle_before}
            self._waited, self._idle_before = 0.0, self._idle
        return waits

    def _send(self, message: Any) -> None:
        # Of a process that is gone `_wait` tells, with its last words.
        with suppress(OSError):
            self._pipe.send(message)

    def _read(self) -> None:
        try:
            while True:
                message = self._pipe.recv()
                with self._news:
                    self._heard = time.monotonic()
                    self._note(message)
                    self._news.notify_all()
        except (EOFError, OSError):
            # It has ended, or this end was closed.
            pass
        finally:
            with self._news:
                self._over = True
                self._news.notify_all()

    def _note(self, message: NewWeights | Ended | Alive | Failed) -> None:
        if isinstance(message, NewWeights):
            self._took = message.version
        elif isinstance(message, Ended):
            self._ended[message.key] = message.rows
        elif isinstance(message, Failed):
            self._failed = message.error
        else:
            if message.beats != self._beats:
                self._beats, self._moved = message.beats, time.monotonic()
            self._doing, self._idle = message.doing, message.idle

    def _wait(self, ready: Callable[[], bool]) -> None:
        start = time.monotonic()
        with self._news:
            while not ready():
                if self._over or self._gone():
                    raise SamplerError(self._obituary())
                silent = time.monotonic() - max(self._moved, start)
                if silent > self._patience:
                    raise SamplerError(self._hung(silent))
                self._news.wait(min(1.0, self._patience / 4))
            self._waited += time.monotonic() - start

    def _gone(self) -> bool:
        """Whether the process has ended, though something it has started keeps its end open."""
        assert self._process is not None
        return self._process.poll() is not None and time.monotonic() - self._heard > _SILENCE

    def _obituary(self) -> str:
        process = self._process
        assert process is not None
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS)
        code = process.returncode
        if self._failed:
            why = f"failed: {self._failed}"
        elif code is not None and code < 0:
            kind = signal.Signals(-code).name
            why = f"was killed by {kind}" + ", perhaps for want of memory" * (kind == "SIGKILL")
        else:
            why = f"ended with code {code}"
        return (
            f"the sampler's process (pid {process.pid}) {why}; it was last {self._doing}, and "
            f"{len(self._open) - len(self._ended)} groups were in flight. --resume goes on from "
            "the last checkpoint"
        )

    def _hung(self, silent: float) -> str:
        assert self._process is not None
        with suppress(ProcessLookupError):
            # It writes its stacks to the standard error that it shares with this process.
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(1)
        return (
            f"the sampler's process (pid {self._process.pid}) hangs: no progress for "
            f"{silent / 60:.1f} minutes, last {self._doing}; its stack stands above. --resume goes "
            "on from the last checkpoint"
        )

    def _stop(self) -> None:
        assert self._process is not None
        self._send(None)
        try:
            # Not longer than it takes to close sandboxes; what it samples nobody wants any more.
            self._process.wait(_LAST_WORDS if not self._over else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Closing alone would not wake the reader where a child of the process has its end open.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._pipe.close()
        self._socket.close()
        self._open, self._ended, self._process = {}, {}, None
        self._published = self._took = -1


def layout_of(model: Any) -> Layout:
    """Names, shapes and types of a model's weights: of the copy that samples, in its own type."""
    return [(name, tuple(w.shape), w.dtype) for name, w in model.named_parameters()]


def sendable(value: Any) -> bytes:
    """`value` as bytes for another process.

    Raises:
        TrainingError: It holds something that lives in this process.
    """
    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise TrainingError(
            f"--staleness: the process that samples is made anew, and what it is made of cannot be "
            f"sent there ({type(error).__name__}: {error}). Name sandbox, tools, reward and grader "
            "(local, fusion:URL, module:object), or use --staleness 0"
        ) from error
    return data


def staleness(rows: Sequence[Trajectory], version: int, oldest: int) -> dict[str, float]:
    """For the metrics: how many versions older than the learner's the sampled ids are.

    Args:
        rows: That are learned from.
        version: Of the learner.
        oldest: That is not too old.
    """
    ages = [
        version - v
        for t in rows
        for v, sampled in zip(t.policy_versions, t.loss_mask, strict=False)
        if sampled
    ]
    return {
        "staleness_mean": sum(ages) / max(1, len(ages)),
        "staleness_max": float(max(ages, default=0)),
        "dropped_stale": sum(age > version - oldest for age in ages) / max(1, len(ages)),
    }


def _nameless(size: int) -> IO[bytes]:
    """A file in memory, where the system has such, or an unlinked one."""
    file: IO[bytes]
    if hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("torl-weights"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    os.ftruncate(file.fileno(), size)
    return file
