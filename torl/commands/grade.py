"""`torl grade`: explain one verdict, or measure a grader on labelled pairs."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

import rewards
from benchmarks.performance.grading_rows import (
    Grader,
    Judged,
    Row,
    Summary,
    judge,
    load_grader,
    ours,
    read_rows,
)
from benchmarks.report.tables import Table
from torl.console import CommandError, print_table


@dataclass(frozen=True, slots=True)
class GradeOptions:
    r"""Explain a verdict, or measure a grader on a file of labelled pairs.

    torl grade '\frac{1}{2}' 0.5; write -- before an answer that starts with a minus sign.
    """

    pair: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """REFERENCE and ANSWER; an answer with a box in it is read as a whole response."""
    file: Path | None = None
    """JSON Lines with reference, prediction and equal."""
    out: Path | None = None
    """Write every verdict there, as JSON Lines."""
    json: bool = False
    """Print one JSON object and nothing else."""
    grader: str = ""
    """Your own as module:function, of the reference and the answer; ours if empty."""
    clean: bool = False
    """Leave out rows whose field `doubtful` is not empty."""
    show: int = 20
    """Most misses to print."""


def main(options: GradeOptions) -> int:
    """Explain or measure.

    Raises:
        CommandError: Neither a pair nor a file is given, or both.
        RowError: The file or the grader cannot be read.
    """
    grader: Grader = load_grader(options.grader) if options.grader else ours
    if options.file is not None and not options.pair:
        return _measure(options, options.file, grader)
    if options.file is not None or len(options.pair) != 2:
        raise CommandError(
            "expected a reference and an answer (torl grade REFERENCE ANSWER), "
            "or a file of pairs (torl grade --file pairs.jsonl)"
        )
    return _explain(options, *options.pair)


def _explain(options: GradeOptions, reference: str, answer: str) -> int:
    if options.grader:
        judged, _ = judge([Row(reference, answer, True)], load_grader(options.grader))
        found = judged[0].grade
    elif "\\boxed" in answer or "\\fbox" in answer:
        found = rewards.grade(answer, reference)
    else:
        found = rewards.grade_answer(answer, reference)
    facts = {**asdict(found), "verdict": found.verdict.value, "reference": reference}
    facts["rule_file"] = rule_files(found.rule)
    facts["reference_kind"] = _kind(reference)
    facts["answer_kind"] = _kind(found.answer or "")
    if options.json:
        print(json.dumps(facts))
        return 0
    for name in ("verdict", "rule", "rule_file", "detail", "answer", "answer_kind"):
        if facts[name]:
            print(f"{name.replace('_', ' '):15} {facts[name]}")
    print(f"{'reference':15} {reference}\n{'reference kind':15} {facts['reference_kind']}")
    return 0


def rule_files(rule: str) -> str:
    """The files of the package in which a rule decides; `""` for a user's own grader.

    Most rules have one; what several types of answer say alike, such as `type_differs`, has more.
    """
    root = Path(rewards.__file__).parent
    given = re.compile(
        rf'(?:equal|different|undecided|Error|__init__)\(\s*"{re.escape(rule)}"'
        rf'|\w, "{re.escape(rule)}"|\), "{re.escape(rule)}"\)|^\s+"{re.escape(rule)}",?$',
        re.MULTILINE,
    )
    found = [p for p in sorted(root.rglob("*.py")) if given.search(p.read_text(encoding="utf-8"))]
    return ", ".join(path.relative_to(root.parent).as_posix() for path in found)


def _kind(text: str) -> str:
    try:
        return rewards.Reference.compile(text).kind
    except rewards.ReferenceError:
        return "unreadable"


def _measure(options: GradeOptions, path: Path, grader: Grader) -> int:
    rows = [row for row in read_rows(path) if not (options.clean and row.doubtful)]
    judged, summary = judge(rows, grader)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("w", encoding="utf-8") as lines:
            for one in judged:
                lines.write(json.dumps(_verdict(one)) + "\n")
    if options.json:
        print(json.dumps(asdict(summary)))
        return 0
    print_table(_numbers(summary))
    misses = [one for one in judged if not one.right]
    if misses:
        print_table(_misses(misses[: options.show], len(misses)))
    return 0


def _verdict(one: Judged) -> dict[str, object]:
    return {
        "reference": one.row.reference,
        "prediction": one.row.prediction,
        "equal": one.row.equal,
        "verdict": one.grade.verdict.value,
        "rule": one.grade.rule,
        "detail": one.grade.detail,
    }


def _numbers(summary: Summary) -> Table:
    cells = (
        str(summary.n),
        f"{summary.accuracy:.2%}",
        str(summary.false_positives),
        str(summary.false_negatives),
        str(summary.ungradable),
        f"{summary.seconds:.2f}",
        f"{summary.checks_per_second:,.0f}",
    )
    columns = (
        "pairs",
        "accuracy",
        "false positives",
        "false negatives",
        "ungradable",
        "CPU s",
        "checks/s",
    )
    return Table("Grading", columns, (cells,))


def _misses(misses: list[Judged], count: int) -> Table:
    rows = tuple(
        (
            "accepted" if one.accepted else "rejected",
            one.row.reference[:60],
            one.row.prediction[:60],
            one.grade.rule,
            one.grade.detail[:60],
        )
        for one in misses
    )
    columns = ("label missed", "reference", "answer", "rule", "detail")
    return Table(f"{len(misses)} of {count} misses", columns, rows)
