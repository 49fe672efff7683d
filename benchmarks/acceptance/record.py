"""What a block measured, and the JSON record of all blocks, which an interrupted run takes up."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.core.run.storage import RecordError, finite, read_json, write_json

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


class SkipBlockError(Exception):
    """A block cannot run here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and the bound that it has to keep.

    Example:
        >>> Figure("largest difference", 2e-4, "<", 1e-3).passed
        True
        >>> Figure("largest difference", float("nan"), "<", 1e-3).passed
        False
    """

    name: str
    value: float
    comparison: str = ""
    """`<`, `<=`, `>=`, `==`; `""` for a number that is reported and not judged."""
    bound: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the bound is kept; nan keeps none."""
        return not self.comparison or _COMPARISONS[self.comparison](self.value, self.bound)

    def __str__(self) -> str:
        mark = "ok  " if self.passed else "FAIL"
        bound = f"  ({self.comparison} {self.bound:g})" if self.comparison else ""
        return f"{mark} {self.name}: {self.value:.6g}{bound}"


@dataclass(frozen=True, slots=True)
class BlockResult:
    """How one block went."""

    block: int
    title: str
    state: str
    """`passed`, `failed`, `skipped`, or `error` where it never came to its figures."""
    seconds: float
    figures: Sequence[Figure] = field(default_factory=tuple)
    message: str = ""
    """Why it was skipped, or the end of what it printed before it failed."""
    cpu_seconds: float = 0.0
    """Of all its processes: what it would take, at most, on a machine that does nothing else."""

    @staticmethod
    def of(
        block: int, title: str, figures: Sequence[Figure], seconds: float, cpu_seconds: float = 0.0
    ) -> "BlockResult":
        """A block that came to its end; one without figures has shown nothing and fails."""
        good = bool(figures) and all(figure.passed for figure in figures)
        state = "passed" if good else "failed"
        return BlockResult(block, title, state, seconds, tuple(figures), "", cpu_seconds)


class Record:
    """The JSON file of all blocks.

    Args:
        path: Of the file; what it holds of the same machine and commit counts as done.
        header: Machine, device, versions and commit.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path, self.header = path, dict(header)
        self.results: dict[int, BlockResult] = {}
        if path.exists():
            self._take_up()

    def _take_up(self) -> None:
        stored = read_json(self.path)
        if stored.get("header") != finite(self.header):
            raise RecordError(
                f"{self.path} is of another machine, device, model or commit: name another --out, "
                "or remove it to begin again"
            )
        for row in stored["blocks"]:
            # nan is null on file; a figure that is no number stays one that failed.
            figures = tuple(
                Figure(**{**f, "value": float("nan") if f["value"] is None else f["value"]})
                for f in row.pop("figures")
            )
            self.results[row["block"]] = BlockResult(**row, figures=figures)

    def done(self, block: int) -> bool:
        """Whether this block has passed already."""
        return block in self.results and self.results[block].state == "passed"

    def add(self, result: BlockResult) -> None:
        """Keep a result; the file is whole after every call."""
        self.results[result.block] = result
        blocks = [asdict(self.results[number]) for number in sorted(self.results)]
        write_json(self.path, {"header": self.header, "blocks": blocks})
