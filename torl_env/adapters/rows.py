"""Data sets of other stacks on disk."""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write a data set as parquet or, where the path ends in .jsonl, as JSON lines.

    Returns:
        The number of rows.
    """
    datasets = importlib.import_module("datasets")
    made = datasets.Dataset.from_list([dict(row) for row in rows])
    if path.suffix == ".parquet":
        made.to_parquet(str(path))
    else:
        made.to_json(str(path))
    return len(made)
