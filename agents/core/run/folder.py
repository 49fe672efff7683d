"""The folder of one training run: configuration, metrics, transcripts, checkpoints.

All but weights and ids is text, that of transcripts compressed; every file is either appended to
line by line or appears whole. Metrics hold no clock, so that the same seed gives the same file;
times have a file of their own.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from agents.core.run import transcripts
from agents.core.run.provenance import commit, versions
from agents.core.run.storage import dump_line, write_json, write_text
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
        made_with = {"versions": versions(), "commit": commit()}
        write_json(self.path / "config.json", {**config, "made_with": made_with})

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
        row = {"step": step, "stage": stage, **numbers}
        self._append("metrics.jsonl", row)

    def read_metrics(self, stage: str) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` of one stage, `sft` or `rl`."""
        lines = (self.path / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["stage"] == stage]

    def add_timing(self, step: int, stage: str, seconds: Mapping[str, float]) -> None:
        """Append one line of wall-clock seconds to `timing.jsonl`."""
        if seconds.keys() & {"step", "stage"}:
            raise ValueError("'step' and 'stage' name the line, not a time")
        rounded = {name: round(value, 3) for name, value in seconds.items()}
        self._append("timing.jsonl", {"step": step, "stage": stage, **rounded})

    def write_transcripts(self, step: int, rank: int, rows: Sequence[Trajectory]) -> None:
        """Keep episodes of a step, those of one process, in `transcripts`."""
        transcripts.write(self.path / "transcripts", step, rank, rows)

    def write_branches(self, step: int, rank: int, rows: Sequence[Trajectory]) -> None:
        """Keep branches of a step, those of one process, in `branches`.

        Each is what `rollout.branching.turn_row` makes of it: its last turn, with all that
        stands before it as its prompt; problem and sample name the episode that was left.
        """
        transcripts.write(self.path / "branches", step, rank, rows)

    def add_solve_rates(
        self, step: int, epochs: Mapping[str, int], trajectories: Iterable[Trajectory]
    ) -> None:
        """Append a line for each problem of a step to `solve-rates.jsonl`, which LIMR reads.

        Args:
            step: Number of the step.
            epochs: How often each problem was in an earlier step, by its id.
            trajectories: The step's, grouped by problem.
        """
        for name, group in groupby(trajectories, lambda t: t.problem_id):
            known = [t.correct for t in group if t.scorable]
            row = {"step": step, "stage": "rl", "epoch": epochs.get(name, 0), "problem_id": name}
            if known:
                self._append(
                    "solve-rates.jsonl", {**row, "solved": sum(known), "samples": len(known)}
                )

    def checkpoint(self) -> Path | None:
        """The newest checkpoint that was wholly written."""
        return latest_checkpoint(self.path)

    def rewind(self, stage: str, step: int) -> None:
        """Forget lines of `stage` after `step`: a killed run may be past its checkpoint.

        Halves of checkpoints go with it: the trainer keeps two, and would count them.
        """
        for name in ("metrics.jsonl", "timing.jsonl", "solve-rates.jsonl"):
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
            write_text(file, "".join(kept))
        if stage == "rl":
            for name in ("transcripts", "branches"):
                transcripts.forget_after(self.path / name, step)
            for folder in _checkpoints(self.path):
                if not (folder / COMPLETE).is_file():
                    shutil.rmtree(folder)

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / name).open("a") as file:
            file.write(dump_line(row))


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest subfolder `checkpoint-N` that was wholly written."""
    complete = [c for c in _checkpoints(folder) if (c / COMPLETE).is_file()]
    return max(complete, key=lambda c: int(c.name.rsplit("-", 1)[1]), default=None)


def _checkpoints(folder: Path) -> list[Path]:
    """Subfolders `checkpoint-N`; an archive of one, or one of another name, is the user's own."""
    found = folder.glob("checkpoint-*")
    return [c for c in found if c.name.rsplit("-", 1)[1].isdecimal() and c.is_dir()]
