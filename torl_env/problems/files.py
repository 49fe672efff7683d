"""Problems from a file: JSON lines, JSON, Parquet or CSV."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torl_env.errors import ProblemError
from torl_env.problems.columns import Columns, detect, is_row, read_row
from torl_env.problems.source import Listed
from torl_env.problems.types import Problem, content_id

Row = Mapping[str, Any]
_CSV_FIELD_LIMIT = 1 << 24
_MOST_DIGITS = 1000


def open_file(
    path: str | Path,
    split: str | None = None,
    *,
    columns: Columns | None = None,
    skipped: list[str] | None = None,
) -> Listed:
    """The problems of a `.jsonl`, `.json`, `.parquet` or `.csv` file, in its order.

    Ids are the column `id` or `unique_id` where every row has its own, else content hashes.

    Args:
        path: The file.
        split: Keep the rows whose column `split` says so, which a row that leaves it blank does
            not; a file where no row says any is a single split of any name.
        columns: Which columns to take; by default found by their names.
        skipped: When given, a row that is no problem is left out and its message appended here;
            by default it is an error.

    Raises:
        ProblemError: the file is missing, empty or malformed, or a row is no problem; the message
            names the line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ProblemError(_no_file(file))
    try:
        reader = _READERS[file.suffix.lower()]
    except KeyError:
        raise ProblemError(
            f"{file}: expected a file that ends in {', '.join(_READERS)}, got {file.suffix!r}."
        ) from None
    problems: list[Problem] = []
    defaults = {"source": file.stem}
    try:
        for where, row in reader(file):
            columns = columns or detect(row, where)
            try:
                problems.append(read_row(row, columns, where, defaults))
            except ProblemError as error:
                if skipped is None:
                    raise
                skipped.append(str(error))
    except UnicodeDecodeError as error:
        raise ProblemError(f"{file}: expected UTF-8 text, got {error}. Convert the file.") from None
    if not problems and not skipped:
        raise ProblemError(f"{file}: expected at least one problem, but the file is empty.")
    return Listed(file.stem, _of_split(with_distinct_ids(problems), split, file))


def with_distinct_ids(problems: list[Problem]) -> list[Problem]:
    """The same problems; with content hashes as ids where their own ids collide."""
    if len({problem.id for problem in problems}) == len(problems):
        return problems
    seen: dict[str, int] = {}
    renamed = []
    for problem in problems:
        base = content_id(problem.question, problem.answer)
        seen[base] = copy = seen.get(base, 0) + 1
        renamed.append(replace(problem, id=base if copy == 1 else f"{base}-{copy}"))
    return renamed


def _of_split(problems: list[Problem], split: str | None, file: Path) -> list[Problem]:
    named = {problem.split for problem in problems} - {""}
    if split is None:
        return problems
    if not named:
        return [replace(problem, split=split) for problem in problems]
    chosen = [problem for problem in problems if problem.split == split]
    if not chosen:
        raise ProblemError(
            f"{file}: expected rows with split {split!r}; its splits are "
            f"{', '.join(sorted(named))}."
        )
    return chosen


def _no_file(file: Path) -> str:
    if file.is_dir():
        return f"{file}: expected a file of problems, got a folder. Name a file in it."
    place = file.parent
    similar = (
        sorted(p.name for p in place.glob("*") if p.suffix in _READERS) if place.is_dir() else []
    )
    there = f"; {place} holds {', '.join(similar[:8])}" if similar else ""
    return f"{file}: expected a file of problems, but it does not exist{there}."


def _read_jsonl(file: Path) -> Iterator[tuple[str, Row]]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                where = f"{file}, line {number}"
                yield where, _as_row(_parse(line, where), where)


def _read_json(file: Path) -> Iterator[tuple[str, Row]]:
    text = file.read_text(encoding="utf-8-sig")
    if not text.strip():
        return
    first, _, rest = text.strip().partition("\n")
    if rest and first.startswith("{") and first.rstrip().endswith("}"):
        # A row a line, as many sets have it under this name; no object ends in its first line.
        yield from _read_jsonl(file)
        return
    content = _parse(text, str(file))
    if isinstance(content, dict):
        held = () if is_row(content) else content.values()
        lists = [value for value in held if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else [content]
    if not isinstance(content, list):
        raise ProblemError(f"{file}: expected a JSON list of objects, got a {_kind(content)}.")
    for number, item in enumerate(content, start=1):
        where = f"{file}, item {number}"
        yield where, _as_row(item, where)


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_int=_parse_int)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}"
        raise ProblemError(
            f"{where}: expected JSON, got {_excerpt(text)} ({error.msg} at {place}). "
            f"Correct or remove it."
        ) from None
    except RecursionError:
        raise ProblemError(
            f"{where}: expected a flat JSON object, got one nested too deep."
        ) from None


def _parse_int(digits: str) -> int | str:
    """A number, or its digits where Python converts no more (4300): an answer is text anyway."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _as_row(item: Any, where: str) -> Row:
    if not isinstance(item, dict):
        raise ProblemError(f"{where}: expected a JSON object, got a {_kind(item)}.")
    return item


def _read_csv(file: Path) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise ProblemError(
                    f"{file}, line {reader.line_num}: expected CSV, got: {error}."
                ) from None
            if row is None:
                return
            where = f"{file}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ProblemError(
                    f"{where}: expected {len(reader.fieldnames or ())} fields as in the header. "
                    f"Quote fields that hold commas or line breaks."
                )
            yield where, row


def _read_parquet(file: Path) -> Iterator[tuple[str, Row]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ProblemError(
            f"{file}: reading Parquet needs pyarrow. Install it with: pip install 'torl-gym[hub]'."
        ) from None
    try:
        with pq.ParquetFile(file) as table:
            start = 0
            for batch in table.iter_batches():
                for number, row in enumerate(batch.to_pylist(), start=start + 1):
                    yield f"{file}, row {number}", row
                start += batch.num_rows
    except pa.ArrowException as error:
        first = str(error).splitlines()[0]
        raise ProblemError(f"{file}: expected a Parquet file, got: {first}") from None


def _excerpt(text: str) -> str:
    short = text.strip().splitlines()[0] if text.strip() else ""
    return repr(short if len(short) <= 60 else short[:57] + "...")


def _kind(value: Any) -> str:
    return {dict: "object", list: "list", str: "string", bool: "boolean"}.get(
        type(value), "null" if value is None else "number"
    )


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
