"""One self-contained HTML page for any number of runs: curves, tables and a transcript viewer."""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from agents.core.run.storage import finite, write_text
from benchmarks.heldout.cases import MEANING, count_cases
from benchmarks.heldout.statistics import Estimate
from benchmarks.heldout.summary import batch_estimates
from benchmarks.report.plots import PANELS, curves_svg
from benchmarks.report.runs import Run
from benchmarks.report.tables import Table, details, percent, results
from benchmarks.report.transcripts import Shown, collect

LIMIT = 4000
"""Transcripts on one page; a browser stays quick with this many."""


def write_page(runs: Sequence[Run], path: Path, limit: int = LIMIT) -> None:
    """Write the page, or nothing.

    Args:
        runs: At least one.
        path: Of the HTML file.
        limit: Most transcripts to embed; where there are more, the page says so.
    """
    write_text(path, render(runs, limit))


def render(runs: Sequence[Run], limit: int = LIMIT, refresh: int = 0) -> str:
    """The page as text.

    Args:
        runs: At least one.
        limit: Most transcripts to embed.
        refresh: Seconds after which the page loads itself again, unless somebody is reading an
            answer in it; 0 is never.
    """
    shown, total = collect(runs, limit)
    sections = [
        _curves(runs),
        _results(runs),
        _behaviour(runs),
        _viewer(runs, shown, total),
        _about(runs),
    ]
    page = _asset("page.html")
    for name, text in {
        "title": escape("ToRL Gym: " + ", ".join(run.name for run in runs)),
        "refresh": str(refresh),
        "style": _asset("page.css"),
        "body": "\n".join(sections),
        "data": _embed({"transcripts": [item.to_json() for item in shown]}),
        "script": _asset("page.js"),
    }.items():
        page = page.replace(f"<!--{name}-->", text)
    return page


def _asset(name: str) -> str:
    return files("benchmarks.report").joinpath("assets", name).read_text(encoding="utf-8")


def _embed(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(finite(value), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _curves(runs: Sequence[Run]) -> str:
    learning = [run for run in runs if run.learning]
    if not learning:
        return ""
    bands = {run.path: _bands(run) for run in learning}
    charts = [curves_svg(panel, learning, bands) for panel in PANELS]
    note = (
        "Bands are 95 % intervals over the problems of a step, drawn where its transcripts were "
        "kept. Point at a dot for its numbers."
    )
    return (
        f'<section id="curves"><h2>Curves</h2><p class="note">{note}</p>'
        f'<div class="charts">{"".join(charts)}</div></section>'
    )


def _bands(run: Run) -> dict[str, dict[int, Estimate]]:
    """By metric and step, from the transcripts of the steps whose count agrees with the metrics."""
    counts = {int(step["step"]): step.get("count") for step in run.learning}
    found: dict[str, dict[int, Estimate]] = {}
    for step, group in groupby(run.transcripts(), key=lambda pair: pair[0]):
        kept = [trajectory for _, trajectory in group if trajectory.scorable]
        if step in counts and counts[step] in (None, len(kept)):
            for metric, estimate in batch_estimates(kept).items():
                found.setdefault(metric, {})[step] = estimate
    return found


def _results(runs: Sequence[Run]) -> str:
    several = len(runs) > 1
    evaluations = {
        f"{run.name}: {name}" if several else name: summary
        for run in runs
        for name, summary in run.evaluations.items()
    }
    if not evaluations:
        return ""
    parts = [_table(results(evaluations))]
    for name, summary in evaluations.items():
        inner = "".join(_table(table) for table in details(summary))
        if inner:
            parts.append(f"<details><summary>{escape(name)}: more</summary>{inner}</details>")
    return f'<section id="results"><h2>Results</h2>{"".join(parts)}</section>'


def _behaviour(runs: Sequence[Run]) -> str:
    """What the answers of the last evaluation (or of the last step) of each run do."""
    parts = []
    for index, run in enumerate(runs):
        place, trajectories = run.latest()
        if not trajectories:
            continue
        rows = tuple(
            (
                count.case.replace("_", " "),
                percent(count.share),
                percent(count.accuracy, "no such answer"),
                MEANING[count.case],
            )
            for count in count_cases(trajectories)
        )
        columns = ("behaviour", "of answers %", "accuracy with it %", "rule")
        table = _table(Table(f"{run.name}, {place}", columns, rows))
        parts.append(
            f'<div class="cases" data-run="{index}" data-place="{escape(place)}">{table}</div>'
        )
    if not parts:
        return ""
    note = "The name of a behaviour opens its cases in the transcripts below."
    return (
        f'<section id="behaviour"><h2>Behaviour</h2><p class="note">{note}</p>'
        f"{''.join(parts)}</section>"
    )


def _viewer(runs: Sequence[Run], shown: Sequence[Shown], total: int) -> str:
    if not shown:
        return ""
    part = "" if len(shown) == total else f" of {total:,}, thinned evenly by problem"
    names = escape(json.dumps([run.name for run in runs]))
    page = _asset("viewer.html").replace("<!--count-->", f"{len(shown):,}{part}")
    return page.replace("<!--runs-->", names)


def _about(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        rows = [(name, json.dumps(value)) for name, value in run.options.items()]
        if "options" in run.config:
            others = {name: value for name, value in run.config.items() if name != "options"}
            rows += [(name, json.dumps(value)) for name, value in others.items()]
        for name, summary in run.evaluations.items():
            made = summary.header
            rows += [
                (f"{name}: grader", made.grader),
                (f"{name}: seed", str(made.seed)),
                (f"{name}: commit", made.commit or "-"),
                (f"{name}: versions", ", ".join(f"{k} {v}" for k, v in made.versions.items())),
            ]
        table = _table(Table("", ("setting", "value"), tuple(rows)))
        parts.append(f"<details><summary>{escape(run.name)}</summary>{table}</details>")
    return f'<section id="settings"><h2>Settings</h2>{"".join(parts)}</section>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    label = escape(table.title or "table")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">'
        f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
