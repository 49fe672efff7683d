"""One table over many evaluations: a row for each model and protocol, a column for each suite."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from pathlib import Path

from agents.core.run.storage import RecordError, read_json
from benchmarks.heldout import records, summary_path
from benchmarks.heldout.records import Header, different
from benchmarks.heldout.statistics import UNKNOWN, Estimate
from benchmarks.heldout.summary import Summary
from benchmarks.report.tables import Table, percent


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The table and what has to be known to read it."""

    table: Table
    warnings: tuple[str, ...]


def find_summaries(paths: Iterable[Path]) -> list[Summary]:
    """Summaries that are, or lie anywhere under, these paths, in order of their path.

    What was graded again stands in place of what it was made of, where both are found.

    Raises:
        RecordError: If a path holds none, or a file is no summary.
    """
    found: dict[Path, Summary] = {}
    for path in paths:
        files = [_summary(path)] if path.is_file() else sorted(path.rglob("*.summary.json"))
        if not files:
            raise RecordError(f"expected NAME.summary.json of torl eval at or under {path}")
        for file in files:
            try:
                found[file] = Summary.from_json(read_json(file))
            except (KeyError, TypeError) as error:
                raise RecordError(
                    f"{file} is no summary of an evaluation, or one of another version ({error}): "
                    "torl regrade on its records writes a new one"
                ) from None
    return [summary for file, summary in found.items() if not _is_replaced(file, found)]


def _summary(file: Path) -> Path:
    """The summary that a file is, or that stands beside these records."""
    if file.suffix == ".json":
        return file
    beside = summary_path(file)
    if not beside.is_file():
        raise RecordError(records.half(file) or f"{file} has no summary: torl regrade writes one")
    return beside


def _is_replaced(file: Path, found: Mapping[Path, Summary]) -> bool:
    """Whether the same answers are there with newer verdicts."""
    newer = found.get(file.with_name(file.name.replace(".summary.json", ".regraded.summary.json")))
    old = found[file].header
    return newer is not None and replace(newer.header, grader=old.grader) == old


def leaderboard(summaries: Sequence[Summary]) -> Leaderboard:
    """Accuracy of each model and protocol on each suite, best average first.

    Evaluations of one model that differ in any setting, or in its weights, are rows of their own.

    The average is over suites, each weighing the same, and is given only where a row has all of
    them, wholly: averages over different suites are not comparable. A suite of which only the first
    problems were evaluated is marked, 5/500.
    """
    rows: dict[tuple[str, str], dict[str, Estimate]] = {}
    parts: dict[tuple[str, str, str], str] = {}
    doubled = []
    for summary, name in zip(summaries, _protocols(summaries), strict=True):
        key = (summary.header.model, name)
        row = rows.setdefault(key, {})
        if summary.header.problems in row:
            doubled.append(f"{key[0]} on {summary.header.problems}")
        row[summary.header.problems] = summary.accuracy
        parts[(*key, summary.header.problems)] = part_of(summary)
    suites = list(dict.fromkeys(summary.header.problems for summary in summaries))
    # The first five problems of a suite are no measurement of the suite.
    whole = {
        key: {suite: value for suite, value in row.items() if not parts[(*key, suite)]}
        for key, row in rows.items()
    }
    averages = {key: macro_average(row, suites) for key, row in whole.items()}
    order = sorted(rows, key=lambda key: (-_rank(averages[key]), key))
    table = Table(
        "Accuracy %, 95 % intervals",
        ("model", "protocol", *suites, "average"),
        tuple(
            (
                *key,
                *(
                    percent(rows[key].get(suite, UNKNOWN), "-") + parts.get((*key, suite), "")
                    for suite in suites
                ),
                percent(averages[key], "-"),
            )
            for key in order
        ),
    )
    return Leaderboard(table, tuple(_warnings(summaries, doubled)))


def part_of(summary: Summary) -> str:
    """` (5/500)` where the evaluation took only so many problems of its suite, else `""`."""
    made = summary.header
    return f" ({made.count}/{made.of})" if made.cut else ""


def protocol(summary: Summary) -> str:
    """How answers were sampled: numbers of two protocols are not the same measurement.

    Two seeds of one protocol stay apart, since each is a measurement of its own.
    """
    made = summary.header
    settings = made.settings
    name = "greedy" if made.k == 1 and settings.get("temperature") == 0 else f"avg@{made.k}"
    if name != "greedy" and "temperature" in settings:
        name += f" T={settings['temperature']:g}"
    if "tool_budget" in settings:
        name += f" C={settings['tool_budget']}"
    return name + (f" seed {made.seed}" if made.seed else "")


def _protocols(summaries: Sequence[Summary]) -> list[str]:
    """The protocol of each, with the settings in which others of its model and protocol differ."""
    alike: dict[tuple[str, str], list[Summary]] = {}
    for summary in summaries:
        alike.setdefault((summary.header.model, protocol(summary)), []).append(summary)
    found = []
    for summary in summaries:
        name = protocol(summary)
        others = alike[summary.header.model, name]
        apart = sorted({s for other in others for s in _differing(summary.header, other.header)})
        mine = {**summary.header.environment, **summary.header.settings}
        found.append(name + "".join(f" {setting}={mine.get(setting)}" for setting in apart))
    return found


def _differing(one: Header, other: Header) -> list[str]:
    pairs = ((one.settings, other.settings), (one.environment, other.environment))
    return [gap.partition(":")[0] for pair in pairs for gap in different(*pair)]


def macro_average(values: Mapping[str, Estimate], suites: Sequence[str]) -> Estimate:
    """Mean over suites; the suites are independent, so their half-widths add in squares.

    Returns:
        The average, unknown where a suite is missing.
    """
    if not suites or any(suite not in values for suite in suites):
        return UNKNOWN
    parts = [values[suite] for suite in suites]
    value = sum(part.value for part in parts) / len(parts)
    below = sqrt(sum((part.value - part.low) ** 2 for part in parts)) / len(parts)
    above = sqrt(sum((part.high - part.value) ** 2 for part in parts)) / len(parts)
    return Estimate(value, value - below, value + above, sum(part.count for part in parts))


def _rank(estimate: Estimate) -> float:
    return estimate.value if isfinite(estimate.value) else -1.0


def _warnings(summaries: Sequence[Summary], doubled: Sequence[str]) -> Iterable[str]:
    graders = sorted({summary.header.grader for summary in summaries})
    if len(graders) > 1:
        yield f"verdicts of {len(graders)} graders ({', '.join(graders)}); run torl regrade first"
    prints: dict[str, set[str]] = {}
    for summary in summaries:
        prints.setdefault(summary.header.problems, set()).add(summary.header.fingerprint)
    for suite, found in prints.items():
        if len(found) > 1:
            differ = f"({len(found)} sets): torl compare says which two can be compared"
            yield f"{suite}: rows differ in their problems or in the order of these {differ}"
    cut = [f"{s.header.model} on {s.header.problems}{part_of(s)}" for s in summaries if part_of(s)]
    if cut:
        yield f"only a part of the problems, and so in no average: {', '.join(cut)}"
    for s in summaries:
        name = f"{s.header.model} on {s.header.problems}"
        if s.unscorable:
            yield f"{name}: {s.unscorable} of {s.answers} answers lost, to the machine or undecided"
        if s.answers and s.empty == s.answers:
            yield f"{name}: all {s.answers} answers are empty, so that nothing was measured"
    for name in doubled:
        yield f"{name}: measured more than once, the last file counts"
