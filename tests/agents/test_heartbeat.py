"""A process that hangs, dies or fails ends the others and is named."""

import os
import re
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from agents.core.run import heartbeat
from agents.core.run.heartbeat import Watch, beat, waiting


class Store(dict):
    def set(self, name, value):
        self[name] = value

    def get(self, name):
        return self[name].encode()


@pytest.fixture
def both(monkeypatch):
    """The watch of rank 0, the store, and what it says at a time."""
    monkeypatch.setattr(heartbeat, "OWN", heartbeat.Pulse())
    store = Store()
    store.set("rank1", "0|0|starting")
    watch = Watch(store, 0, 2, patience=60.0)
    ticks = iter(range(1, 1000))

    def look(now, count, doing, *, alive=True):
        tick = next(ticks) if alive else 0
        store.set("rank1", f"{count}|{tick}|{doing}")
        watch.write(heartbeat.OWN.doing)
        return watch.look(now)

    return look


def test_progress_is_no_hang(both):
    for now in range(0, 600, 50):
        beat("sampling")
        assert both(now, now, "sampling") == ""


def test_the_one_that_stands_still_is_named(both):
    assert both(0, 7, "sampling") == ""
    beat("sampling")
    assert both(50, 7, "sampling") == ""
    with waiting():
        assert both(59, 7, "sampling") == ""
        found = both(90, 7, "sampling")
    assert found == (
        "rank 1 hangs: no progress for 1.5 minutes, last sampling (rank 0 waiting for the others)"
    )


def test_who_waits_is_not_to_blame_even_if_it_waits_longest(both):
    assert both(0, 1, heartbeat.WAITING) == ""
    beat("learning")
    assert both(50, 1, heartbeat.WAITING) == ""
    assert both(100, 1, heartbeat.WAITING) == ""
    assert both(120, 1, heartbeat.WAITING).startswith("rank 0 hangs: no progress for 1.2 minutes")


def test_one_that_died_or_failed_is_named(both):
    assert both(0, 1, "sampling", alive=False) == ""
    beat("sampling")
    assert both(61, 2, "sampling", alive=False).startswith("rank 1 has died: no sign of life for")
    message = f"{heartbeat.GONE}: TrainingError: the loss of step 3 is nan"
    assert both(62, 2, message) == "rank 1 has ended: TrainingError: the loss of step 3 is nan"


HANGING = """
    import sys, time
    from agents.core.run.heartbeat import beat
    from agents.core.trainer import distributed
    distributed.join()
    with distributed.watched(minutes=0.05):
        beat("sampling step 3")
        if distributed.rank() == 1:
            if sys.argv[1] == "fails":
                raise ValueError("its GPU fell off")
            time.sleep(600)
        distributed.barrier()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("hangs", r"rank 1 hangs: no progress for [\d.]+ minutes, last sampling step 3"),
        ("fails", "rank 1 has ended: ValueError: its GPU fell off"),
    ],
)
def test_two_processes_end_together(how, named, tmp_path):
    """Started without a launcher that would end the others itself."""
    file = tmp_path / "hanging.py"
    file.write_text(textwrap.dedent(HANGING))
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = str(probe.getsockname()[1])
    start = time.monotonic()
    both = [
        subprocess.Popen(
            [sys.executable, str(file), how],
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            },
        )
        for rank in ("0", "1")
    ]
    errors = [process.communicate(timeout=240)[1] for process in both]
    assert time.monotonic() - start < 200, "the hanging one slept to its end"
    assert all(process.returncode for process in both)
    assert re.search(named, errors[0]), errors[0][-2000:]
    if how == "hangs":
        assert "time.sleep" in errors[1] or "hanging.py" in errors[1]
