"""A run goes on as it was begun: what is told otherwise is refused, not left aside."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from agents.core.run.folder import Run
from torl.console import CommandError
from torl.training.options import OBJECT, TrainOptions, resolved, to_json
from torl_env.config import OBJECT as NAMELESS

# A cluster that lost a node has its sandbox at another address, and no number depends on it.
_FREE = ("out", "resume", "dry_run", "sandbox")
_OWN = tuple(item.name for item in fields(TrainOptions))


def check_same(asked: TrainOptions, out: Path) -> None:
    """Whether options are those of the run in a folder; objects that no file holds are left out.

    So are its folder and the place of its sandbox.

    Args:
        asked: Those of the run, with what was told in their place.
        out: Its folder.

    Raises:
        CommandError: One is another.
    """
    begun = _whole(_kept(TrainOptions()), Run(out).read_config()["options"])
    changes = [
        f"--{name.replace('_', '-')} was {was}, now {value}"
        for name, was, value in _differences(begun, _kept(resolved(asked)))
        if name not in _FREE
    ]
    if changes:
        raise CommandError(
            f"--resume goes on with the options that a run was begun with: {', '.join(changes)}. "
            f"To change them, begin a new run with its weights: --model {out} --warm-start 0 "
            "--out NEW"
        )


def _kept(options: TrainOptions) -> dict[str, Any]:
    """As a file has them, tuples as lists."""
    found: dict[str, Any] = json.loads(json.dumps(to_json(options)))
    return found


def _whole(usual: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept, and the default of each option that was not known when the run was begun."""
    found = {**usual, **kept}
    for name, value in kept.items():
        if isinstance(value, Mapping) and isinstance(usual.get(name), Mapping):
            found[name] = _whole(usual[name], value)
    return found


def _differences(
    begun: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for name, value in now.items():
        was = begun.get(name)
        if _holds_object(was):
            continue
        if isinstance(was, Mapping) and isinstance(value, Mapping):
            yield from _differences(was, value, f"{prefix}{name}.")
        elif was != value:
            # Options of the environment are told by their short names where those are theirs.
            yield prefix.removeprefix("" if name in _OWN else "env.") + name, was, value


def _holds_object(value: Any) -> bool:
    each = value if isinstance(value, list) else [value]
    return any(isinstance(one, Mapping) and (OBJECT in one or NAMELESS in one) for one in each)
