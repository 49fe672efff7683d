"""Labelled pairs of answers: read them, grade them, count what was right."""

import importlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewards import Grade, Verdict, grade_answer
from rewards.grader import forget

Grader = Callable[[str, str], Grade | bool]
"""Takes the reference and the answer; says a `Grade`, or whether they are equal."""


class RowError(ValueError):
    """A line of the file is no labelled pair, or no grader has this name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled pair."""

    reference: str
    prediction: str
    equal: bool
    kind: str = ""
    doubtful: str = ""
    """Why the label is not to be trusted, `""` where it is."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled pair with what a grader said of it."""

    row: Row
    grade: Grade

    @property
    def accepted(self) -> bool:
        """Whether the grader would pay for it."""
        return self.grade.verdict is Verdict.CORRECT

    @property
    def right(self) -> bool:
        """Whether grader and label agree; what is ungradable is not accepted."""
        return self.accepted == self.row.equal


@dataclass(frozen=True, slots=True)
class Summary:
    """How a grader did on a file."""

    n: int
    accuracy: float
    false_positives: int
    false_negatives: int
    ungradable: int
    seconds: float
    checks_per_second: float


def read_rows(path: Path) -> list[Row]:
    """The pairs of a JSON Lines file with `reference`, `prediction` and `equal`.

    Raises:
        RowError: A line is something else; the message has its number.
    """
    return list(_rows(path))


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                row = Row(
                    str(data["reference"]),
                    str(data["prediction"]),
                    bool(data["equal"]),
                    str(data.get("kind") or ""),
                    str(data.get("doubtful") or ""),
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RowError(
                    f"{path}:{number}: expected an object with reference, prediction and equal, "
                    f"found {line.strip()[:80]!r} ({error!r})"
                ) from None
            yield row


GAMING = tuple(read_rows(Path(__file__).with_name("gaming.jsonl")))
"""Probes that try to be paid without the answer, and honest ones beside them."""


def ours(reference: str, answer: str) -> Grade:
    """The grader of this package."""
    return grade_answer(answer, reference)


def load_grader(name: str) -> Grader:
    """The grader called `module:function`; it takes the reference and the answer, in this order.

    Raises:
        RowError: There is no such function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise RowError(
            f"no grader {name!r} ({error}); expected module:function, a function of the reference "
            "and the answer that returns a bool or a rewards.Grade"
        ) from None
    if not callable(found):
        raise RowError(f"{name!r} is no function but {type(found).__name__}")
    grader: Grader = found
    return grader


def judge(rows: Sequence[Row], grader: Grader = ours) -> tuple[list[Judged], Summary]:
    """Grade every row in this process, with nothing remembered from before.

    Returns:
        The judged rows in order, and the counts; seconds are CPU seconds of this process.
    """
    if grader is ours:
        grade_answer(r"\sqrt{e}", "e^{0.5}")  # loads what the first answer would have to wait for
    forget()
    started = time.process_time()
    said = [grader(row.reference, row.prediction) for row in rows]
    seconds = time.process_time() - started
    judged = [Judged(row, _as_grade(row, found)) for row, found in zip(rows, said, strict=True)]
    return judged, summarise(judged, seconds)


def _as_grade(row: Row, found: Grade | bool) -> Grade:
    if isinstance(found, Grade):
        return found
    verdict = Verdict.CORRECT if found else Verdict.WRONG
    return Grade(verdict, row.prediction, "grader")


def summarise(judged: Sequence[Judged], seconds: float) -> Summary:
    """The counts over judged rows."""
    n = len(judged)
    return Summary(
        n=n,
        accuracy=sum(one.right for one in judged) / n if n else 0.0,
        false_positives=sum(one.accepted and not one.row.equal for one in judged),
        false_negatives=sum(one.row.equal and not one.accepted for one in judged),
        ungradable=sum(one.grade.verdict is Verdict.UNGRADABLE for one in judged),
        seconds=seconds,
        checks_per_second=n / seconds if seconds else 0.0,
    )


def shared_data() -> Path:
    """The nearest `shared/data` above this checkout: data that is not part of the repository.

    Raises:
        RowError: There is none.
    """
    places = (parent / "shared" / "data" for parent in Path(__file__).parents)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise RowError(f"no shared/data above {Path(__file__).parent}; name the folder by --data")
    return found
