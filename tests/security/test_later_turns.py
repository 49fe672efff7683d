"""What a turn does to its own interpreter does not make later turns of its session lie.

Each patch of patches.txt is tried as a turn; then programs that fail must fail, and one that prints
must print or fail. What machine code (ctypes) writes over the interpreter cannot be undone in the
same process, and what a later turn itself runs of an earlier one is its own: both stay in their
session.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from torl_env.sandbox import Limits, LocalSandbox

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux"),
    pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning"),
]
FAILING = (
    "raise ValueError('the truth')",
    "1/0",
    "x = (",
    "import sys; sys.exit(3)",
    # The compiler warns, and the source is not plain UTF-8: for both it may ask the program.
    "x = 1 is 1\nraise ValueError('\ud800')",
)
LIMITS = Limits(cpu_seconds=2, wall_seconds=20)
PATCHES = {
    name: code
    for part in (Path(__file__).parent / "patches.txt").read_text("utf-8").split("=== ")[1:]
    for name, _, code in [part.partition("\n")]
}
"""By what they patch."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[LocalSandbox]:
    with LocalSandbox(LIMITS) as opened:
        yield opened


def tell_the_truth(sandbox: LocalSandbox, name: str, *, in_place: bool) -> None:
    with sandbox.open_session(preload="bare", in_place=in_place) as session:
        session.run(PATCHES[name])
        results = [session.run(code) for code in (*FAILING, "print(6 * 7)")]
    assert not any(result.ok for result in results[:-1]), (name, results)
    assert results[-1].stdout == "42\n" or not results[-1].ok, name


@pytest.mark.parametrize(
    "in_place", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["forked", "in place"]
)
@pytest.mark.parametrize("name", PATCHES)
def test_later_turns_tell_the_truth(sandbox: LocalSandbox, name: str, in_place: bool) -> None:
    tell_the_truth(sandbox, name, in_place=in_place)


@pytest.mark.slow
def test_later_turns_tell_the_truth_on_every_set(layers_off: tuple[str, ...]) -> None:
    with LocalSandbox(LIMITS, off=layers_off) as opened, ThreadPoolExecutor(8) as pool:
        for in_place in (False, True):
            list(pool.map(partial(tell_the_truth, opened, in_place=in_place), PATCHES))


def test_what_machine_code_changes_stays_in_its_session(layers_off: tuple[str, ...]) -> None:
    zero = (
        "import ctypes, sys\nheld = sys._getframe(1).f_code.co_consts\n"
        "for n, one in enumerate(held):\n"
        "  if one is not None and type(one) is int and one == 1:\n"
        "    ctypes.c_void_p.from_address(id(held) + 24 + 8 * n).value = id(0)"
    )
    with (
        LocalSandbox(LIMITS, off=layers_off) as sandbox,
        sandbox.open_session(preload="bare") as session,
        sandbox.open_session(preload="bare") as other,
    ):
        session.run(zero)
        # Whatever the session says now, it says of itself.
        session.run("1/0")
        assert not other.run("1/0").ok
        with sandbox.open_session(preload="bare") as later:
            assert not later.run("1/0").ok
        assert not sandbox.run("1/0").ok
        assert other.run("print(6 * 7)").stdout == "42\n"
