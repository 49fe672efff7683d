"""Whether the kernel has ended programs because memory ran out, which is the machine's fault."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from torl_env.errors import SandboxError

_MACHINE: Final = Path("/proc/vmstat")
_GROUP: Final = ("memory.events", "memory.oom_control")
"""Of a control group, in versions 2 and 1."""
OUT_OF_MEMORY: Final = SandboxError(
    "the kernel ended a program within its limits because memory ran out: lower `concurrency` or "
    "`Limits.memory_mb`, or raise `total_memory_mb`"
)


class OutOfMemoryKills:
    """Counts processes that the kernel has killed for want of memory.

    The kernel does not say who they were, but a program that died of SIGKILL while the count rose
    was not ended by its own doing. In a control group of the sandbox's own that is sure. Without
    one the machine's count must do, which rises for others' processes too.

    Args:
        group: Directories of the control group of all programs; none where there is none.
    """

    def __init__(self, group: Sequence[str] = ()) -> None:
        files = [Path(directory) / name for directory in group for name in _GROUP]
        counters = (file for file in files if _count(file) is not None)
        self._counter = next(counters, _MACHINE)
        self._lock = threading.Lock()
        self._seen = self._at_tick = _count(self._counter) or 0

    def tick(self) -> None:
        """Of a clock: what happened before the last one explains nothing that happens later."""
        with self._lock:
            self._seen = max(self._seen, self._at_tick)
            self._at_tick = _count(self._counter) or 0

    def explain_one(self) -> bool:
        """Whether there is a kill that has explained no death yet; it explains one now."""
        with self._lock:
            if (_count(self._counter) or 0) <= self._seen:
                return False
            self._seen += 1
            return True


def _count(file: Path) -> int | None:
    """`None` where it is not told."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
