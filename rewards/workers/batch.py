"""Grade many answers on all cores."""

import atexit
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from rewards.grader import Reference, grade
from rewards.policy import Policy
from rewards.types import Grade, Verdict
from rewards.workers.process import Worker, WorkerError

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


def grade_all(
    pairs: Sequence[tuple[str, str | Reference]], policy: Policy, workers: int | None
) -> list[Grade]:
    """What `rewards.grade_batch` does."""
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    count = min(count, len(pairs) // CHUNK)
    if count < 2:
        return [grade(response, reference, policy) for response, reference in pairs]
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
                    rows = crew.workers[slot].ask(_request(chunk, policy), _WALL_SECONDS)
                    results[index] = [Grade(Verdict(row[0]), *row[1:]) for row in rows]
                except WorkerError:
                    crew.workers[slot] = Worker("grade")
                    results[index] = [grade(*pair, policy) for pair in chunk]

        with ThreadPoolExecutor(count) as threads:
            list(threads.map(drive, range(count)))
    return [grade for part in results for grade in part]


def _request(pairs: Sequence[tuple[str, str | Reference]], policy: Policy) -> dict[str, Any]:
    policies: list[Policy] = [policy]
    rows = list[tuple[str, str, int]]()
    for response, reference in pairs:
        text, own = reference, policy
        if isinstance(reference, Reference):
            text, own = reference.text, reference.policy
        if own not in policies:
            policies.append(own)
        rows.append((response, str(text), policies.index(own)))
    return {"policies": [asdict(one) for one in policies], "rows": rows}


def grade_chunk(request: dict[str, Any]) -> list[tuple[str, str | None, str, str]]:
    """What a child does with one request of `grade_all`."""
    policies = [Policy(**one) for one in request["policies"]]
    out = list[tuple[str, str | None, str, str]]()
    for response, reference, index in request["rows"]:
        found = grade(response, reference, policies[index])
        out.append((found.verdict.value, found.answer, found.rule, found.detail))
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
