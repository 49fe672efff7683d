"""The folder of one training run: configuration, metrics, transcripts, checkpoints.

Everything a reader needs is a text file; every file is either appended to line by line or appears
whole. Metrics hold no clock, so that the same seed gives the same file; times have a file of their
own.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from agents.core.types import Trajectory

COMPLETE = "complete"
"""An empty file that marks a checkpoint as wholly written."""


class RunError(Exception):
    """A run folder cannot be used; the message says what to do."""


class Run:
    """A run folder.

    Args:
        path: The folder; made when something is first written to it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def warm_start(self) -> Path:
        """Where the weights after the SFT stage are kept."""
        return self.path / "warm-start"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.json`: the settings, and versions and commit for the record."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(
            self.path / "config.json", json.dumps({**config, "made_with": provenance()}, indent=2)
        )

    def read_config(self) -> dict[str, Any]:
        """The settings the run was started with.

        Raises:
            RunError: This is no run folder.
        """
        file = self.path / "config.json"
        if not file.is_file():
            raise RunError(
                f"{self.path} is no run folder: expected a config.json, as `torl train` writes"
            )
        config: dict[str, Any] = json.loads(file.read_text())
        return config

    def add_metrics(self, step: int, stage: str, numbers: Mapping[str, float]) -> None:
        """Append one line to `metrics.jsonl`; numbers that are not finite become null."""
        row = {"step": step, "stage": stage, **{k: _finite(v) for k, v in numbers.items()}}
        self._append("metrics.jsonl", row)

    def add_timing(self, step: int, stage: str, seconds: Mapping[str, float]) -> None:
        """Append one line of wall-clock seconds to `timing.jsonl`."""
        if seconds.keys() & {"step", "stage"}:
            raise ValueError("'step' and 'stage' name the line, not a time")
        rounded = {name: round(value, 3) for name, value in seconds.items()}
        self._append("timing.jsonl", {"step": step, "stage": stage, **rounded})

    def write_transcripts(self, step: int, trajectories: Iterable[Trajectory]) -> None:
        """Write all episodes of a step to `transcripts/step-NNNNNN.jsonl`."""
        folder = self.path / "transcripts"
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(t.to_json()) + "\n" for t in trajectories)
        write_whole(folder / f"step-{step:06d}.jsonl", lines)

    def checkpoint(self) -> Path | None:
        """The newest checkpoint that was wholly written."""
        return latest_checkpoint(self.path)

    def rewind(self, stage: str, step: int) -> None:
        """Forget lines of `stage` after `step`: a killed run may be past its checkpoint."""
        for name in ("metrics.jsonl", "timing.jsonl"):
            file = self.path / name
            if not file.is_file():
                continue
            kept = []
            for line in file.read_text().splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if row["stage"] != stage or row["step"] <= step:
                    kept.append(line + "\n")
            write_whole(file, "".join(kept))

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / name).open("a") as file:
            file.write(json.dumps(row) + "\n")


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest subfolder `checkpoint-N` that was wholly written."""
    complete = [c for c in folder.glob("checkpoint-*") if (c / COMPLETE).is_file()]
    return max(complete, key=lambda c: int(c.name.rsplit("-", 1)[1]), default=None)


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, never half of it."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        scratch.write_text(text)
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def provenance() -> dict[str, Any]:
    """Versions of what computes, and the commit of this repository where there is one."""
    versions = {}
    for name in ("torl-gym", "torch", "transformers", "trl", "gymnasium", "numpy", "sympy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "versions": versions, "commit": _commit()}


def _commit() -> str | None:
    """HEAD of the repository this file is in, `None` for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
