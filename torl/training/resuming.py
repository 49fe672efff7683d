"""A run goes on as it was begun: what is told otherwise is refused, not left aside."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agents.core.run.folder import Run
from torl.console import CommandError
from torl.training.options import OBJECT, TrainOptions, resolved, to_json

_FREE = ("out", "resume")


def check_same(asked: TrainOptions, out: Path) -> None:
    """Whether options are those of the run in a folder; objects that no file holds are left out.

    Args:
        asked: Those of the run, with what was told in their place.
        out: Its folder.

    Raises:
        CommandError: One is another.
    """
    begun = {**to_json(TrainOptions()), **Run(out).read_config()["options"]}
    # As a file has them, tuples as lists.
    now = json.loads(json.dumps(to_json(resolved(asked))))
    changes = [
        f"--{name.replace('_', '-')} was {was}, now {value}"
        for name, was, value in _differences(begun, now)
        if name not in _FREE
    ]
    if changes:
        raise CommandError(
            f"--resume goes on with the options that a run was begun with: {', '.join(changes)}. "
            f"To change them, begin a new run with its weights: --model {out} --warm-start 0 "
            "--out NEW"
        )


def _differences(
    begun: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name, value in now.items():
        was = begun.get(name)
        if isinstance(was, Mapping) and isinstance(value, Mapping) and OBJECT not in was:
            inner = "" if name == "env" else f"{name}."
            for key, *both in _differences(was, value):
                yield f"{inner}{key}", both[0], both[1]
        elif was != value and not _holds_object(was):
            yield name, was, value


def _holds_object(value: Any) -> bool:
    each = value if isinstance(value, list) else [value]
    return any(isinstance(one, Mapping) and OBJECT in one for one in each)
