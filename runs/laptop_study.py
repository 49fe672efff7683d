"""The laptop run over three seeds, with the tool and without it: accuracy before and after GRPO.

    python runs/laptop_study.py OUT [--seeds 0 1 2]

For each seed `torl train` makes its default run (C = 1), then its opponent: `--algorithm cot`, the
same model with the same number of updates, problems and samples, and C = 0. The opponent is asked
as a model without tools is; it imitates as many traces of the same problems, each worked by hand
step by step; and it may write 384 tokens in place of 110. So it imitates longer answers
and samples more tokens than the run with the tool; the table counts the latter.
`--versus same-start` makes the older comparison: C = 0 from the weights and the prompt of the run
with the tool.

`--problems procedural:easy:L1` has numbers that can be worked by hand; at the default levels most
cannot. Runs that are complete are not made again. Writes
OUT/study.json and OUT/study.md. Eight minutes a run with the tool on two cores, twenty without.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from agents.core.run.storage import finite, read_json, write_text
from benchmarks.heldout.summary import Summary
from benchmarks.report.runs import open_run
from benchmarks.report.tables import Table, percent
from torl.training.options import TrainOptions

MEASURES = ("accuracy", "code_ratio", "pass_ratio", "tokens", "truncated")
TEXT_TOKENS = 384
"""Room of an answer without the tool: nearly all worked ones fit."""


def main() -> int:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--versus", choices=("by-hand", "same-start"), default="by-hand")
    parser.add_argument("--problems", default=TrainOptions().env.problems)
    asked = parser.parse_args()
    found = []
    for seed in asked.seeds:
        tool, text = asked.out / f"tool-{seed}", asked.out / f"text-{seed}"
        same = ("--seed", str(seed), "--problems", asked.problems)
        _train(tool, *same)
        start = ("--tool-budget", "0", "--warm-start-from", str(tool / "warm-start"))
        by_hand = ("--algorithm", "cot", "--max-tokens", str(TEXT_TOKENS))
        _train(text, *same, *(by_hand if asked.versus == "by-hand" else start))
        found += [_read(tool, seed, 1), _read(text, seed, 0)]
        _write(asked.out, found)
    print((asked.out / "study.md").read_text())
    return 0


def _train(run: Path, *options: str) -> None:
    """One run; goes on with one that was cut off."""
    if (run / "eval" / "after.summary.json").is_file():
        return
    command = [sys.executable, "-m", "torl", "train", "--out", str(run)]
    resume = (run / "config.json").is_file()
    subprocess.run([*command, *(("--resume",) if resume else options)], check=True)


def _read(run: Path, seed: int, tool_budget: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "seed": seed,
        "tool_budget": tool_budget,
        "sampled": open_run(run).sampled,
    }
    for name in ("before", "after"):
        summary = Summary.from_json(read_json(run / "eval" / f"{name}.summary.json"))
        row[name] = {measure: getattr(summary, measure) for measure in MEASURES}
        row |= {"commit": summary.header.commit, "versions": dict(summary.header.versions)}
    return row


def _write(out: Path, rows: list[dict[str, Any]]) -> None:
    stored = [
        row | {t: {name: asdict(e) for name, e in row[t].items()} for t in ("before", "after")}
        for row in rows
    ]
    write_text(out / "study.json", json.dumps(finite(stored), indent=2))
    columns = (
        "C", "seed", "accuracy before", "after", "code ratio before", "after", "cut off before",
        "after", "tokens an answer", "sampled in RL",
    )  # fmt: skip
    shown = tuple(
        (when, name)
        for name in ("accuracy", "code_ratio", "truncated")
        for when in ("before", "after")
    )
    cells = tuple(
        (
            str(row["tool_budget"]),
            str(row["seed"]),
            *(percent(row[t][name]) for t, name in shown),
            f"{row['after']['tokens'].value:.0f}",
            f"{row['sampled'] / 1000:.0f}k",
        )
        for row in sorted(rows, key=lambda row: (-row["tool_budget"], row["seed"]))
    )
    text = [Table("", columns, cells).markdown()]
    for budget in (1, 0):
        some = [row for row in rows if row["tool_budget"] == budget]
        before, after = (mean(r[t]["accuracy"].value for r in some) for t in ("before", "after"))
        text.append(
            f"C = {budget}: mean accuracy over {len(some)} seeds {100 * before:.1f} % before, "
            f"{100 * after:.1f} % after.\n"
        )
    write_text(out / "study.md", "\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
