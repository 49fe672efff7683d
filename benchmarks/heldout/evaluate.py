"""Evaluate whatever writes trajectories on a set of problems, resumable and in a fixed order."""

import errno
import fcntl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from agents.core.run.storage import RecordError, drop_torn_line, dump_line, write_json
from agents.core.types import Trajectory
from benchmarks.heldout import records
from benchmarks.heldout.records import Header, Records
from benchmarks.heldout.summary import Summary, summarise
from torl_env.problems.types import Problem

Collect = Callable[[Sequence[Problem], int, int], Iterable[Trajectory]]
"""`collect(problems, k, seed)` yields k trajectories of each problem, `sample` from 0 to k - 1, in
any order. An infrastructure error is a trajectory with `scorable=False`, never a missing one."""

Progress = Callable[[int], None]
"""Called with the number of answers that were added."""

IN_FLIGHT = 256


def evaluate(
    collect: Collect,
    problems: Sequence[Problem],
    header: Header,
    out: Path,
    progress: Progress | None = None,
    in_flight: int = IN_FLIGHT,
) -> Summary:
    """Collect what is missing in the records at `out`, then summarise all of them.

    The collector is always given the same batches, whether or not an earlier run was cut off in
    the middle of one, so a resumed evaluation ends with the same bytes as an uninterrupted one.

    Args:
        collect: Writes the answers.
        problems: With unique ids.
        header: Must fit the header of existing records, except for versions and commit.
        out: `NAME.jsonl`; the summary goes to `NAME.summary.json` beside it.
        progress: Called after each answer.
        in_flight: Answers asked of `collect` at once; what a kill loses at most.

    Raises:
        RecordError: If the existing records belong to another evaluation, another process writes
            them, the ids are not unique, or the collector breaks its promise.
    """
    if len({problem.id for problem in problems}) != len(problems):
        raise RecordError(f"{header.problems}: problem ids are not unique; cannot record answers")
    if not problems:
        raise RecordError(f"{header.problems} holds no problems; nothing to evaluate")
    batch = max(1, in_flight // header.k)
    with _writing(out) as file:
        earlier, done = _opened(out, header, file)
        known = len(done)
        for first in range(0, len(problems), batch):
            part = problems[first : first + batch]
            wanted = {(p.id, sample) for p in part for sample in range(header.k)}
            missing = wanted - done.keys()
            if not missing:
                continue
            for trajectory in _checked(collect(part, header.k, header.seed), wanted):
                key = (trajectory.problem_id, trajectory.sample)
                if key in missing:
                    file.write(dump_line(trajectory.to_json()))
                    file.flush()
                    done[key] = trajectory
                    if progress:
                        progress(1)
        order = [(problem.id, sample) for problem in problems for sample in range(header.k)]
        made = header.after(earlier, asked=len(done) > known)
        return finish(out, made, [done[key] for key in order])


def start(out: Path, header: Header) -> dict[tuple[str, int], Trajectory]:
    """Open records for appending and return what they hold; makes the file when there is none.

    Raises:
        RecordError: If they belong to another evaluation, or another process writes them.
    """
    with _writing(out) as file:
        return _opened(out, header, file)[1]


@contextmanager
def _writing(out: Path) -> Iterator[TextIO]:
    """The records for appending, by one process at a time."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordError(
                f"{out} is being written by another process; wait for it, or choose another output"
            ) from None
        except OSError as error:
            # Some network file systems know no locks.
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
        yield file


def _opened(
    out: Path, header: Header, file: TextIO
) -> tuple[Header, dict[tuple[str, int], Trajectory]]:
    """Header and answers of what is there; writes the header where there is nothing."""
    drop_torn_line(out)
    if out.stat().st_size == 0:
        file.write(dump_line({"header": header.to_json()}))
        file.flush()
        return header, {}
    found = records.read(out)
    if differences := found.header.differences(header):
        raise RecordError(
            f"{out} holds another evaluation ({'; '.join(differences)}); "
            f"choose another output name, or delete that file"
        )
    return found.header, {(t.problem_id, t.sample): t for t in found.trajectories}


def finish(out: Path, header: Header, trajectories: Sequence[Trajectory]) -> Summary:
    """Sort the records and write their summary."""
    records.write(out, header, trajectories)
    summary = summarise(Records(header, tuple(trajectories)))
    write_json(summary_path(out), summary.to_json())
    return summary


def summary_path(out: Path) -> Path:
    """Where the summary of these records lies.

    >>> summary_path(Path("eval/after.jsonl")).name
    'after.summary.json'
    """
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.summary.json")


def _checked(
    trajectories: Iterable[Trajectory], wanted: set[tuple[str, int]]
) -> Iterable[Trajectory]:
    """Pass trajectories on; complain about one that was not asked for, and about missing ones."""
    left = set(wanted)
    for trajectory in trajectories:
        key = (trajectory.problem_id, trajectory.sample)
        if key not in left:
            why = "twice" if key in wanted else "without being asked"
            raise RecordError(f"the collector answered problem and sample {key} {why}")
        left.remove(key)
        yield trajectory
    if left:
        raise RecordError(
            f"the collector left out {len(left)} answers, such as {min(left)}; it must yield "
            f"a failed one with scorable=False"
        )
