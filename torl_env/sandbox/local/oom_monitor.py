"""Whether the kernel has ended programs because memory ran out, which is the machine's fault."""

import threading
from pathlib import Path
from typing import Final

_COUNTERS: Final = Path("/proc/vmstat")


class OutOfMemoryKills:
    """Counts processes that the kernel has killed for want of memory, on the whole machine.

    The kernel does not say who they were, but a program that died of SIGKILL while the count rose
    was not ended by its own doing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = 0

    def forget(self) -> None:
        """What happened up to now explains nothing that happens later."""
        with self._lock:
            self._seen = _count()

    def explain_one(self) -> bool:
        """Whether there is a kill that has explained no death yet; it explains one now."""
        with self._lock:
            if _count() <= self._seen:
                return False
            self._seen += 1
            return True


def _count() -> int:
    try:
        lines = _COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


OUT_OF_MEMORY_KILLS: Final = OutOfMemoryKills()
