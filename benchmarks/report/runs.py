"""A run directory as the reports read it: metrics, evaluations, transcripts, configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import nan
from operator import itemgetter
from pathlib import Path
from typing import Any

from agents.core.run.storage import RecordError, read_json, read_lines
from agents.core.run.transcripts import read as read_transcripts
from agents.core.types import Trajectory
from benchmarks.heldout.summary import Summary

FIRST = ("before",)
"""Evaluations that come before training, whatever the alphabet says."""


@dataclass(frozen=True, slots=True)
class Run:
    """What lies in one run directory; of metrics and evaluations one may be missing."""

    path: Path
    name: str
    config: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    """One mapping a step, in the order of the file; a step that was done twice counts once."""
    evaluations: Mapping[str, Summary]
    """By name, `before` first."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the training command, from `config.json`."""
        found = self.config.get("options", self.config)
        return found if isinstance(found, Mapping) else {}

    def stage(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """The metrics of one stage (`sft`, `rl`)."""
        return tuple(step for step in self.metrics if step.get("stage", "rl") == name)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in their order."""
        return tuple(dict.fromkeys(str(step.get("stage", "rl")) for step in self.metrics))

    @property
    def learning(self) -> tuple[Mapping[str, Any], ...]:
        """The steps that carry behaviour metrics: reinforcement learning, not imitation."""
        return tuple(step for step in self.metrics if step.get("code_ratio") is not None)

    @property
    def sampled(self) -> float:
        """Ids that all steps of RL sampled."""
        return float(sum(row["count"] * row["tokens"] for row in self.learning))

    def records(self, name: str) -> Path:
        """Where the records of an evaluation lie."""
        return evaluations_folder(self.path) / f"{name}.jsonl"

    def steps(self) -> Iterator[tuple[int, tuple[Trajectory, ...]]]:
        """The answers kept of each step, in order, without their ids."""
        kept = read_transcripts(self.path / "transcripts", arrays=("loss_mask",))
        for step, pairs in groupby(kept, key=itemgetter(0)):
            yield step, tuple(trajectory for _, trajectory in pairs)

    def transcripts(self) -> Iterator[tuple[int, Trajectory]]:
        """Step and trajectory of everything kept in training, in order of steps."""
        return read_transcripts(self.path / "transcripts")


def open_run(path: Path) -> Run:
    """Read a run directory.

    Raises:
        RecordError: If it does not exist or holds neither metrics nor evaluations.
    """
    if not path.is_dir():
        raise RecordError(f"expected a run directory (of torl train or torl eval) at {path}")
    metrics = path / "metrics.jsonl"
    config = path / "config.json"
    run = Run(
        path=path,
        name=path.resolve().name,
        config=read_json(config) if config.exists() else {},
        metrics=_last_of_each_step(read_lines(metrics)) if metrics.exists() else (),
        evaluations=_evaluations(path),
    )
    if not run.metrics and not run.evaluations:
        raise RecordError(f"{path} holds neither metrics.jsonl nor eval/*.summary.json: no run")
    return run


def evaluations_folder(path: Path) -> Path:
    """`RUN/eval` of a training run; the folder itself where `torl eval` wrote into it directly."""
    return path / "eval" if (path / "eval").is_dir() else path


def series(steps: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """One metric over steps, `nan` where it is null or absent."""
    return [float(value) if (value := step.get(name)) is not None else nan for step in steps]


def _last_of_each_step(lines: Iterator[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """A resumed run may write a step again; the later line is the one that counted."""
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for line in lines:
        found[str(line.get("stage", "rl")), int(line.get("step", len(found)))] = line
    return tuple(found.values())


def _evaluations(path: Path) -> dict[str, Summary]:
    folder = evaluations_folder(path)
    files = {
        file.name.removesuffix(".summary.json"): file for file in folder.glob("*.summary.json")
    }
    order = sorted(files, key=lambda name: (not name.startswith(FIRST), name))
    found = {}
    for name in order:
        try:
            found[name] = Summary.from_json(read_json(files[name]))
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f"{files[name]} is not a summary of an evaluation ({error})"
            ) from None
    return found
