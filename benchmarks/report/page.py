"""One self-contained HTML page for any number of runs: curves, tables and a transcript viewer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from agents.core.run.storage import finite, write_text
from agents.core.types import Trajectory
from benchmarks.heldout.cases import MEANING, count_cases
from benchmarks.report.embedding import TOKENS, Embedded, embed
from benchmarks.report.plots import PANELS, curves_svg
from benchmarks.report.runs import Run, series
from benchmarks.report.tables import Table, details, percent, results
from benchmarks.report.transcripts import Survey, collect, survey

LIMIT = 4000
"""Transcripts on one page; a browser stays quick with this many."""
SCRIPTS = ("page.js", "viewer.js", "turns.js", "compare.js")
"""One script in four files, in this order."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How much goes onto a page; of what does not, the page gives the number."""

    limit: int = LIMIT
    """Most transcripts to embed."""
    tokens: int = TOKENS
    """Most ids to embed, with loss mask and log-probabilities."""
    refresh: int = 0
    """Seconds between its looks for a newer page, which it loads unless somebody reads an answer in
    it; 0 is never."""


def write_page(runs: Sequence[Run], path: Path, options: PageOptions | None = None) -> None:
    """Write the page, or nothing.

    Args:
        runs: At least one.
        path: Of the HTML file.
        options: How much goes onto it.
    """
    write_text(path, render(runs, options or PageOptions()))


def render(runs: Sequence[Run], options: PageOptions) -> str:
    """The page as text.

    Args:
        runs: At least one.
        options: How much goes onto it.
    """
    names = labels(runs)
    surveys = [survey(run) for run in runs]
    shown, total = collect(runs, surveys, options.limit)
    found = embed(shown, runs, options.tokens)
    sections = [
        _curves(runs, surveys),
        _results(runs, names),
        _behaviour(names, [one.latest for one in surveys]),
        _viewer(found, total),
        _about(runs, names),
    ]
    page = _asset("page.html")
    for name, text in {
        "title": escape("ToRL Gym: " + ", ".join(names)),
        "refresh": str(options.refresh),
        # A page that is served asks its server whether the run has gone on; a file asks nobody.
        "connect": "; connect-src 'self'" if options.refresh else "",
        "style": _asset("page.css"),
        "body": "\n".join(sections),
        "data": _data(runs, names, found),
        "script": "\n".join(map(_asset, SCRIPTS)),
    }.items():
        page = page.replace(f"<!--{name}-->", text)
    return page


def labels(runs: Sequence[Run]) -> list[str]:
    """A name of its own for each run: that of its folder, with as much of the path as it takes."""
    paths = [run.path.resolve() for run in runs]
    for depth in range(1, max(len(path.parts) for path in paths)):
        found = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(found)) == len(found):
            return found
    return [f"{path} ({number})" for number, path in enumerate(paths, start=1)]


def _asset(name: str) -> str:
    return files("benchmarks.report").joinpath("assets", name).read_text(encoding="utf-8")


def _data(runs: Sequence[Run], names: Sequence[str], found: Embedded) -> str:
    """All script elements that hold data: what is read at once as JSON, the rest packed."""
    parts = [_json("data", {"runs": names, "transcripts": found.index})]
    if any(run.learning for run in runs):
        parts.append(_json("metrics", _metrics(runs, names)))
    packed = {"chunk": found.chunks, "tokens": found.tokens, "pieces": [found.pieces]}
    for kind, chunks in packed.items():
        parts += [
            f'<script id="{kind}-{number}" type="text/plain">{chunk}</script>'
            for number, chunk in enumerate(chunks)
        ]
    return "\n".join(parts)


def _json(name: str, value: object) -> str:
    """A script element of JSON, which cannot end it."""
    text = json.dumps(finite(value), separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script id="{name}" type="application/json">{text}</script>'


def _metrics(runs: Sequence[Run], names: Sequence[str]) -> Mapping[str, Any]:
    """All metrics of all steps, for a download."""
    columns = list(dict.fromkeys(name for run in runs for step in run.metrics for name in step))
    rows = [
        [name, *(step.get(column) for column in columns)]
        for name, run in zip(names, runs, strict=True)
        for step in run.metrics
    ]
    return {"columns": ["run", *columns], "rows": rows}


def _curves(runs: Sequence[Run], surveys: Sequence[Survey]) -> str:
    learning = [run for run in runs if run.learning]
    if not learning:
        return _before_learning(runs)
    bands = {run.path: found.bands for run, found in zip(runs, surveys, strict=True)}
    charts = [curves_svg(panel, learning, bands) for panel in PANELS]
    note = (
        "Bands are 95 % intervals over the problems of a step, drawn where its transcripts were "
        "kept. Point at a dot for its numbers."
    )
    return (
        f'<section id="curves"><h2>Curves</h2><p class="note">{note}</p>'
        f'<div class="charts">{"".join(charts)}</div></section>'
    )


def _before_learning(runs: Sequence[Run]) -> str:
    """What a run that is watched from its beginning has to show: its warm start."""
    said = [
        f"{run.name}: no step of reinforcement learning yet; {len(run.metrics)} of "
        f"{run.stages[-1]}, loss {series(run.metrics, 'loss')[-1]:.3f}."
        for run in runs
        if run.metrics
    ]
    return "".join(f'<p class="note">{escape(one)}</p>' for one in said)


def _results(runs: Sequence[Run], names: Sequence[str]) -> str:
    several = len(runs) > 1
    evaluations = {
        f"{label}: {name}" if several else name: summary
        for label, run in zip(names, runs, strict=True)
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


def _behaviour(names: Sequence[str], latest: Sequence[tuple[str, tuple[Trajectory, ...]]]) -> str:
    """What the answers of the last evaluation (or of the last step) of each run do."""
    parts = []
    for index, (label, (place, trajectories)) in enumerate(zip(names, latest, strict=True)):
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
        table = _table(Table(f"{label}, {place}", columns, rows))
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


def _viewer(found: Embedded, total: int) -> str:
    if not found.index:
        return ""
    shown = len(found.index)
    said = [f"{shown:,} of {total:,} answers shown"]
    if shown < total:
        said[0] += ", whole groups, thinned evenly over problems (--limit)"
    if found.have_tokens:
        said.append(f"tokens of {found.with_tokens:,} of {found.have_tokens:,} (--tokens)")
    if found.figures:
        said.append(f"{found.figures_shown:,} of {found.figures:,} figures")
    return _asset("viewer.html").replace("<!--count-->", "; ".join(said) + ".")


def _about(runs: Sequence[Run], names: Sequence[str]) -> str:
    parts = []
    for label, run in zip(names, runs, strict=True):
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
        table = _table(Table(f"Settings of {label}", ("setting", "value"), tuple(rows)))
        parts.append(f"<details><summary>{escape(label)}</summary>{table}</details>")
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
