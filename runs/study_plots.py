"""One plot a study: how its runs learned, and where they ended on held-out problems."""

import json
from collections.abc import Mapping
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study_plan import Study
from study_run import folder

from benchmarks.report import plots
from benchmarks.report.plots import FAINT, INK, errors, percent, picture, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (*plots.COLOURS, INK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def draw(study: Study, lines: Mapping[str, Any], out: Path, png: Path) -> None:
    """Draw the study: batch accuracy over training on the left, held-out accuracy on the right.

    Args:
        study: What is compared.
        lines: By label: `seeds`, `numbers` and `by_seed`, as the table has them.
        out: Where the runs lie.
        png: The picture.
    """
    looks = {
        row.label: (COLOURS[i % len(COLOURS)], DASHES[(i + i // len(COLOURS)) % len(DASHES)])
        for i, row in enumerate(study.rows)
    }
    with picture(png, 11, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        _curves(left, study, lines, out, looks)
        _ends(right, study, lines, looks)
        seeds = max((len(line.seeds) for line in lines.values()), default=0)
        figure.suptitle(f"({study.letter}) {study.title}, {seeds} seeds", fontsize=11, color=INK)


def _curves(
    axes: "Axes", study: Study, lines: Mapping[str, Any], out: Path, looks: Mapping[str, Any]
) -> None:
    """Accuracy of the sampled batches over the tokens sampled so far; a band from seed to seed."""
    for row in study.rows:
        if row.evaluation != "after":
            continue
        curves = [_curve(folder(out, row.run, seed)) for seed in lines[row.label].seeds]
        curves = [curve for curve in curves if curve]
        if not curves:
            continue
        length = min(map(len, curves))
        columns = [[curve[i] for curve in curves] for i in range(length)]
        tokens = [sum(point[0] for point in column) / len(column) for column in columns]
        values = [[point[1] for point in column] for column in columns]
        colour, dash = looks[row.label]
        middle = [sum(some) / len(some) for some in values]
        axes.plot(tokens, middle, color=colour, linestyle=dash, linewidth=1.8, label=row.label)
        low, high = [min(some) for some in values], [max(some) for some in values]
        axes.fill_between(tokens, low, high, color=colour, alpha=0.12, linewidth=0)
    plain(axes, "In training: accuracy of the sampled batch")
    axes.set_xlabel("tokens sampled so far, in thousands; bands: lowest to highest seed")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}")
    percent(axes.yaxis)
    axes.set_ylim(-0.03, 1.03)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, handlelength=3)


def _curve(run: Path) -> list[tuple[float, float]]:
    """(tokens sampled so far, accuracy of the batch) for each RL step."""
    if not (run / "cost.jsonl").is_file():
        return []
    costs = [json.loads(line) for line in (run / "cost.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row["accuracy"] for row in rows if row["stage"] == "rl"]
    total, found = 0.0, []
    for cost, accuracy in zip(costs, steps, strict=False):
        total += cost["tokens"]
        found.append((total, nan if accuracy is None else accuracy))
    return found


def _ends(axes: "Axes", study: Study, lines: Mapping[str, Any], looks: Mapping[str, Any]) -> None:
    """Held-out accuracy with its interval, and each seed as a small mark."""
    labels = [row.label for row in study.rows][::-1]
    for place, label in enumerate(labels):
        line = lines[label]
        found = line.numbers.get("accuracy")
        if found is None or isnan(found.value):
            continue
        colour, _ = looks[label]
        axes.errorbar(
            [found.value], [place], xerr=errors([found]), color=colour, marker="D", markersize=5,
            capsize=3, linewidth=1.4,
        )  # fmt: skip
        above = [place + 0.22] * len(line.by_seed)
        axes.scatter(line.by_seed, above, s=12, color=FAINT, marker="|")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlim(-0.03, 1.03)
    percent(axes.xaxis)
    plain(axes, "Held-out accuracy after it, 95 % interval; grey: seeds")
