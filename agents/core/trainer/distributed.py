"""The processes of one training, as `accelerate launch` or torchrun starts them.

Each process samples and learns from whole groups of its own, with sandbox servers of its own; the
first one writes all files. Nothing here imports torch unless there are several.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from agents.core.run.heartbeat import Watch, waiting

T = TypeVar("T")

TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other in the process group: for the slowest rollout of a step,
and for the first one to open data sets. `watched` ends a hang much sooner, by name."""


class ProcessesError(ValueError):
    """A setting does not fit the number of processes; the message says what would."""


class LostProcessError(RuntimeError):
    """Another process has failed, which is why this one cannot go on."""


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

        with waiting():
            dist.barrier()


@contextmanager
def watched(minutes: float) -> Iterator[None]:
    """Within this block a process that hangs, dies or fails ends all of them, and is named.

    Args:
        minutes: Without progress after which a process hangs.
    """
    if world_size() == 1:
        yield
        return
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, first = os.environ["MASTER_ADDR"], is_main()
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False) if first else None
    port = run_on_main(lambda: store.port if store else 0)
    watch = Watch(store or TCPStore(host, port), rank(), world_size(), 60 * minutes)
    barrier()
    watch.start()
    try:
        yield
    except Exception as error:
        first_to_end = watch.stop(error)
        if first_to_end:
            # What is raised here is only how this process heard of it.
            raise LostProcessError(first_to_end) from error
        raise
    barrier()
    watch.stop()
    barrier()


def run_on_main(work: Callable[[], T]) -> T:
    """What `work` returns in the first process, in all of them; an error is raised in all of them.

    Example:
        >>> run_on_main(lambda: 42)
        42
    """
    if world_size() == 1:
        return work()
    answer: list[Any] = [None, None]
    if is_main():
        try:
            answer[0] = work()
        except Exception as error:  # noqa: BLE001 - it is raised again, everywhere
            answer[1] = error
    value, problem = broadcast(answer)
    if problem is not None:
        raise problem
    result: T = value
    return result


def broadcast(value: T) -> T:
    """What the first process gives, in all of them.

    Example:
        >>> broadcast(42)
        42
    """
    if world_size() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    box: list[Any] = [value if is_main() else None]
    with waiting():
        broadcast_object_list(box)
    sent: T = box[0]
    return sent


def gather(rows: list[T]) -> list[T]:
    """The rows of all processes, in their order.

    Example:
        >>> gather([1, 2])
        [1, 2]
    """
    if world_size() == 1:
        return rows
    from accelerate.utils import gather_object

    with waiting():
        joined: list[T] = gather_object(rows)
    return joined


def maximum(number: int) -> int:
    """The largest of the processes' numbers.

    Example:
        >>> maximum(3)
        3
    """
    return max(gather([number]))


def maxima(numbers: list[int]) -> list[int]:
    """The largest of the processes' numbers at each place.

    Example:
        >>> maxima([3, 1])
        [3, 1]
    """
    return [max(place) for place in zip(*gather([numbers]), strict=True)]


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


@contextmanager
def whole_weights() -> Iterator[None]:
    """Within this block every process loads weights itself.

    With `fsdp_cpu_ram_efficient_loading` transformers gives them to the first process alone and
    leaves the others' uninitialised until FSDP shares them out, which it does with the model in
    training and with no other.
    """
    name = "FSDP_CPU_RAM_EFFICIENT_LOADING"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def one_device() -> None:
    """Show a process that trains alone one GPU.

    With several in sight TRL refuses to start (`n_gpu > 1`), the SFT stage at once and RL after it;
    transformers would take `DataParallel`. To use them all, start one process for each.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if world_size() == 1 and seen != "":
        os.environ["CUDA_VISIBLE_DEVICES"] = "0" if seen is None else seen.split(",")[0]


def run_apart(command: Sequence[str]) -> bool:
    """Run a command beside every process, as the same rank of a group of its own.

    So a stage gets fresh libraries and gives back all memory at its end, which accelerate,
    DeepSpeed and CUDA do not do within a process.

    Returns:
        Whether it went well in all of them.
    """
    port = run_on_main(_free_port)
    environment = member_of_another_group(os.environ, port)
    code = subprocess.run(command, env=environment, check=False).returncode
    return not any(gather([code]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def devices() -> str:
    """What this process computes on, for the plan of a training.

    A process takes one device, whatever it sees: TRL and transformers would split batches over
    several in ways of their own.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return "the CPU"
    if world_size() > 1:
        return f"one of {count} GPUs for each process"
    rest = f"; for all {count} start accelerate launch, docs/scale.md" if count > 1 else ""
    return f"one GPU{rest}"


def member_of_another_group(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """An environment in which a child has this rank among processes that meet at another port.

    Example:
        >>> launched = {"RANK": "1", "MASTER_PORT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        >>> member_of_another_group(launched, 2)
        {'RANK': '1', 'MASTER_PORT': '2'}
    """
    # torchrun keeps the store of its own group, at the old port; the new first rank makes one.
    kept = {n: value for n, value in environment.items() if not n.startswith("TORCHELASTIC_")}
    return kept | {"MASTER_PORT": str(port)}


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
