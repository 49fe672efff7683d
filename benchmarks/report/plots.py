"""All charts: figure 5 of ToRL (arXiv 2503.23383) for any run, intervals, and the page's curves.

Matplotlib draws them, as PNG files and as inline SVG that takes its colours from the page. Colours
are Okabe and Ito's, which the colour-blind tell apart; lines differ in dash too, so that a picture
also reads in grey.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.core.run.storage import RecordError, replacing
from benchmarks.heldout.compare import Comparison
from benchmarks.heldout.statistics import Estimate
from benchmarks.report.runs import Run, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""In the page's order `--c0` to `--c5`; its style sheet has a darker and a lighter set."""
BLUE, ORANGE, GREEN, PURPLE = COLOURS[:4]
INK, FAINT, PALE = "#222222", "#888888", "#d5dae0"
DASHES = ("-", "--", ":")
_STYLE = {"font.size": 9, "axes.titlesize": 10, "text.parse_math": False, "grid.color": PALE}
_SVG = "http://www.w3.org/2000/svg"


@dataclass(frozen=True, slots=True)
class Line:
    """One metric in a panel."""

    metric: str
    label: str
    colour: str = BLUE
    dash: str = "-"


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes."""

    title: str
    lines: tuple[Line, ...]
    share: bool = True
    """Values are shares: the axis shows 0 to 1."""


PANELS = (
    Panel("(a) Code ratio", (Line("code_ratio", "answers with a call"),)),
    Panel("(b) Pass ratio", (Line("pass_ratio", "calls without error"),)),
    Panel(
        "(c) Pass ratio by correctness",
        (
            Line("pass_ratio_correct", "correct answers", GREEN),
            Line("pass_ratio_wrong", "wrong answers", ORANGE, "--"),
        ),
    ),
    Panel(
        "(d) Calls that ran, of all written",
        (
            Line("executed_ratio", "executed"),
            Line("success_ratio", "successful", GREEN, "--"),
            Line("before_answer_ratio", "before the answer", PURPLE, ":"),
        ),
    ),
    Panel("(e) Accuracy", (Line("accuracy", "in training"),)),
    Panel("(f) Mean reward", (Line("reward", "reward"),), share=False),
)
_EVALUATED = ("code_ratio", "pass_ratio", "accuracy")
"""Metrics that a held-out evaluation has too."""


Bands = Mapping[str, Mapping[int, Estimate]]
"""Intervals by metric and step."""


@contextmanager
def picture(png: Path, width: float, height: float) -> "Iterator[Figure]":
    """A figure of so many inches, written as PNG at the end."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        yield figure
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png")


def plain(axes: "Axes", title: str) -> None:
    """The look that all axes share."""
    axes.set_title(title, loc="left", color=INK)
    axes.grid(linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def percent(axis: Any) -> None:
    """Label an axis of shares."""
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def errors(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Down and up, as `errorbar` takes them; none where one problem alone has no interval."""
    down = [e.value - e.low if isfinite(e.low) else 0.0 for e in estimates]
    return [down, [e.high - e.value if isfinite(e.high) else 0.0 for e in estimates]]


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
    width = max(1, len(steps) // 12) | 1
    x = series(steps, "step")
    with picture(png, 11, 6.2) as figure:
        for axes, panel in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
            for line in panel.lines:
                y = series(steps, line.metric)
                if width > 1:
                    axes.plot(x, y, color=line.colour, alpha=0.25, linewidth=0.9)
                axes.plot(
                    x, smooth(y, width), color=line.colour, linestyle=line.dash, linewidth=1.8,
                    marker="o" if len(steps) <= 30 else "", markersize=3.0, label=line.label,
                )  # fmt: skip
            _over_steps(axes, panel)
            marked = panel.lines[0].metric in _EVALUATED and _mark_evaluations(
                axes, run, panel.lines[0].metric
            )
            if marked or len(panel.lines) > 1:
                axes.legend(frameon=False, fontsize=8, loc="best", handlelength=2.4)
        figure.suptitle(_title(run), fontsize=11, color=INK)


def _over_steps(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    plain(axes, panel.title)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.share:
        axes.set_ylim(-0.03, 1.05)
        percent(axes.yaxis)


def _mark_evaluations(axes: "Axes", run: Run, metric: str) -> bool:
    """Held-out values before and after training, with their intervals, at the two ends."""
    x = series(run.learning, "step")
    margin = max(1.0, 0.06 * (x[-1] - x[0]))
    shown = False
    for name, where, face in (("before", x[0] - margin, "white"), ("after", x[-1] + margin, INK)):
        summary = run.evaluations.get(name)
        estimate = getattr(summary, metric) if summary else None
        if estimate is not None and isfinite(estimate.value):
            shown = True
            axes.errorbar(
                [where], [estimate.value], yerr=errors([estimate]), color=INK, marker="D",
                markersize=4.5, markerfacecolor=face, capsize=3, linewidth=1.2,
                label=f"held-out {name}, 95 % interval",
            )  # fmt: skip
    return shown


def _title(run: Run) -> str:
    model = str(run.options.get("model", "")).rstrip("/").rpartition("/")[2]
    parts = [run.name, model, f"{len(run.learning)} steps"]
    return "  ·  ".join(part for part in parts if part)


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
    lines = found.lines[::-1]
    with picture(png, 7, 1.2 + 0.32 * len(lines)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=FAINT, linewidth=1)
        for place, line in enumerate(lines):
            gap = line.difference.difference
            colour = BLUE if gap.value >= 0 else ORANGE
            axes.errorbar(
                [gap.value], [place], xerr=errors([gap]), color=colour, marker="D", markersize=5,
                capsize=3, linewidth=1.4, markerfacecolor=colour if line.real else "white",
            )  # fmt: skip
        labels = [f"{line.name} (n={line.difference.difference.count})" for line in lines]
        plain(axes, title)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(lines)), labels)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}")
        axes.set_xlabel("difference in accuracy, points; filled: real at 5 %")


def curves_svg(
    panel: Panel, runs: Sequence[Run], bands: Mapping[Path, Mapping[str, Mapping[int, Estimate]]]
) -> str:
    """A panel over any number of runs as a `<figure>` of the page.

    One colour a metric for a single run, one colour a run and one dash a metric for several.

    Args:
        panel: What to draw.
        runs: At least one, each with `learning` steps.
        bands: Intervals of each run, where they are known.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tips: dict[str, list[str]] = {}
    # The salt keeps the ids of two charts of one page apart.
    style = {**_STYLE, "svg.fonttype": "none", "svg.hashsalt": panel.title, "xtick.color": FAINT}
    with mpl.rc_context({**style, "ytick.color": FAINT, "axes.edgecolor": PALE}):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        axes = figure.add_subplot()
        for index, run in enumerate(runs):
            for place, line in enumerate(panel.lines):
                label = f"{run.name}: {line.label}" if len(runs) > 1 else line.label
                colour = COLOURS[(index if len(runs) > 1 else place) % len(COLOURS)]
                x, y = series(run.learning, "step"), series(run.learning, line.metric)
                known = bands[run.path].get(line.metric, {})
                found = [known.get(int(step), Estimate(nan, nan, nan, 0)) for step in x]
                low, high = [e.low for e in found], [e.high for e in found]
                axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
                axes.plot(x, y, color=colour, linestyle=DASHES[place % 3], label=label)
                name = f"dots-{len(tips)}"
                axes.plot(x, y, color=colour, linestyle="", marker="o", markersize=3, gid=name)
                points = zip(x, y, found, strict=True)
                tips[name] = [_tip(label, *point) for point in points if isfinite(point[1])]
        _over_steps(axes, panel)
        axes.set_title("", loc="left")
        if len(tips) > 1:
            axes.legend(frameon=False, fontsize=8, handlelength=2.4)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    head = f"<figure><figcaption>{escape(panel.title)}</figcaption>"
    if not any(tips.values()):
        return f"{head}<p>not measured</p></figure>"
    return f"{head}{_inline(file.getvalue(), panel.title, tips)}</figure>"


def _tip(label: str, step: float, value: float, band: Estimate) -> str:
    text = f"{label}, step {step:g}: {value:.3f}"
    return text + (f" [{band.low:.3f}, {band.high:.3f}]" if isfinite(band.low) else "")


def _inline(svg: str, title: str, tips: Mapping[str, Sequence[str]]) -> str:
    """A drawing of matplotlib as part of a page: named, with tips, in the page's colours."""
    from xml.etree import ElementTree

    # Inside HTML only this prefix is known.
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        dots = parent.iter(f"{{{_SVG}}}use") if parent.get("id") in tips else ()
        for dot, tip in zip(dots, tips.get(parent.get("id", ""), ()), strict=True):
            ElementTree.SubElement(dot, f"{{{_SVG}}}title").text = tip
    for parent in root.iter():
        # Clipping goes by ids, and nothing is drawn outside; ids of groups occur in every chart.
        parent.attrib.pop("clip-path", None)
        if parent.tag == f"{{{_SVG}}}g":
            parent.attrib.pop("id", None)
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}clipPath", f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for name in ("width", "height"):
        root.attrib.pop(name)
    root.attrib |= {"role": "img", "aria-label": title}
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(r"font-family: [^;]*; ", "", text)
    for place, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--c{place})")
    return (
        text.replace(FAINT, "var(--soft)").replace(INK, "var(--soft)").replace(PALE, "var(--line)")
    )
