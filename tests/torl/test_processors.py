"""Whether threads spin while they wait: only where no one else wants the processors."""

import math
import os
import subprocess
import sys

import pytest

from torl import processors


@pytest.fixture(autouse=True)
def no_choice_of_the_user(monkeypatch):
    monkeypatch.setattr(processors, "cpu_quota", lambda: math.inf)
    # What the command sets is undone too: monkeypatch restores what it has deleted.
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/stat")
def test_a_neighbour_at_work_is_seen():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); print(flush=True)\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        busy.stdout.readline()
        assert processors.taken(seconds=0.5) > 0.9
    finally:
        busy.kill()
        busy.communicate()


def test_only_processors_that_this_process_may_use_count(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    number = min(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
    looks = iter([(100, 900, 0), (190, 910, 1000)])

    def sleep(_):
        write()

    def write():
        busy, idle, other = next(looks)
        stat.write_text(
            f"cpu 1 2 3\ncpu{number} {busy} 0 0 {idle} 0 0 0 0 0 0\n"
            f"cpu9999 {other} 0 0 0 0 0 0 0 0 0\nintr 5 6\n\n"
        )

    write()
    monkeypatch.setattr(processors.time, "sleep", sleep)
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: {number}, raising=False)
    assert processors.taken(str(stat)) == pytest.approx(0.9)


def test_a_system_that_does_not_say_counts_as_free(tmp_path):
    assert processors.taken(str(tmp_path / "none"), seconds=0) == 0


@pytest.mark.parametrize(
    ("busy", "shared", "expected"),
    [(0.1, False, None), (1.0, False, "PASSIVE"), (0.1, True, "PASSIVE")],
)
def test_threads_spin_on_free_processors_only(monkeypatch, busy, shared, expected):
    monkeypatch.setattr(processors, "taken", lambda: busy)
    processors.choose_waiting(shared=shared)
    assert os.environ.get("OMP_WAIT_POLICY") == expected


def test_several_processes_of_one_training_are_no_free_processors(monkeypatch):
    monkeypatch.setattr(processors, "taken", lambda: 0.0)
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    processors.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_spinning_would_use_up_a_quota(monkeypatch):
    monkeypatch.setattr(processors, "taken", lambda: 0.0)
    monkeypatch.setattr(processors, "cpu_quota", lambda: 0.5)
    processors.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_what_the_user_says_counts(monkeypatch):
    monkeypatch.setattr(processors, "taken", lambda: 2.0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    processors.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
