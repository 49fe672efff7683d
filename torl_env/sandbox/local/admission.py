"""How many programs run at once."""

import os
import time
from typing import Final

from torl_env.sandbox.local.request import PendingRequest

_PER_PROCESSOR: Final = 4
"""Young programs at once: more of them only get in each other's way."""
_YOUTH_SECONDS: Final = 0.03
"""An older program sleeps or computes for long, and does not keep others from starting."""


class Admission:
    """Lets programs start while fewer than `concurrency` run, and few of them are young.

    Programs that end soon are quickest a few at a time, whatever number waits; programs that wait
    for something must not hold up the rest. Not thread-safe: its owner has a lock.
    """

    def __init__(self, concurrency: int) -> None:
        self.running = 0
        self._concurrency = concurrency
        self._most_young = _PER_PROCESSOR * (os.cpu_count() or 1)
        self._young: dict[PendingRequest, float] = {}
        """When each of them started, oldest first."""

    @property
    def open(self) -> bool:
        """Whether one more may start now."""
        if self.running >= self._concurrency:
            return False
        if len(self._young) >= self._most_young:
            born = time.monotonic() - _YOUTH_SECONDS
            for pending in [item for item, started in self._young.items() if started <= born]:
                del self._young[pending]
        return len(self._young) < self._most_young

    def opens_in(self) -> float | None:
        """Seconds until it opens although none has ended; `None` where time changes nothing.

        Of what `open` said last: what grows old in between does so in 0 seconds.
        """
        if self.running >= self._concurrency or len(self._young) < self._most_young:
            return None
        oldest = next(iter(self._young.values()))
        return max(oldest + _YOUTH_SECONDS - time.monotonic(), 0.0)

    def enter(self, pending: PendingRequest) -> None:
        """It starts."""
        self.running += 1
        self._young[pending] = time.monotonic()

    def leave(self, pending: PendingRequest) -> None:
        """It has ended."""
        self.running -= 1
        self._young.pop(pending, None)
