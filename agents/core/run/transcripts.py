"""Transcripts of a step on file: text for people, ids apart, all of it compressed.

    transcripts/step-000012.jsonl.gz        text, rewards, verdicts: one JSON object an episode
    transcripts/step-000012.ids.npz         ids, loss mask and log-probabilities of the same rows
    transcripts/step-000012-rank-001.*      what another process of the training has kept

As one JSON text 2,048 episodes of 3,000 tokens took 40 s and 105 MB a step. The text is read with
`zcat`, the ids with this module, and both are put together by `read_rows`.
"""

import gzip
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agents.core.run.storage import RecordError, dump_line, read_lines, replacing
from agents.core.types import Trajectory

_NAME = re.compile(r"step-(\d+)(?:-rank-(\d+))?\.jsonl(?:\.gz)?")
_TYPES = {
    "prompt_ids": "int32",
    "ids": "int32",
    "loss_mask": "int8",
    "logprobs": "float32",
    "policy_versions": "int32",
}
"""What goes into the file of ids where there is any, and how it is kept there."""


def write(folder: Path, step: int, rank: int, trajectories: Sequence[Trajectory]) -> None:
    """Write what one process keeps of a step; each file is whole or absent.

    Args:
        folder: Of all steps.
        step: Its number.
        rank: Of the process.
        trajectories: What is kept; nothing is written where that is nothing.
    """
    if not trajectories:
        return
    import numpy as np

    name = f"step-{step:06d}" + (f"-rank-{rank:03d}" if rank else "")
    arrays: dict[str, Any] = {}
    lines = []
    for number, trajectory in enumerate(trajectories):
        row = trajectory.to_json()
        for field, kind in _TYPES.items():
            if field not in row:
                continue
            values = row.pop(field)
            # Unknown log-probabilities are null in JSON and nan here.
            known = [float("nan") if value is None else value for value in values]
            arrays[f"{field}_{number}"] = np.array(known, dtype=kind)
        lines.append(dump_line(row))
    with replacing(folder / f"{name}.ids.npz") as scratch:
        np.savez_compressed(scratch, **arrays)
    with replacing(folder / f"{name}.jsonl.gz") as scratch:
        # No clock in the header: the same step gives the same bytes.
        scratch.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def files(folder: Path) -> list[tuple[int, Path]]:
    """Step and file of everything that was kept, in the order of steps and processes."""
    found = [
        (int(name[1]), int(name[2] or 0), file)
        for file in folder.glob("step-*.jsonl*")
        if (name := _NAME.fullmatch(file.name))
    ]
    return [(step, file) for step, _, file in sorted(found)]


def read_rows(
    file: Path,
    wanted: Callable[[Mapping[str, Any]], bool] | None = None,
    arrays: Collection[str] = tuple(_TYPES),
) -> Iterator[dict[str, Any]]:
    """The JSON objects of a line file, compressed or not, with the ids that lie beside it.

    Args:
        file: Transcripts of a step, records of an evaluation, or any other file of JSON lines.
        wanted: Which rows, by all but their ids; the ids of others are not unpacked.
        arrays: Which of prompt_ids, ids, loss_mask and logprobs to unpack; others are empty.

    Raises:
        RecordError: There is no such file, a line is no JSON object, or the ids are missing.
    """
    beside = file.with_name(f"{file.name.removesuffix('.gz').removesuffix('.jsonl')}.ids.npz")
    if file.suffix != ".gz":
        yield from filter(wanted, read_lines(file)) if wanted else read_lines(file)
        return
    import numpy as np

    if not beside.is_file():
        raise RecordError(f"{file} has no ids: expected them at {beside}")
    with np.load(beside) as packed:
        for number, row in enumerate(read_lines(file)):
            if wanted and not wanted(row):
                continue
            # Versions are there only where weights changed while they sampled.
            ids = {
                field: packed[f"{field}_{number}"].tolist() if field in arrays else []
                for field in _TYPES
                if f"{field}_{number}" in packed
            }
            ids["logprobs"] = [None if p != p else p for p in ids["logprobs"]]
            yield {**row, **ids}


def read(
    folder: Path,
    wanted: Callable[[int, Mapping[str, Any]], bool] | None = None,
    arrays: Collection[str] = tuple(_TYPES),
) -> Iterator[tuple[int, Trajectory]]:
    """Step and trajectory of everything that was kept, in the order of steps and processes.

    Args:
        folder: Of all steps.
        wanted: Which, by step and row, as in `read_rows`.
        arrays: As in `read_rows`: ids are most of what is read, and not everybody needs them.

    Raises:
        RecordError: A file cannot be read, or holds something else.
    """
    for step, file in files(folder):
        of_step = partial(wanted, step) if wanted else None
        for number, row in enumerate(read_rows(file, of_step, arrays), start=1):
            try:
                yield step, Trajectory.from_json(row)
            except (KeyError, TypeError) as error:
                raise RecordError(f"{file}, line {number}: not a trajectory ({error!r})") from None


def forget_after(folder: Path, step: int) -> None:
    """Remove what was kept of later steps, which a resumed run will take again."""
    for later, file in files(folder):
        if later > step:
            file.unlink()
            file.with_name(f"{file.name.partition('.')[0]}.ids.npz").unlink(missing_ok=True)


def share_of(most: int, group_size: int, rank: int, processes: int) -> int:
    """How many groups one process keeps where `most` episodes are kept of a step.

    Example:
        >>> [share_of(24, 8, rank, 2) for rank in (0, 1)]
        [2, 1]
    """
    groups = most // group_size
    return groups // processes + (rank < groups % processes)
