"""Which columns of a row are the question and the answer, and how they become text."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from rewards.extraction import extract
from torl_env.errors import ProblemError
from torl_env.problems.types import Problem, content_id

QUESTIONS = ("question", "problem", "Problem", "Question", "prompt", "query")
"""Column names that hold a question, by preference."""
ANSWERS = (
    "answer",
    "Answer",
    "final_answer",
    "expected_answer",
    "gt_answer",
    "ground_truth",
    "reward_model.ground_truth",
    "solution",
)
"""Column names that hold an answer, by preference; a dot goes into a nested object."""
_LONGEST_ANSWER = 100
"""Characters of a solution without a box that may still be the answer itself."""
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
_HASHES = re.compile(r"^#### ", re.MULTILINE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_WHOLE = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")


class Reading(StrEnum):
    """How the text of an answer column becomes an answer."""

    PLAIN = "plain"
    """As it is; a number that is whole loses its `.0`."""
    BOXED = "boxed"
    r"""The content of the last `\\boxed{}` of a solution; the text itself when it is short."""
    HASHES = "hashes"
    """What follows `####`, without thousands separators (GSM8K)."""
    INTEGER = "integer"
    """A whole number written in any way: `025` and `27.0` become `25` and `27`."""
    FIRST = "first"
    """The first of a list, without dollar signs (OlympiadBench)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table of problems."""

    question: str
    """Column of the question; a dot goes into a nested object or a list of messages."""
    answers: tuple[str, ...]
    """Columns of the answer: the first that a row has."""
    reading: Reading = Reading.PLAIN


def is_row(item: Mapping[str, Any]) -> bool:
    """Whether this is a problem itself, and nothing that holds a list of them.

    Example:
        >>> is_row({"question": "x^2=4?", "answer": [2, -2]}), is_row({"problems": []})
        (True, False)
    """
    return any(name in item for name in QUESTIONS) and any(_has(item, name) for name in ANSWERS)


def detect(row: Mapping[str, Any], where: str) -> Columns:
    """The columns of a table, from its first row.

    Raises:
        ProblemError: it has no question column or no answer column.

    Example:
        >>> detect({"problem": "1+1?", "answer": "2"}, "a.jsonl").question
        'problem'
    """
    question = next((name for name in QUESTIONS if name in row), None)
    # A column whose first value is missing counts too: each row takes the first that it has.
    answers = tuple(name for name in ANSWERS if _has(row, name))
    if question is None or not answers:
        lacking, known = ("a question", QUESTIONS) if question is None else ("an answer", ANSWERS)
        raise ProblemError(
            f"{where}: expected a column with {lacking}, one of {', '.join(known)}; "
            f"found {', '.join(map(str, row)) or 'none'}. Rename a column."
        )
    return Columns(question, answers)


def value_at(row: Any, path: str) -> Any:
    """The value at a dotted path of objects and list indices, `None` where there is none."""
    for step in path.split("."):
        if isinstance(row, Mapping):
            row = row.get(step)
        elif isinstance(row, list) and step.lstrip("-").isdigit():
            place = int(step)
            row = row[place] if -len(row) <= place < len(row) else None
        else:
            return None
    return row


def read_row(
    row: Mapping[str, Any], columns: Columns, where: str, defaults: Mapping[str, str]
) -> Problem:
    """One row as a problem.

    Args:
        row: Column values.
        columns: Which of them to take.
        where: File and line, for messages.
        defaults: Fields of the problem that the row may override (`source`, `split`).

    Raises:
        ProblemError: the question or the answer is missing or empty.
    """
    question = _readable(question_text, value_at(row, columns.question), where, columns.question)
    if not question:
        raise ProblemError(
            f"{where}: expected text in column {columns.question!r}, "
            f"got {_shown(row, columns.question)}."
        )
    name = next((n for n in columns.answers if _present(value_at(row, n))), columns.answers[0])
    reading = _reading(columns.reading, name)
    answer = _readable(lambda value: answer_text(value, reading), value_at(row, name), where, name)
    if not answer:
        raise ProblemError(
            f"{where}: expected an answer in column {name!r}, got {_shown(row, name)}. "
            f"Remove the row, or let `torl data build` do it."
        )
    context = row.get("context")
    if isinstance(context, str) and context.strip():
        question = f"{context.strip()}\n\n{question}"
    return Problem(
        id=_first_label(row, "id", "unique_id") or content_id(question, answer),
        question=question,
        answer=answer,
        source=_label(row.get("source")) or defaults.get("source", ""),
        split=_label(row.get("split")) or defaults.get("split", ""),
        level=_first_label(row, "level", "difficulty"),
        subject=_first_label(row, "subject", "type", "topic"),
    )


def question_text(value: Any) -> str:
    """A question as text; of chat messages, the last that the user says.

    Raises:
        TypeError: It is neither text nor messages of text.

    Example:
        >>> question_text([{"role": "user", "content": [{"type": "text", "text": "1+1?"}]}])
        '1+1?'
    """
    if not isinstance(value, str) and isinstance(value, Sequence) and not isinstance(value, bytes):
        messages = [item for item in value if isinstance(item, Mapping)]
        if len(messages) < len(value):
            raise TypeError("a list that holds more than messages")
        said = [item.get("content", item.get("value")) for item in messages if _from_user(item)]
        return _content(said[-1]) if said else ""
    return _text(value)


def _content(value: Any) -> str:
    """The text of a message: a string, or parts of which each has a text."""
    if not isinstance(value, list | tuple):
        return _text(value)
    parts: list[str] = []
    for part in value:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            raise TypeError("a message with parts that are no text, such as an image")
        parts.append(text.strip())
    return "\n".join(parts).strip()


def answer_text(value: Any, reading: Reading = Reading.PLAIN) -> str:
    r"""An answer as text, `""` when there is none.

    Raises:
        TypeError: It is an object, bytes that are no text, or a long solution without a box.

    Example:
        >>> answer_text(27.0), answer_text("so \\boxed{\\frac12}.", Reading.BOXED)
        ('27', '\\frac12')
        >>> answer_text("025", Reading.INTEGER), answer_text("16 - 3 = 1,300\n#### 1,300")
        ('25', '1300')
    """
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        parts = [answer_text(item, reading) for item in value]
        if reading is Reading.FIRST:
            return parts[0] if parts else ""
        return ", ".join(filter(None, parts))
    text = _text(value)
    if text.startswith('["') and text.endswith('"]'):
        # A list written as text, as in AIME's and OlympiadBench's files; `["a" or "b"]` is none.
        with suppress(ValueError):
            return answer_text(json.loads(text), reading)
    if reading is Reading.HASHES or (reading is Reading.PLAIN and _HASHES.search(text)):
        said = text.rpartition("####")[2].strip()
        return _THOUSANDS.sub(lambda found: found[0].replace(",", ""), said)
    if reading is Reading.BOXED:
        inside = last_boxed(text)
        if inside is None and len(text) > _LONGEST_ANSWER:
            raise TypeError(f"{len(text)} characters of solution without a \\boxed answer")
        return inside if inside is not None else text
    if reading is Reading.FIRST:
        return text.strip("$ ")
    if reading is Reading.INTEGER:
        inside = last_boxed(text)
        text = text if inside is None else inside
        match = _WHOLE.fullmatch(text)
        return match[1].replace("+", "") + match[2] if match else text
    return text


def last_boxed(text: str) -> str | None:
    r"""The content of the last whole `\boxed` or `\fbox`, as the grader finds it.

    `None` where there is none.

    Example:
        >>> last_boxed(r"\boxed{1} or \boxed{\frac{1}{2}}"), last_boxed(r"\boxed 5")
        ('\\frac{1}{2}', '5')
    """
    found = extract(text)
    while found.problem == "unclosed_box":  # cut off, as no response of a model may be
        text = text[: max(text.rfind(box, 0, found.start) for box in ("\\boxed", "\\fbox"))]
        found = extract(text)
    inside = found.answer
    head = None if inside is None else _BOX.match(inside)
    if inside is None or head is None:
        return inside
    nested = extract(inside)
    alone = (nested.start, nested.end) == (head.end(), len(inside) - 1)
    return last_boxed(inside) if alone else inside


def _reading(reading: Reading, column: str) -> Reading:
    if column == "solution" and reading is Reading.PLAIN:
        return Reading.BOXED
    return reading


def _from_user(message: Mapping[str, Any]) -> bool:
    return str(message.get("role", message.get("from", "user"))) in ("user", "human")


def _number(value: float) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    try:
        return str(value)
    except ValueError:
        # Python prints no integer of more than 4300 digits, to be safe from slow input.
        raise TypeError(f"an integer of {value.bit_length()} bits") from None


def _text(value: Any) -> str:
    """Text of text, of a number, of UTF-8 bytes; of nothing, nothing.

    Raises:
        TypeError: It is something else, whose text would be that of a Python object.
    """
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode().strip()
        except UnicodeDecodeError:
            raise TypeError("bytes that are no UTF-8 text") from None
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        if _HALF_PAIR.search(value):
            raise TypeError("half of a surrogate pair, which no tokenizer reads")
        return value.strip()
    if isinstance(value, Decimal | date):
        return str(value)
    raise TypeError({"dict": "an object"}.get(type(value).__name__, f"a {type(value).__name__}"))


def _label(value: Any) -> str:
    """Text that only describes a problem; what is no text says nothing."""
    try:
        return question_text(value)
    except TypeError:
        return ""


def _first_label(row: Mapping[str, Any], *names: str) -> str:
    return next(filter(None, (_label(row.get(name)) for name in names)), "")


def _readable(read: Callable[[Any], str], value: Any, where: str, column: str) -> str:
    try:
        return read(value)
    except TypeError as error:
        raise ProblemError(
            f"{where}: expected text in column {column!r}, got {error}: {value!r:.80}. "
            "Convert the column, or remove the row."
        ) from None


def _has(row: Any, path: str) -> bool:
    """Whether there is such a column, with a value or without."""
    *before, last = path.split(".")
    place = value_at(row, ".".join(before)) if before else row
    return isinstance(place, Mapping) and last in place


def _present(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) > 0
    return value is not None and (not isinstance(value, str) or bool(value.strip()))


def _shown(row: Mapping[str, Any], path: str) -> str:
    value = value_at(row, path)
    if value is None and _has(row, path):
        return "null"
    if value is None:
        return f"no such column (the row has {', '.join(map(str, row))})"
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."
