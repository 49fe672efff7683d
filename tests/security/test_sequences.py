"""Hostile turns and branches in a row: each has one of the statuses that it may have.

sequences.txt has a step after `--- turn` (in the session) or `--- branch` (in a new branch of it),
with the statuses allowed and, after `|`, what it prints where it succeeds.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from torl_env.sandbox import Limits, LocalSandbox

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux"),
    pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning"),
]
TEXT = (Path(__file__).parent / "sequences.txt").read_text("utf-8")
STEP = re.compile(r"^--- (turn|branch): ([a-z_ ]+?)(?: \| (.*))?\n", re.MULTILINE)
SEQUENCES = {part.partition("\n")[0]: part for part in TEXT.split("=== ")[1:]}


@pytest.fixture(scope="module")
def sandbox(layers_off: tuple[str, ...]) -> Iterator[LocalSandbox]:
    limits = Limits(cpu_seconds=0.4, wall_seconds=1.2, memory_mb=128, output_bytes=4096)
    with LocalSandbox(limits, off=layers_off) as opened:
        yield opened


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_step_ends_as_it_may(sandbox: LocalSandbox, name: str) -> None:
    _, *steps = STEP.split(SEQUENCES[name])
    with (
        sandbox.open_session(preload="bare") as session,
        sandbox.open_session(preload="bare") as beside,
    ):
        beside.run("y = 1")
        for where, statuses, printed, code in zip(*[iter(steps)] * 4, strict=True):
            if where == "turn":
                result = session.run(code)
            else:
                with session.branch() as branch:
                    result = branch.run(code)
            assert str(result.status) in statuses.split(), (code, result)
            assert not (result.ok and printed) or result.stdout == f"{printed}\n", (code, result)
        assert beside.run("print(y)").stdout == "1\n"
    assert sandbox.run("print(2)").stdout == "2\n"
