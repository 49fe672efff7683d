"""Files that are whole or absent: atomic writes, JSON without NaN, records that survive a kill."""

import gzip
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from math import isfinite
from pathlib import Path
from typing import Any


class RecordError(ValueError):
    """A record file cannot be used; the message names the file, the line and the remedy."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object or nothing; `nan` and infinities become null."""
    write_text(path, json.dumps(finite(value), indent=2) + "\n")


def dump_line(value: Mapping[str, Any]) -> str:
    """One JSON line; non-ASCII is escaped, so that no text can break a line or an encoding."""
    return json.dumps(finite(value)) + "\n"


def finite(value: Any) -> Any:
    """The same JSON value with null for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        RecordError: If there is no such file or it is not a JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"expected a JSON file at {path}, found none") from None
    except ValueError as error:
        raise RecordError(f"{path} is not JSON ({error}); delete it and run again") from None
    if not isinstance(value, dict):
        raise RecordError(f"{path} holds a {type(value).__name__}, expected a JSON object")
    return value


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a line file, compressed where its name ends in `.gz`.

    A half-written last line, left by a kill, is skipped.

    Raises:
        RecordError: If there is no such file, or a line before the last is not a JSON object.
    """
    try:
        plain = path.open("rb")
    except FileNotFoundError:
        raise RecordError(f"expected records at {path}, found no such file") from None
    with plain, gzip.open(plain) if path.suffix == ".gz" else nullcontext(plain) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    return
                raise RecordError(
                    f"{path}, line {number} is not JSON ({error}); remove that line and run again"
                ) from None
            if not isinstance(value, dict):
                raise RecordError(f"{path}, line {number}: expected a JSON object: {value!r:.40}")
            yield value


def drop_torn_line(path: Path) -> None:
    """Cut a half-written last line off, so that appending starts on a line of its own."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
