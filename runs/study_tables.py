"""Tables and plots of the studies, from the records of whatever runs are complete.

Accuracies are means over held-out problems and seeds; intervals resample problems, which all runs
share, so that several seeds of one problem are not taken for several problems. What seeds add to
that is shown by the lowest and highest seed. What a person has to say about a study lies in
DIR/study_X.notes.md and is taken into its page.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from statistics import mean as average
from typing import Any

from study_agents import agents_table, of_one_version
from study_extras import answers, extras, plain, pooled_estimates, tool_value
from study_plan import EXTRA_STEPS, SPECS, Row, Scale, Study
from study_plots import draw
from study_run import finished, folder

from agents.core.run.storage import replacing, write_json, write_text
from agents.core.trainer.options import Training
from agents.core.types import Trajectory
from benchmarks.heldout.statistics import UNKNOWN, Difference, Estimate, holm, paired
from benchmarks.heldout.summary import per_problem
from benchmarks.report.tables import NONE_SCORED, Table, number, percent
from benchmarks.report.value import draw_value, write_value

Seeded = Mapping[int, Sequence[Trajectory]]
"""Answers by seed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What RL has cost, means over seeds of one version of the code; `nan` for a run without RL."""

    wall_per_step: float
    cpu_per_step: float
    cpu_ms_per_token: float
    """CPU milliseconds per sampled token: sampling and learning together."""
    tokens: float
    """Sampled for training, in all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table with its numbers."""

    row: Row
    seeds: tuple[int, ...]
    numbers: Mapping[str, Estimate]
    by_seed: tuple[float, ...]
    """Accuracy of each seed."""
    difference: Difference | None
    """From the reference, over problems, on the seeds that both have."""
    cost: Cost


def write_records(studies: Sequence[Study], out: Path, seeds: Sequence[int], to: Path) -> str:
    """Write Markdown, CSV, JSON and a plot for each study; returns what was written."""
    to.mkdir(parents=True, exist_ok=True)
    written = []
    for study in studies:
        costed = of_one_version(study.runs, out, seeds)
        lines = [_line(study, row, out, seeds, costed) for row in study.rows]
        whole = min((len(line.seeds) for line in lines), default=0)
        if not any(line.seeds for line in lines):
            written.append(f"study {study.letter}: no run is finished yet")
            continue
        stem = to / f"study_{study.letter}"
        tables = [_main_table(study, lines), *extras(study, out, seeds)]
        made = _made(study, out, seeds)
        notes = stem.with_suffix(".notes.md")
        said = [_reading(study, lines), *([notes.read_text()] if notes.is_file() else [])]
        write_text(
            stem.with_suffix(".md"),
            _markdown(study, tables, said, made, f"{whole} of {len(seeds)}"),
        )
        write_json(stem.with_suffix(".json"), _json(study, lines, tables, made))
        _csv(stem.with_suffix(".csv"), lines)
        if study.letter == "b" and (found := tool_value(out, seeds)):
            draw_value(found, "Value of the tool after training", to / "study_b_value.png")
            write_value(found, to / "study_b_value.csv")
        draw(study, {line.row.label: line for line in lines}, out, stem.with_suffix(".png"))
        written.append(f"study {study.letter}: {whole} of {len(seeds)} seeds complete; {stem}.md")
    notes = to / "agents.notes.md"
    said = [agents_table(out, seeds), *([notes.read_text()] if notes.is_file() else [])]
    write_text(to / "agents.md", "\n".join(said))
    return "\n".join(written)


def _line(study: Study, row: Row, out: Path, seeds: Sequence[int], costed: Sequence[int]) -> Line:
    mine = answers(out, row, seeds)
    reference = study.rows[study.reference]
    other = answers(out, reference, seeds)
    common = [seed for seed in mine if seed in other]
    return Line(
        row=row,
        seeds=tuple(mine),
        numbers=pooled_estimates(mine),
        by_seed=tuple(average(t.correct for t in some if t.scorable) for some in mine.values()),
        difference=None if row == reference or not common else _difference(other, mine, common),
        cost=_cost(out, row, [seed for seed in mine if seed in costed]),
    )


def _difference(a: Seeded, b: Seeded, seeds: Sequence[int]) -> Difference:
    first, second = (per_problem([t for s in seeds for t in some[s]]) for some in (a, b))
    problems = [name for name in first if name in second]
    return paired([first[p] for p in problems], [second[p] for p in problems])


def _cost(out: Path, row: Row, seeds: Sequence[int]) -> Cost:
    steps = []
    for seed in seeds:
        file = folder(out, row.run, seed) / "cost.jsonl"
        if file.is_file():
            steps += [json.loads(line) for line in file.read_text().splitlines()]
    if not steps or row.evaluation == "text":
        return Cost(*[float("nan")] * 4)
    tokens = sum(step["tokens"] for step in steps)
    cpu = sum(step["cpu_seconds"] for step in steps)
    return Cost(
        wall_per_step=sum(step["wall_seconds"] for step in steps) / len(steps),
        cpu_per_step=cpu / len(steps),
        cpu_ms_per_token=1000 * cpu / max(tokens, 1),
        tokens=tokens / len(seeds),
    )


def _main_table(study: Study, lines: Sequence[Line]) -> Table:
    tested = [line.difference for line in lines if line.difference]
    adjusted = dict(zip(map(id, tested), holm([d.p_value for d in tested]), strict=True))
    reference = study.rows[study.reference].label
    columns = (
        "", "seeds", "accuracy %", "lowest to highest seed", "code ratio %", "pass ratio %",
        "tokens an answer", f"minus {reference}, points", "p (Holm)", "CPU s a step",
        "wall s a step", "CPU ms a token", "tokens trained on",
    )  # fmt: skip
    rows = []
    for line in lines:
        found = line.numbers
        gap = line.difference
        missing = NONE_SCORED if line.seeds else "not made"
        rows.append(
            (
                line.row.label,
                str(len(line.seeds)),
                percent(found.get("accuracy", UNKNOWN), missing),
                _range(line.by_seed),
                percent(found.get("code_ratio", UNKNOWN), missing),
                percent(found.get("pass_ratio", UNKNOWN), missing),
                number(found["tokens"]) if line.seeds else missing,
                percent(gap.difference) if gap else "-",
                f"{adjusted[id(gap)]:.3f}" if gap else "-",
                plain(line.cost.cpu_per_step, 1),
                plain(line.cost.wall_per_step, 1),
                plain(line.cost.cpu_ms_per_token, 1),
                plain(line.cost.tokens, 0),
            )
        )
    return Table("", columns, tuple(rows))


def _made(study: Study, out: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Commits, versions and the time that the study's runs have taken."""
    found = [r for name in study.runs for seed in seeds if (r := finished(out, name, seed))]
    return {
        "commits": sorted({record["commit"] for record in found}),
        "versions": found[-1]["versions"],
        "scale": found[-1]["scale"],
        "max_tokens": sorted({record["spec"]["max_tokens"] for record in found}),
        "wall_seconds": sum(record["wall_seconds"] for record in found),
        "cpu_seconds": sum(record["cpu_seconds"] for record in found),
        "runs": len(found),
    }


def _reading(study: Study, lines: Sequence[Line]) -> str:
    """Which differences the tests show, and which they do not."""
    compared = [line for line in lines if line.difference]
    adjusted = holm([line.difference.p_value for line in compared if line.difference])
    shown = {True: list[str](), False: list[str]()}
    for line, p in zip(compared, adjusted, strict=True):
        gap = line.difference
        if gap:
            shown[p < 0.05].append(f"{line.row.label} ({100 * gap.difference.value:+.1f} points)")
    parts = [
        f"{what}: {', '.join(names)}."
        for what, names in (("Differ", shown[True]), ("Not shown to differ", shown[False]))
        if names
    ]
    if not parts:
        return ""
    return (
        f"Against {study.rows[study.reference].label}, at 5 % over problems after Holm's "
        f"correction; how training seeds vary is not in these tests. {' '.join(parts)}\n"
    )


def _markdown(
    study: Study,
    tables: Sequence[Table],
    said: Sequence[str],
    made: Mapping[str, Any],
    complete: str,
) -> str:
    training = Training(**made["scale"]["training"])
    scale = Scale(**(made["scale"] | {"training": training}))
    parts = [
        f"# Study {study.letter}: {study.title}\n",
        f"Complete seeds: {complete}. The papers: {study.paper}\n",
        tables[0].markdown(),
        *said,
        *(table.markdown() for table in tables[1:]),
        f"![{study.title}](study_{study.letter}.png)\n",
        *(["![Value of the tool](study_b_value.png)\n"] if study.letter == "b" else []),
        f"`python runs/studies.py {study.letter} OUT`, commit {', '.join(made['commits'])}: "
        f"SmolLM2-135M-Instruct, {scale.problems}, SFT on {scale.traces} traces, RL of "
        f"{training.steps} steps of {training.prompts_per_step} problems x {training.group_size} "
        f"samples (at most {EXTRA_STEPS} more to reach equal tokens), learning rate "
        f"{training.learning_rate:g}, at most "
        f"{' or '.join(map(str, made['max_tokens']))} tokens; {scale.heldout} "
        f"held-out problems at temperature {scale.temperature}, 95 % intervals over problems, "
        f"seeds pooled. {made['runs']} runs, "
        f"{made['cpu_seconds'] / 3600:.1f} CPU hours in {made['wall_seconds'] / 3600:.1f} hours on "
        "shared cores, so wall seconds say little; CPU seconds are the training process's, "
        "without those of its programs.\n",
    ]
    return "\n".join(parts)


def _json(
    study: Study, lines: Sequence[Line], tables: Sequence[Table], made: Mapping[str, Any]
) -> dict[str, Any]:
    needed = [asdict(spec) for spec in SPECS if spec.name in study.runs]
    rows = [asdict(line) for line in lines]
    extra = [asdict(table) for table in tables[1:]]
    return {"study": study.letter, "title": study.title, "rows": rows, "tables": extra} | {
        "runs": needed,
        "made": made,
    }


def _csv(path: Path, lines: Sequence[Line]) -> None:
    measures = ("accuracy", "code_ratio", "pass_ratio", "tool_calls", "tokens")
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ends = [f"{name}{end}" for name in measures for end in ("", "_low", "_high")]
        costs = ("wall_s_per_step", "cpu_s_per_step", "cpu_ms_per_token", "tokens_trained")
        writer.writerow(["row", "run", "evaluation", "seeds", *ends, "difference", "p", *costs])
        for line in lines:
            found = [line.numbers.get(name, UNKNOWN) for name in measures]
            cells = [v for e in found for v in (e.value, e.low, e.high)]
            gap = line.difference
            compared = [gap.difference.value, gap.p_value] if gap else ["", ""]
            row = line.row
            writer.writerow(
                [row.label, row.run, row.evaluation, len(line.seeds)]
                + [v if isfinite(v) else "" for v in cells]
                + compared
                + [v if isfinite(v) else "" for v in asdict(line.cost).values()]
            )


def _range(values: Sequence[float]) -> str:
    return f"{100 * min(values):.1f} to {100 * max(values):.1f}" if values else "-"
