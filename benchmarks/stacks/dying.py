"""A sandbox whose machine dies under chosen programs: what every check does to its stack.

    sandbox="benchmarks.stacks.dying:DyingSandbox"

is a `LocalSandbox` of which the servers are killed, as the kernel does where memory runs out, while
a program that holds `DEADLY` runs. The environment tries such a program once more, and it dies
again: there is nothing to be learned from its episode.
"""

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.types import Execution, Limits

DYING = "benchmarks.stacks.dying:DyingSandbox"
DEADLY = "6*7"
"""Programs of the checks have it in one problem; blanks do not count."""


class DyingSandbox(LocalSandbox):
    """See above."""

    def submit(
        self, code: str, limits: Limits | None = None, *, stdin: str = ""
    ) -> Future[Execution]:
        """Start the program; where it is a deadly one, kill what runs it."""
        if DEADLY not in code.replace(" ", ""):
            return super().submit(code, limits, stdin=stdin)
        super().submit("").result()
        call = super().submit(f"import time\ntime.sleep(60)\n{code}", limits, stdin=stdin)
        threading.Thread(target=_kill, args=(servers(),), daemon=True).start()
        return call


def _kill(pids: list[int]) -> None:
    # Those that run the program, and none that comes after them: it is killed in its own time.
    time.sleep(0.3)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def servers() -> list[int]:
    """Processes of sandbox servers that this one has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"forkserver" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found
