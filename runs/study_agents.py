"""One table of all agents of the studies: what they learn, and what a run costs."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from study_extras import answers, plain, pooled_estimates
from study_plan import EASY, Row
from study_run import finished

from benchmarks.heldout.statistics import UNKNOWN
from benchmarks.report.tables import Table, percent

AGENTS = (
    Row("CoT (base, C = 0)", "base", "text"),
    Row("CoT-RL", "cot-rl"),
    Row("base with the tool", "base"),
    Row("TIR-SFT", "tir-sft"),
    Row("TIR-RL (TIR-SFT, then GRPO)", "tir-rl"),
    Row("GRPO (ToRL)", "torl"),
    Row("GRPO, leave-one-out", "leave-one-out"),
    Row("PPO", "ppo"),
    Row("THOR, episodes", "thor-episode"),
    Row("THOR, episodes and steps", "thor-step"),
    Row("THOR with self-correction", "thor-step", "correction"),
)
MEASURES = ("code_ratio", "pass_ratio", "accuracy")


def agents_table(out: Path, seeds: Sequence[int]) -> str:
    """Markdown; a row whose runs are not finished has none of their numbers."""
    columns = ("", "seeds", "code ratio %", "pass ratio %", "accuracy %", "wall min", "CPU min")
    costed = of_one_version([spec.name for spec in EASY], out, seeds)
    rows = tuple(_cells(row, out, seeds, costed) for row in AGENTS)
    return (
        "# Every agent on a CPU\n\n"
        f"{Table('', columns, rows).markdown()}\n"
        "`python runs/studies.py all OUT`: held-out problems as in the studies beside this file, "
        "95 % intervals over problems, seeds pooled. Minutes are means over seeds of one version "
        "of the code, of a whole run with its evaluations and without the runs it starts from.\n"
    )


def of_one_version(names: Sequence[str], out: Path, seeds: Sequence[int]) -> list[int]:
    """Seeds whose runs were all made by one commit: of these alone costs can be compared."""
    commits = {
        seed: {r["commit"] for name in names if (r := finished(out, name, seed))} for seed in seeds
    }
    return [seed for seed in seeds if len(commits[seed]) == 1]


def _cells(row: Row, out: Path, seeds: Sequence[int], costed: Sequence[int]) -> tuple[str, ...]:
    found = answers(out, row, seeds)
    numbers = pooled_estimates(found)
    made = [r for seed in costed if (r := finished(out, row.run, seed))]
    minutes = (
        plain(mean(r[f"{kind}_seconds"] / 60 for r in made), 1) if made else "-"
        for kind in ("wall", "cpu")
    )
    shares = (percent(numbers.get(name, UNKNOWN)) for name in MEASURES)
    return (row.label, str(len(found)), *shares, *minutes)
