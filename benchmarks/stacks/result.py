"""What one stack ran: the row of the table."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MARK = "stacks result: "
"""Begins the line on which a check, in its own environment, says what it ran."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row; a check fills in what it saw, the command the last four fields."""

    version: str
    ran: str
    """Which of the stack's own parts."""
    episodes: int = 0
    tokens: int | None = None
    """Sampled ids, `None` where the stack deals in text."""
    steps: int = 0
    """Steps of training."""
    ids_equal: bool | None = None
    """Whether ids and masks are those of our own rollouts; `None` where there are none."""
    fault: str = ""
    """What became of a rollout whose machine died or whose grade is undecided, as was seen."""
    not_run: str = ""
    """What could not run here, and why."""
    stack: str = ""
    begun: str = ""
    """When the command began that ran it; rows of one run have the same."""
    commit: str = ""
    """Of this tree; `+` behind it where files of it were not those of the commit."""
    fresh: bool = False
    """It made the environment from nothing."""


def report(result: Result) -> None:
    """Say it to the process that started this check."""
    print(MARK + json.dumps(asdict(result)), flush=True)


def read(output: str) -> Result:
    """The row in a check's output.

    Raises:
        ValueError: There is none.
    """
    for line in output.splitlines():
        if line.startswith(MARK):
            kept: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return Result(**kept)
    raise ValueError(f"expected a line that begins with {MARK!r}")


def commit_of(checkout: Path) -> str:
    """The version of a stack that is on no registry: its commit and the day of it."""
    done = subprocess.run(
        ["git", "-C", str(checkout), "log", "-1", "--format=%h of %cs"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "a checkout"
