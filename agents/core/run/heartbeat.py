"""A process that hangs or dies ends the others of its training, and is named.

Processes wait for each other at every step, so one that hangs would hold up all, silently, for as
long as the process group allows. Each therefore counts what it gets done (`beat`) and writes the
count into a store that all of them read; a thread of each looks for counts that stand still.

    rank 0   sampling 311   sampling 312   waiting        waiting        ends: rank 1 hangs
    rank 1   sampling 298   sampling 298   sampling 298   sampling 298   ends, with its stack
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

WAITING = "waiting for the others"
GONE = "ended"
_SILENT_FOR = 120.0
"""Seconds after which a process is dead whose thread writes nothing more; heavy work in C may hold
the interpreter for a while."""


@dataclass(slots=True)
class Pulse:
    """How far a process is, and at what."""

    count: int = 0
    doing: str = "starting"


OWN = Pulse()
"""Of this process. One for all, since whoever beats, deep in a rollout, knows of no training."""


def beat(doing: str) -> None:
    """Note that something got done: a pass, an answer, a file.

    Args:
        doing: What comes next, for the message where it never ends.
    """
    OWN.count += 1
    OWN.doing = doing


def pulse() -> tuple[int, str]:
    """How often this process has beaten, and what it said last."""
    return OWN.count, OWN.doing


@contextmanager
def waiting() -> Iterator[None]:
    """While in here, this process waits for others and is not to blame."""
    before = OWN.doing
    beat(WAITING)
    try:
        yield
    finally:
        beat(before)


@dataclass(slots=True)
class _Seen:
    """What was last read of a process, and when that changed, by the clock of this one."""

    count: str
    moved: float
    tick: str
    ticked: float
    doing: str


class Watch:
    """The thread that writes this process's count and reads the others'.

    Args:
        store: Shared by all, with `set` and `get`, such as torch's `TCPStore`.
        rank: Of this process.
        size: How many there are.
        patience: Seconds without progress after which a process hangs.
        end: Ends this process; called with the reason.
        interval: Seconds between two looks.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        size: int,
        patience: float,
        end: Callable[[str], None] | None = None,
        interval: float = 5.0,
    ) -> None:
        self._store, self._rank, self._size = store, rank, size
        self._patience, self._end = patience, end or end_process
        self.interval = min(interval, patience / 4)
        """Seconds between two looks."""
        self._silent_for = min(_SILENT_FOR, patience)
        self._seen: dict[int, _Seen] = {}
        self._ticks = 0
        self._over = threading.Event()
        self.write(OWN.doing)
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to watch; every process must have been made by then."""
        self._thread.start()

    def stop(self, error: Exception | None = None) -> str:
        """Watch no longer.

        Args:
            error: What ends this process; the others receive it and end too.

        Returns:
            Which process had ended with an error before, and why; `""` where none had.
        """
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if error is None:
            return ""
        try:
            reports = {
                rank: self._report_of(rank)[2] for rank in range(self._size) if rank != self._rank
            }
        except RuntimeError as lost:
            return f"rank 0 has died ({lost})"
        ended = (f"rank {r} has {doing}" for r, doing in reports.items() if doing.startswith(GONE))
        first = next(ended, "")
        if not first:
            self._report(f"{type(error).__name__}: {error}")
        return first

    def _report_of(self, rank: int) -> list[str]:
        """Count, tick and doing of a process."""
        written: str = self._store.get(f"rank{rank}").decode()
        return written.split("|", 2)

    def write(self, doing: str) -> None:
        """Tell the others."""
        self._ticks += 1
        self._store.set(f"rank{self._rank}", f"{OWN.count}|{self._ticks}|{doing}")

    def _run(self) -> None:
        while not self._over.wait(self.interval):
            try:
                self.write(OWN.doing)
                problem = self.look(time.monotonic())
            except RuntimeError as error:
                # The first process keeps the store.
                problem = f"rank 0 has died ({error})"
            if problem and not self._over.is_set():
                self._report(problem)
                self._end(problem)
                return

    def _report(self, problem: str) -> None:
        """Leave the reason to the others, whichever way they notice that this process is gone."""
        with suppress(RuntimeError):
            self.write(f"{GONE}: {problem}")
            if self._rank == 0:
                # Its store goes with it.
                time.sleep(2 * self.interval)

    def look(self, now: float) -> str:
        """What is wrong with one of the processes, `""` where nothing is."""
        for rank in range(self._size):
            count, tick, doing = self._report_of(rank)
            seen = self._seen.setdefault(rank, _Seen(count, now, tick, now, doing))
            if seen.count != count:
                seen.count, seen.moved = count, now
            if seen.tick != tick:
                seen.tick, seen.ticked = tick, now
            seen.doing = doing
            if doing.startswith(GONE):
                return f"rank {rank} has {doing}"
            if now - seen.ticked > self._silent_for:
                return (
                    f"rank {rank} has died: no sign of life for {now - seen.ticked:.0f} s; it was "
                    f"last {doing}"
                )
        return self._hung(now)

    def _hung(self, now: float) -> str:
        working = {r: s for r, s in self._seen.items() if s.doing != WAITING}
        # Where all wait they wait for different things; the first to wait did so alone.
        rank, seen = min((working or self._seen).items(), key=lambda pair: pair[1].moved)
        if now - seen.moved <= self._patience:
            return ""
        others = ", ".join(f"rank {r} {s.doing}" for r, s in self._seen.items() if r != rank)
        return (
            f"rank {rank} hangs: no progress for {(now - seen.moved) / 60:.1f} minutes, last "
            f"{seen.doing} ({others})"
        )


def end_process(problem: str) -> None:
    """Say what is wrong, where this process stands, and end it at once.

    Its main thread may be inside of a library that never returns, so no exception would do.
    """
    sys.stderr.write(f"torl: {problem}; ending. This process stands here:\n")
    sys.stderr.flush()
    faulthandler.dump_traceback(file=sys.stderr)
    os._exit(1)
