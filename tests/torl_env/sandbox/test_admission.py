"""Few young programs at once, many old ones, and never more than allowed."""

import os
import sys
import time

import pytest

from torl_env.sandbox import Limits, LocalSandbox
from torl_env.sandbox.local.pool import Admission
from torl_env.sandbox.local.request import ProgramCall

YOUNG = 4 * (os.cpu_count() or 1)


def calls(count: int) -> list[ProgramCall]:
    return [ProgramCall("", Limits()) for _ in range(count)]


def test_young_ones_keep_others_out_until_they_end_or_grow_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    admission = Admission(YOUNG + 2)
    first = calls(YOUNG)
    for call in first:
        assert admission.open
        assert admission.opens_in() is None
        admission.enter(call)
    assert not admission.open
    assert 0 < (admission.opens_in() or 0) <= 0.03
    admission.leave(first[0])
    assert admission.open
    admission.enter(first[0])
    now += 0.035
    assert admission.opens_in() == 0.0
    assert admission.open
    for call in calls(2):
        assert admission.open
        admission.enter(call)
    # Old or young, no more than `concurrency`; only an end changes that.
    assert not admission.open
    assert admission.opens_in() is None
    assert admission.running == YOUNG + 2


@pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux")
def test_sleepers_hold_up_nobody() -> None:
    with LocalSandbox(Limits(wall_seconds=30), concurrency=YOUNG + 8) as sandbox:
        sandbox.run("")
        nap = "import time; print(time.time()); time.sleep(3); print(time.time())"
        sleepers = [sandbox.submit(nap) for _ in range(YOUNG + 6)]
        quick = [sandbox.submit(f"print({n})") for n in range(40)]
        assert [call.result().stdout for call in quick] == [f"{n}\n" for n in range(40)]
        assert not any(call.done() for call in sleepers)
        times = [[*map(float, call.result().stdout.split())] for call in sleepers]
        # All of them slept at the same time.
        assert max(start for start, _ in times) < min(end for _, end in times)
