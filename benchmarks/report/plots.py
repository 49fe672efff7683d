"""Figure 5 of ToRL (arXiv 2503.23383) for any run, as PNG and CSV.

Colours are Okabe and Ito's, which the colour-blind tell apart; lines differ in dash and are named
where they end, so that the figure also reads in grey.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.core.run.storage import RecordError, replacing
from benchmarks.heldout.compare import Comparison
from benchmarks.report.runs import Run, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, FAINT = "#222222", "#888888"


@dataclass(frozen=True, slots=True)
class Line:
    """One metric in a panel."""

    metric: str
    label: str
    colour: str
    dash: str = "-"


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes."""

    title: str
    lines: tuple[Line, ...]
    share: bool = True
    """Values are shares: the axis shows 0 to 1."""


PANELS = (
    Panel("(a) Code ratio", (Line("code_ratio", "answers with code", BLUE),)),
    Panel("(b) Pass ratio", (Line("pass_ratio", "programs without error", BLUE),)),
    Panel(
        "(c) Pass ratio by correctness",
        (
            Line("pass_ratio_correct", "correct answers", GREEN),
            Line("pass_ratio_wrong", "wrong answers", ORANGE, "--"),
        ),
    ),
    Panel(
        "(d) Code that ran, of all code written",
        (
            Line("executed_ratio", "executed", BLUE),
            Line("success_ratio", "successful", GREEN, "--"),
            Line("before_answer_ratio", "before the answer", PURPLE, ":"),
        ),
    ),
    Panel("(e) Accuracy", (Line("accuracy", "in training", BLUE),)),
    Panel("(f) Mean reward", (Line("reward", "reward", BLUE),), share=False),
)


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Centred moving mean without `nan`; it narrows towards the ends, which stay as they are.

    >>> smooth([0.0, 3.0, float("nan"), 5.0], 3)
    [0.0, 1.5, 4.0, 5.0]
    """
    found = []
    for index in range(len(values)):
        half = min(width // 2, index, len(values) - 1 - index)
        window = values[index - half : index + half + 1]
        finite = [value for value in window if isfinite(value)]
        found.append(sum(finite) / len(finite) if finite else nan)
    return found


def figure5(run: Run, png: Path) -> None:
    """Draw the behaviour metrics, accuracy and reward over the steps of a run.

    Raises:
        RecordError: If the run has no step with behaviour metrics.
    """
    steps = run.learning
    if not steps:
        raise RecordError(f"{run.path}: metrics.jsonl has no step with a code_ratio to draw")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "axes.titlesize": 10, "text.parse_math": False}):
        figure = Figure(figsize=(11, 6.2), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, panel in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
            _draw(axes, panel, steps)
        _mark_evaluations(figure.axes[0], run, "code_ratio")
        _mark_evaluations(figure.axes[1], run, "pass_ratio")
        _mark_evaluations(figure.axes[4], run, "accuracy")
        figure.suptitle(_title(run), fontsize=11, color=INK)
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png")


def write_csv(run: Run, path: Path) -> None:
    """Write every metric of every step, empty where nothing was measured."""
    names = list(dict.fromkeys(name for step in run.metrics for name in step))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(run.metrics)


def draw_differences(found: Comparison, title: str, png: Path) -> None:
    """Draw B - A in accuracy, whole and by level and subject, with 95 % intervals.

    Filled marks are real after Holm's correction, hollow ones may be chance.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = found.lines[::-1]
    with mpl.rc_context({"font.size": 9, "text.parse_math": False}):
        figure = Figure(figsize=(7, 1.2 + 0.32 * len(lines)), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.axvline(0, color=FAINT, linewidth=1)
        for place, line in enumerate(lines):
            gap = line.difference.difference
            colour = BLUE if gap.value >= 0 else ORANGE
            axes.errorbar(
                [gap.value], [place],
                xerr=[[gap.value - gap.low], [gap.high - gap.value]],
                color=colour, marker="D", markersize=5, capsize=3, linewidth=1.4,
                markerfacecolor=colour if line.real else "white",
            )  # fmt: skip
        labels = [f"{line.name} (n={line.difference.difference.count})" for line in lines]
        axes.set_yticks(range(len(lines)), labels)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}")
        axes.set_xlabel("difference in accuracy, points; filled: real at 5 %")
        axes.grid(axis="x", alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png")


def _draw(axes: "Axes", panel: Panel, steps: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    x = series(steps, "step")
    width = max(1, len(steps) // 12) | 1
    for line in panel.lines:
        y = series(steps, line.metric)
        if width > 1:
            axes.plot(x, y, color=line.colour, alpha=0.25, linewidth=0.9)
        axes.plot(
            x, smooth(y, width), color=line.colour, linestyle=line.dash, linewidth=1.8,
            marker="o" if len(steps) <= 30 else "", markersize=3.0, label=line.label,
        )  # fmt: skip
    axes.set_title(panel.title, loc="left", color=INK)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.share:
        axes.set_ylim(-0.03, 1.05)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if len(panel.lines) > 1:
        axes.legend(frameon=False, fontsize=8, loc="best", handlelength=2.4)


def _mark_evaluations(axes: "Axes", run: Run, metric: str) -> None:
    """Held-out values before and after training, with their intervals, at the two ends."""
    x = series(run.learning, "step")
    margin = max(1.0, 0.06 * (x[-1] - x[0]))
    shown = False
    for name, where, face in (("before", x[0] - margin, "white"), ("after", x[-1] + margin, INK)):
        summary = run.evaluations.get(name)
        estimate = getattr(summary, metric) if summary else None
        if estimate is None or not isfinite(estimate.value):
            continue
        axes.errorbar(
            [where], [estimate.value],
            yerr=[[estimate.value - estimate.low], [estimate.high - estimate.value]],
            color=INK, marker="D", markersize=4.5, markerfacecolor=face, capsize=3, linewidth=1.2,
            label=f"held-out {name}, 95 % interval",
        )  # fmt: skip
        shown = True
    if shown:
        axes.legend(frameon=False, fontsize=8, loc="best")


def _title(run: Run) -> str:
    model = str(run.options.get("model", "")).rstrip("/").rpartition("/")[2]
    parts = [run.name, model, f"{len(run.learning)} steps"]
    return "  ·  ".join(part for part in parts if part)
