"""Grade many answers on all cores."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rewards.errors import WorkerError
from rewards.grader import Reference, grade
from rewards.grading_options import DEFAULT, GradingOptions
from rewards.types import Grade, Verdict

if TYPE_CHECKING:
    from rewards.workers.process import Worker

CHUNK = 512
"""Pairs that go to a child at a time; fewer than two chunks are graded here."""
_WALL_SECONDS = 600.0


class _Crew:
    """Children that stay for the next batch; one batch at a time uses them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: list[Worker] = []

    def close(self) -> None:
        with self.lock:
            while self.workers:
                self.workers.pop().close()


_crew = _Crew()


def grade_batch(
    pairs: Sequence[tuple[str, str | Reference]],
    options: GradingOptions = DEFAULT,
    workers: int | None = None,
) -> list[Grade]:
    """Grade many (response, reference) pairs on all cores.

    Args:
        pairs: Responses with their references; a compiled reference brings its own options.
        options: For the references that are plain text.
        workers: Child processes; as many as this process may use cores by default, and none for
            short batches. Children stay for the next batch and end with this process.

    Returns:
        Grades in the order of the pairs; the same as `grade` gives one by one.
    """
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    count = min(count, len(pairs) // CHUNK)
    if count < 2:
        return [grade(response, reference, options) for response, reference in pairs]
    # Heavy for an import of `rewards`, and needed by long batches alone.
    from concurrent.futures import ThreadPoolExecutor

    from rewards.workers.process import Worker

    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    crew = _crew
    with crew.lock:
        while len(crew.workers) < count:
            crew.workers.append(Worker("grade"))
        results: list[list[Grade]] = [[] for _ in chunks]
        waiting = iter(enumerate(chunks))
        taking = threading.Lock()

        def drive(slot: int) -> None:
            while True:
                with taking:
                    index, chunk = next(waiting, (-1, ()))
                if index < 0:
                    return
                try:
                    rows = crew.workers[slot].ask(_request(chunk, options), _WALL_SECONDS)
                    results[index] = [Grade(Verdict(row[0]), *row[1:]) for row in rows]
                except WorkerError:
                    crew.workers[slot] = Worker("grade")
                    results[index] = [grade(*pair, options) for pair in chunk]

        with ThreadPoolExecutor(count) as threads:
            list(threads.map(drive, range(count)))
    return [grade for part in results for grade in part]


def _request(
    pairs: Sequence[tuple[str, str | Reference]], options: GradingOptions
) -> dict[str, Any]:
    options_list: list[GradingOptions] = [options]
    rows = list[tuple[str, str, int]]()
    for response, reference in pairs:
        text, own = reference, options
        if isinstance(reference, Reference):
            text, own = reference.text, reference.options
        if own not in options_list:
            options_list.append(own)
        rows.append((response, str(text), options_list.index(own)))
    return {"options_list": [asdict(one) for one in options_list], "rows": rows}


def grade_chunk(request: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What a child does with one request of `grade_batch`."""
    options_list = [GradingOptions(**one) for one in request["options_list"]]
    out = list[tuple[Any, ...]]()
    for response, reference, index in request["rows"]:
        found = grade(response, reference, options_list[index])
        out.append((found.verdict.value, found.answer, found.rule, found.detail, found.boxed))
    return out


def close() -> None:
    """End the children; the next batch starts others."""
    _crew.close()


def _renew() -> None:
    global _crew
    old, _crew = _crew, _Crew()
    for worker in old.workers:
        worker.close()


atexit.register(close)
os.register_at_fork(after_in_child=_renew)
