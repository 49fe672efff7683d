"""What live sessions of the local sandbox cost, and what an endless loop costs everybody else."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from benchmarks.performance.baselines import text_of
from benchmarks.performance.measuring import Figures, Measured, Options, in_turns, median
from benchmarks.performance.sandbox import WORKLOADS, drive
from torl_env.sandbox import Limits, LocalSandbox
from torl_env.testing import descendants

_HOLD: Final = (
    "data = bytearray({megabytes} << 20)\nfor i in range(0, len(data), 4096): data[i] = 1"
)
_LIMITS: Final = Limits(cpu_seconds=5.0, wall_seconds=60.0)


def measure(options: Options) -> Measured:
    """All of it; nothing here has a peer."""
    return Measured(measure_sessions())


def measure_sessions(crowd: int = 1000) -> Figures:
    """Milliseconds of turns and branches, and megabytes of an idle session.

    Args:
        crowd: Sessions that are open at once for the memory figure.
    """

    def milliseconds(rounds: int, **work: Callable[[], object]) -> list[float]:
        return [1e3 * median(costs) for costs in in_turns(rounds, work).values()]

    with LocalSandbox(_LIMITS, nice=0, sessions=crowd + 4) as sandbox:
        in_place = sandbox.open_session(in_place=True)
        forking = sandbox.open_session()
        turns = milliseconds(
            100, in_place=lambda: in_place.run("x = 1"), forking=lambda: forking.run("x = 1")
        )
        figures = dict(
            zip(("turn in place, ms", "turn that can be rolled back, ms"), turns, strict=True)
        )
        for megabytes in (0, 50):
            forking.run(_HOLD.format(megabytes=megabytes))
            (spent,) = milliseconds(50, branch=lambda: forking.branch().close())
            figures[f"branch of a session that holds {megabytes} MB, ms"] = spent
    figures[f"idle session, private MB (of {crowd} at once)"] = idle_megabytes(crowd)
    with_runners = "idle session with a runner forked ahead, private MB (of 32 at once)"
    figures[with_runners] = idle_megabytes(32)
    figures["throughput beside an endless loop, of that without"] = beside_a_loop()
    return figures


def idle_megabytes(crowd: int) -> float:
    """Memory that each of `crowd` sessions adds, after one turn, all libraries loaded.

    Page tables count; of sessions beyond the 64 used last, none has a runner forked ahead.
    """
    with LocalSandbox(_LIMITS, sessions=crowd + 1) as sandbox:
        sandbox.open_session().run("x = 1")
        before = _private_below(os.getpid())
        sessions = [sandbox.open_session() for _ in range(crowd)]
        for session in sessions:
            session.run("x = 1")
        # In spare time: the runners.
        time.sleep(2.0)
        return (_private_below(os.getpid()) - before) / crowd / 1024


def _private_below(pid: int) -> int:
    """Private kilobytes of the descendants of a process."""
    total = 0
    for child in descendants(pid):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
            lines += Path(f"/proc/{child}/status").read_text().splitlines()
            held = (line for line in lines if line.startswith(("Private_", "VmPTE")))
            total += sum(int(line.split()[1]) for line in held)
    return total


def beside_a_loop(seconds: float = 1.0) -> float:
    """Calls per second while one program loops for ever, over those without it."""
    ratios: list[float] = []
    with LocalSandbox(Limits(cpu_seconds=60.0, wall_seconds=600.0), nice=0) as sandbox:

        def text(code: str) -> Future[str]:
            return text_of(sandbox.submit(code))

        def rate() -> float:
            return drive(text, WORKLOADS[0], 2, seconds).per_second

        rate()
        for _ in range(5):
            alone = rate()
            loop = sandbox.submit("while True: pass")
            ratios.append(rate() / alone)
            loop.cancel()
    return statistics.median(ratios)
