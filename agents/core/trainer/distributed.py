"""The processes of one training, as `accelerate launch` or torchrun starts them.

Each process samples and learns from whole groups of its own, with sandbox servers of its own; the
first one writes all files. Nothing here imports torch unless there are several.
"""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

TIMEOUT = timedelta(hours=24)
"""How long processes wait for the first one, which evaluates and warms up alone."""

_LAUNCHER = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK"),
    *("ROLE_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
)
_LAUNCHERS = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_")
"""Prefixes of the variables by which a launcher speaks to its processes."""


class ProcessesError(ValueError):
    """A setting does not fit the number of processes; the message says what would."""


def world_size() -> int:
    """How many processes train together.

    Example:
        >>> world_size()
        1
    """
    return int(os.environ["WORLD_SIZE"]) if {"LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes files and talks to the user."""
    return rank() == 0


def sharded() -> bool:
    """Whether weights and optimiser are shared out among the processes (FSDP, ZeRO-3)."""
    answer = os.environ
    zero = answer.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    fsdp = answer.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return fsdp or (zero and answer.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3")


def join() -> None:
    """Meet the other processes, before any library does so with less patience.

    A process by itself takes one GPU here, before CUDA has looked.
    """
    one_device()
    if world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available(), timeout=TIMEOUT)


def leave() -> None:
    """Part from the other processes in order."""
    if world_size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def barrier() -> None:
    """Until every process is here."""
    if world_size() > 1:
        import torch.distributed as dist

        dist.barrier()


def run_on_main(work: Callable[[], T]) -> T:
    """What `work` returns in the first process, in all of them; an error is raised in all of them.

    Example:
        >>> run_on_main(lambda: 42)
        42
    """
    if world_size() == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    answer: list[Any] = [None, None]
    if is_main():
        try:
            answer[0] = work()
        except Exception as error:  # noqa: BLE001 - it is raised again, everywhere
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    result: T = answer[0]
    return result


def gather(rows: list[T]) -> list[T]:
    """The rows of all processes, in their order.

    Example:
        >>> gather([1, 2])
        [1, 2]
    """
    if world_size() == 1:
        return rows
    from accelerate.utils import gather_object

    joined: list[T] = gather_object(rows)
    return joined


def maximum(number: int) -> int:
    """The largest of the processes' numbers.

    Example:
        >>> maximum(3)
        3
    """
    return max(gather([number]))


def mean_of_each(numbers: Mapping[str, float]) -> dict[str, float]:
    """The mean of each number over all processes, those counted as 0 that do not have it.

    One exchange, whatever the names are: no process waits for a name that it alone has.

    Example:
        >>> mean_of_each({"loss": 2.0})
        {'loss': 2.0}
    """
    total: dict[str, float] = {}
    for part in gather([dict(numbers)]):
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return {name: value / world_size() for name, value in total.items()}


def one_device() -> None:
    """Show a process that trains alone one GPU.

    With several in sight TRL refuses to start (`n_gpu > 1`), the SFT stage at once and RL after it;
    transformers would take `DataParallel`. To use them all, start one process for each.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if world_size() == 1 and seen != "":
        os.environ["CUDA_VISIBLE_DEVICES"] = "0" if seen is None else seen.split(",")[0]


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a child process that works by itself, on this process's GPU.

    Example:
        >>> launched = {"PATH": "/bin", "LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,5"}
        >>> without_launcher(launched)
        {'PATH': '/bin', 'CUDA_VISIBLE_DEVICES': '5'}
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _LAUNCHER and not name.startswith(_LAUNCHERS)
    }
    if "LOCAL_RANK" in environment and environment.get("CUDA_VISIBLE_DEVICES") != "":
        rank = int(environment["LOCAL_RANK"])
        seen = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        kept["CUDA_VISIBLE_DEVICES"] = seen[rank] if rank < len(seen) and seen[0] else str(rank)
    return kept


def rows_of_one(rows: int, group_size: int, processes: int) -> int:
    """Rows of a step that one process samples: whole groups.

    Raises:
        ProcessesError: They cannot be shared out evenly.

    Example:
        >>> rows_of_one(64, 8, 2)
        32
        >>> rows_of_one(24, 8, 2)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        agents...ProcessesError: 3 groups of 8 cannot be shared evenly by 2 ...
    """
    if rows % (group_size * processes):
        raise ProcessesError(
            f"{rows // group_size} groups of {group_size} cannot be shared evenly by {processes} "
            "processes: make the number of prompts a multiple of the number of processes"
        )
    return rows // processes
