"""What live sessions of the local sandbox cost, and what an endless loop costs everybody else.

python -m benchmarks.performance.sessions
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from benchmarks.performance.rivals import text_of
from benchmarks.performance.sandbox import WORKLOADS, drive
from torl_env.sandbox import Limits, LocalSandbox

_HOLD: Final = (
    "data = bytearray({megabytes} << 20)\nfor i in range(0, len(data), 4096): data[i] = 1"
)
_LIMITS: Final = Limits(cpu_seconds=5.0, wall_seconds=60.0)


def measure_sessions(crowd: int = 1000) -> dict[str, float]:
    """Milliseconds of turns and branches, and megabytes of an idle session.

    Args:
        crowd: Sessions that are open at once for the memory figure.
    """
    with LocalSandbox(_LIMITS, nice=0, sessions=crowd + 4) as sandbox:
        swift = sandbox.open_session(in_place=True)
        careful = sandbox.open_session()
        figures = {
            "turn in place, ms": milliseconds(lambda: swift.run("x = 1"), 200),
            "turn that can be rolled back, ms": milliseconds(lambda: careful.run("x = 1"), 100),
        }
        for megabytes in (0, 50):
            careful.run(_HOLD.format(megabytes=megabytes))
            figures[f"branch of a session that holds {megabytes} MB, ms"] = milliseconds(
                lambda: careful.branch().close(), 50
            )
        swift.close()
        careful.close()
    figures[f"idle session, private MB (of {crowd} at once)"] = idle_megabytes(crowd)
    figures["throughput beside an endless loop, of that without"] = beside_a_loop()
    return figures


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Median wall time of one call."""
    spent: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1e3


def idle_megabytes(crowd: int) -> float:
    """Memory that each of `crowd` sessions adds, after one turn, all libraries loaded."""
    with LocalSandbox(_LIMITS, sessions=crowd + 1) as sandbox:
        sandbox.open_session().run("x = 1")
        before = _private_below(os.getpid())
        sessions = [sandbox.open_session() for _ in range(crowd)]
        for session in sessions:
            session.run("x = 1")
        after = _private_below(os.getpid())
        for session in sessions:
            session.close()
    return (after - before) / crowd / 1024


def _private_below(pid: int) -> int:
    """Kilobytes that the descendants of a process share with nobody."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
                total += _private_below(child)
    return total


def beside_a_loop(seconds: float = 1.0) -> float:
    """Calls per second while one program loops for ever, over those without it."""
    work = WORKLOADS[0]
    ratios: list[float] = []
    with LocalSandbox(Limits(cpu_seconds=60.0, wall_seconds=600.0), nice=0) as sandbox:

        def text(code: str) -> Future[str]:
            return text_of(sandbox.submit(code))

        def rate() -> float:
            return drive(text, work, 2, seconds).per_second

        rate()
        for _ in range(5):
            alone = rate()
            loop = sandbox.submit("while True: pass")
            ratios.append(rate() / alone)
            loop.cancel()
    return statistics.median(ratios)


def main() -> None:
    """Measure and print."""
    for name, value in measure_sessions().items():
        print(f"{name:52} {value:8.2f}")


if __name__ == "__main__":
    main()
