"""Whether threads spin while they wait: only where no one else wants the processors."""

import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from agents.core.run.folder import Run
from torl import processors
from torl.__main__ import parse
from torl.commands import train
from torl.training.options import TrainOptions, to_json
from torl_env.machine import cpu_quota


@pytest.fixture(autouse=True)
def no_choice_of_the_user(monkeypatch):
    monkeypatch.setattr(processors, "cpu_quota", lambda: math.inf)
    # What the command sets is undone too: monkeypatch restores what it has deleted.
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/stat")
def test_a_neighbour_at_work_is_seen():
    if cpu_quota() < len(os.sched_getaffinity(0)):
        pytest.skip("a quota holds the neighbour too")
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); print(flush=True)\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        busy.stdout.readline()
        assert processors.taken(seconds=0.5)
    finally:
        busy.kill()
        busy.communicate()


@pytest.mark.parametrize(
    ("mine", "busy"),
    [((10, 90), False), ((40, 60), False), ((60, 40), True)],
)
def test_a_processor_counts_that_this_process_may_use(tmp_path, monkeypatch, mine, busy):
    stat = tmp_path / "stat"
    looks = iter([((100, 900), 0), ((100 + mine[0], 900 + mine[1]), 1000)])

    def look(_=None):
        (work, idle), other = next(looks)
        stat.write_text(
            f"cpu 1 2 3\ncpu7 {work} 0 0 {idle} 0 0 0 0 0 0\n"
            f"cpu8 {other} 0 0 0 0 0 0 0 0 0\nintr 5 6\n\n"
        )

    look()
    monkeypatch.setattr(processors.time, "sleep", look)
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: {7}, raising=False)
    assert processors.taken(str(stat)) is busy


@pytest.mark.parametrize("text", [None, "", "cpu0 0 0 0 0 0 0 0 0\n"])
def test_where_the_system_does_not_say_threads_sleep(tmp_path, text):
    stat = tmp_path / "stat"
    if text is not None:
        stat.write_text(text)
    assert processors.taken(str(stat), seconds=0)


@pytest.mark.parametrize(
    ("busy", "shared", "expected"),
    [(False, False, None), (True, False, "PASSIVE"), (False, True, "PASSIVE")],
)
def test_threads_spin_on_free_processors_only(monkeypatch, busy, shared, expected):
    monkeypatch.setattr(processors, "taken", lambda: busy)
    processors.choose_waiting(shared=shared)
    assert os.environ.get("OMP_WAIT_POLICY") == expected


def test_several_processes_of_one_training_are_no_free_processors(monkeypatch):
    monkeypatch.setattr(processors, "taken", lambda: False)
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    processors.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_spinning_would_use_up_a_quota(monkeypatch):
    monkeypatch.setattr(processors, "taken", lambda: False)
    monkeypatch.setattr(processors, "cpu_quota", lambda: 0.5)
    processors.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_what_the_user_says_counts(monkeypatch):
    monkeypatch.setattr(processors, "taken", lambda: True)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    processors.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_run_that_goes_on_waits_as_it_began(tmp_path, monkeypatch, staleness):
    out = tmp_path / "run"
    out.mkdir()
    Run(out).write_config({"options": to_json(TrainOptions(out=out, staleness=staleness))})
    asked = []
    monkeypatch.setattr(train, "choose_waiting", lambda *, shared: asked.append(shared))
    monkeypatch.setattr(train, "run", lambda options, given: SimpleNamespace(finished=True))
    assert train.main(parse("train", ["--out", str(out), "--resume"])) == 0
    assert asked == [staleness > 0]
