"""What single studies show beside accuracies: selectors, calls, what a penalty would hide."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path

from study_plan import Row, Scale, Study
from study_run import finished, folder

from agents.core.types import Trajectory
from benchmarks.heldout import records
from benchmarks.heldout.cases import execution_against_correctness
from benchmarks.heldout.compare import Comparison, compare
from benchmarks.heldout.records import Header, Records
from benchmarks.heldout.selectors import Selector, chosen
from benchmarks.heldout.statistics import Estimate, mean
from benchmarks.heldout.summary import batch_estimates
from benchmarks.report.tables import Table, percent
from torl.commands.compare import comparison_table


def answers(out: Path, row: Row, seeds: Sequence[int]) -> dict[int, Sequence[Trajectory]]:
    """The answers of an evaluation, of each seed whose run is finished."""
    found: dict[int, Sequence[Trajectory]] = {}
    for seed in seeds:
        file = folder(out, row.run, seed) / "eval" / f"{row.evaluation}.jsonl"
        if finished(out, row.run, seed) is not None and file.is_file():
            found[seed] = records.read(file).trajectories
    return found


def pooled_estimates(found: Mapping[int, Sequence[Trajectory]]) -> dict[str, Estimate]:
    """Numbers of all seeds' answers together; none where there is no answer."""
    pooled = [t for some in found.values() for t in some if t.scorable]
    return dict(batch_estimates(pooled)) if pooled else {}


def extras(study: Study, out: Path, seeds: Sequence[int]) -> list[Table]:
    """The tables of this study alone."""
    if study.letter == "a":
        return [_imitated(study, out, seeds)]
    if study.letter == "b":
        found = tool_value(out, seeds)
        title = "Value of the tool after training: A is C = 0, B is C = 1"
        return [replace(comparison_table(found), title=title)] if found else []
    if study.letter == "c":
        return [_as_released(study, out, seeds)]
    if study.letter == "d":
        return [
            _imitated(study, out, seeds),
            _selectors(out, seeds),
            _execution(out, seeds),
            _correction(study, out, seeds),
        ]
    if study.letter == "f":
        return [_correction(study, out, seeds)]
    return []


def _imitated(study: Study, out: Path, seeds: Sequence[int]) -> Table:
    """Accuracy on families whose reference programs were imitated, and on those that were not."""
    rows = []
    for row in study.rows:
        some = [t for part in answers(out, row, seeds).values() for t in part if t.scorable]
        halves = (
            [t for t in some if (t.subject in Scale().imitated) == imitated]
            for imitated in (True, False)
        )
        cells = (
            percent(mean([float(t.correct) for t in half], [t.problem_id for t in half]))
            for half in halves
        )
        rows.append((row.label, *cells))
    columns = ("", "families with traces %", "families without %")
    return Table("Accuracy by what was imitated", columns, tuple(rows))


def tool_value(out: Path, seeds: Sequence[int]) -> Comparison | None:
    """C = 1 against C = 0 after training, whole and by level and family, seeds pooled."""
    both = [answers(out, Row("", name), seeds) for name in ("cot-rl", "torl")]
    common = [seed for seed in both[0] if seed in both[1]]
    if not common:
        return None
    header = Header("pooled seeds", Scale().problems, "", 0, 1, 0, "")
    without, with_tool = (
        Records(header, tuple(t for seed in common for t in some[seed])) for some in both
    )
    return compare(without, with_tool)


def _as_released(study: Study, out: Path, seeds: Sequence[int]) -> Table:
    """Accuracy by verdict beside what averaging penalised scores would call accuracy."""
    rows = []
    for row in study.rows:
        some = [t for part in answers(out, row, seeds).values() for t in part if t.scorable]
        if not some:
            continue
        ids = [t.problem_id for t in some]
        penalised = row.run == "penalty"
        rows.append(
            (
                row.label,
                percent(mean([float(t.correct) for t in some], ids)),
                percent(mean([_released(t, penalised) for t in some], ids)),
                percent(mean([float(t.tool_errors > 0) for t in some], ids)),
            )
        )
    columns = ("", "by verdict %", "as the release averages it %", "answers with a failed call %")
    return Table("What a penalty in the evaluation would do", columns, tuple(rows))


def _released(answer: Trajectory, penalised: bool) -> float:
    """As ToRL's release: -1 and -0.5 count as 0, and -1.5 and 0.5 as they are."""
    score = (1.0 if answer.correct else -1.0) - 0.5 * (penalised and answer.tool_errors > 0)
    return 0.0 if score in (-1.0, -0.5) else score


def _selectors(out: Path, seeds: Sequence[int]) -> Table:
    found = answers(out, Row("", "thor-step", "candidates"), seeds)
    size = Scale().candidates
    sizes = [n for n in (1, 2, 4, 8, 16) if n <= size]
    rows = tuple(
        (
            selector.replace("_", " "),
            *(
                percent(_pooled([chosen(some, n, selector) for some in found.values()]))
                for n in sizes
            ),
        )
        for selector in Selector
    )
    columns = ("selector", *(f"N = {n}" for n in sizes))
    return Table("Best of N over the candidates of T5, accuracy %", columns, rows if found else ())


def _pooled(seeds: Sequence[Mapping[str, float]]) -> Estimate:
    """Mean over problems and seeds, interval over problems."""
    pairs = [(problem, value) for some in seeds for problem, value in some.items()]
    return mean([value for _, value in pairs], [problem for problem, _ in pairs])


def _execution(out: Path, seeds: Sequence[int]) -> Table:
    found = answers(out, Row("", "thor-step", "candidates"), seeds)
    test = execution_against_correctness(t for some in found.values() for t in some)
    (pr, pw), (fr, fw) = test.table
    rows = (
        ("all programs passed", str(pr), str(pw), plain(100 * test.right_if_passed, 1)),
        ("some program failed", str(fr), str(fw), plain(100 * test.right_if_failed, 1)),
    )
    title = f"Execution against correctness: chi2 = {test.statistic:.1f}, p = {test.p_value:.2g}"
    return Table(title, ("answers with code", "right", "wrong", "right %"), rows)


def _correction(study: Study, out: Path, seeds: Sequence[int]) -> Table:
    names = ("tries", "discarded_tokens", "discarded_calls")
    rows = []
    for row in study.rows:
        for seed in seeds if row.evaluation == "correction" else ():
            if record := finished(out, row.run, seed):
                cost = (str(record["correction"][name]) for name in names)
                rows.append((row.label, str(seed), *cost))
    columns = ("", "seed", "steps written again", "tokens taken back", "programs taken back")
    return Table("What self-correction has cost", columns, tuple(rows))


def plain(value: float, digits: int) -> str:
    """A number, or a dash where there is none."""
    return "-" if isnan(value) else f"{value:.{digits}f}"
