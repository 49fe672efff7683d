"""How the threads of one process wait for each other: spinning where processors are free."""

import os
import time
from pathlib import Path

from agents.core.trainer.distributed import world_size
from torl_env.machine import cpu_quota, processors

_LOOK_SECONDS = 0.1
_BUSY = 0.5
"""Of the time: what a processor that other work keeps is busy, and an idle one is not."""


def choose_waiting(*, shared: bool = False) -> None:
    """Let OpenMP's threads sleep while they wait if others want the processors; before torch.

    A thread that spins is back at once: on two free cores a GRPO step takes two thirds of the time.
    Where another process works too, it takes the core that the slower thread needs: there a step
    takes twice the time. OMP_WAIT_POLICY in the environment decides instead where it is set.

    Args:
        shared: This command itself starts other processes that compute.
    """
    several = shared or world_size() > 1
    if several or cpu_quota() < processors() or taken():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def taken(stat: str = "/proc/stat", seconds: float = _LOOK_SECONDS) -> bool:
    """Whether other work keeps a processor that this process may use, while it sleeps.

    Args:
        stat: As of proc_stat(5).
        seconds: To look for.

    Returns:
        Also true where the system does not say (not Linux, or a sandbox around it).
    """
    before = _ticks(stat)
    time.sleep(seconds)
    after = _ticks(stat)
    both = [(before[name], after[name]) for name in before.keys() & after.keys()]
    lapsed = [(busy - b, every - e) for (b, e), (busy, every) in both]
    shares = [busy / every for busy, every in lapsed if every > 0]
    return not shares or max(shares) > _BUSY


def _ticks(stat: str) -> dict[str, tuple[int, int]]:
    """Of each processor: ticks at work and all ticks since the start, by proc_stat(5)."""
    try:
        lines = Path(stat).read_text(encoding="ascii").splitlines()
        usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return {}
    ticks: dict[str, tuple[int, int]] = {}
    for name, *fields in map(str.split, filter(None, lines)):
        if name in usable:
            user, nice, system, idle, disk, *interrupts = map(int, fields[:8])
            busy = user + nice + system + sum(interrupts)
            ticks[name] = (busy, busy + idle + disk)
    return ticks
