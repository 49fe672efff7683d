"""The table of what the laptop run takes, from a run's own files."""

import sys
from pathlib import Path

import pytest

from agents.core.run.folder import Run
from agents.core.run.storage import write_json

RUNS = Path(__file__).parents[2] / "runs"


@pytest.fixture
def laptop_time(monkeypatch):
    """The module beside the scripts, which are no package."""
    monkeypatch.syspath_prepend(str(RUNS))
    import laptop_time

    yield laptop_time
    sys.modules.pop("laptop_time", None)


def test_a_row_tells_medians_and_accuracies(laptop_time, tmp_path):
    run = Run(tmp_path)
    for step, seconds in enumerate((9.0, 2.0, 3.0), 1):
        run.add_timing(step, "sft", {"seconds": seconds})
        run.add_timing(step, "rl", {"rollout": seconds / 2, "seconds": 2 * seconds})
    run.add_timing(3, "run", {"total": 60.0})
    (tmp_path / "eval").mkdir()
    for name, value in (("before", 0.25), ("after", 0.75)):
        share = {"value": value, "low": value - 0.1, "high": value + 0.1, "count": 8}
        write_json(tmp_path / "eval" / f"{name}.summary.json", {"accuracy": share})
    row = laptop_time.read(tmp_path) | {"seconds": 90.0, "cpu_seconds": 120.4, "load": 1.0}
    cells = laptop_time.table({"float32": row}).rows
    accuracies = ("25.0 [15.0, 35.0]", "75.0 [65.0, 85.0]")
    assert cells == (("float32", "3.0", "6.0", "1.5", "1.5", "120", "1.0", *accuracies),)
