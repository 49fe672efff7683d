"""How long the laptop run takes in bfloat16 and in float32: a step, the whole, and its result.

    python runs/laptop_time.py OUT [--dtypes bfloat16 float32] [options of torl train]

`torl train` makes its default run in one type after the other. Runs that are complete are
not made again. Writes OUT/time.json and OUT/time.md. On a machine that does something else, compare
CPU seconds: seconds of the clock are of that moment.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from agents.core.run.provenance import commit, versions
from agents.core.run.storage import read_json, write_json, write_text
from benchmarks.heldout.statistics import Estimate
from benchmarks.report.tables import Table, percent

COLUMNS = (
    *("dtype", "SFT step, s", "RL step, s", "of it sampling, s", "whole, min", "CPU seconds"),
    *("load at the end", "accuracy before, %", "after, %"),
)


def main() -> int:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    asked, more = parser.parse_known_args()
    file = asked.out / "time.json"
    rows: dict[str, Any] = read_json(file)["runs"] if file.is_file() else {}
    for dtype in asked.dtypes:
        if dtype not in rows:
            rows[dtype] = _made(asked.out / dtype, dtype, more)
            header = {"commit": commit(), "versions": versions(), "options": more}
            write_json(file, {"header": header | {"cores": os.cpu_count()}, "runs": rows})
    write_text(asked.out / "time.md", table(rows).markdown())
    print((asked.out / "time.md").read_text())
    return 0


def _made(run: Path, dtype: str, more: Sequence[str]) -> dict[str, Any]:
    """Train once; what it took."""
    start, before = time.perf_counter(), _cpu_seconds()
    command = [sys.executable, "-m", "torl", "train", "--out", str(run), "--dtype", dtype, *more]
    subprocess.run(command, check=True)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": _cpu_seconds() - before}
    return took | {"load": os.getloadavg()[2]} | read(run)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read(run: Path) -> dict[str, Any]:
    """Seconds of each step of a run, and its accuracy before and after."""
    times = [json.loads(line) for line in (run / "timing.jsonl").read_text().splitlines()]
    of = {stage: [t for t in times if t["stage"] == stage] for stage in ("sft", "rl")}
    return {
        "sft_step": median(t["seconds"] for t in of["sft"]),
        "rl_step": median(t["seconds"] for t in of["rl"]),
        "rollout": median(t["rollout"] for t in of["rl"]),
        "steps": len(of["rl"]),
        "before": read_json(run / "eval" / "before.summary.json")["accuracy"],
        "after": read_json(run / "eval" / "after.summary.json")["accuracy"],
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row a type; medians over the steps of a run."""
    cells = tuple(
        (
            dtype,
            *(f"{row[name]:.1f}" for name in ("sft_step", "rl_step", "rollout")),
            f"{row['seconds'] / 60:.1f}",
            f"{row['cpu_seconds']:.0f}",
            f"{row['load']:.1f}",
            *(percent(Estimate(**row[when])) for when in ("before", "after")),
        )
        for dtype, row in rows.items()
    )
    return Table("", COLUMNS, cells)


if __name__ == "__main__":
    sys.exit(main())
