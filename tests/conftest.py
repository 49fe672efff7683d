"""What every test relies on."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torl_env.sandbox import LocalSandbox


def pytest_configure() -> None:
    """Let processes that tests start hear Ctrl-C, which a shell's background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def least_seconds(work: Callable[[], object], tries: int = 5) -> float:
    """CPU seconds of a call, the least of some: a pause of the collector falls on one of them."""
    spent = []
    for _ in range(tries):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent)


@pytest.fixture(scope="session")
def box() -> "Iterator[LocalSandbox]":
    """One sandbox for all tests that only need programs to run.

    Each starts servers of its own that load every library: seconds, at the first program and the
    first session.
    """
    from torl_env.sandbox import LocalSandbox

    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def loop_seconds() -> float:
    """CPU seconds that a fixed loop takes on this machine (about 0.01): the unit of time limits."""
    return least_seconds(lambda: sum(number * number % 7 for number in range(200_000)))


@pytest.fixture
def assert_linear(loop_seconds: float) -> Callable[[Callable[[int], Callable[[], object]]], None]:
    """Takes what makes the work of a size; fails if four times the size costs far more than four.

    Quadratic work costs sixteen times as much. What takes less than a tenth of the fixed loop even
    at the large size is too little to tell anything, and is fine.
    """

    def check(make: Callable[[int], Callable[[], object]], size: int) -> None:
        small, large = (least_seconds(make(n), 3) for n in (size, 4 * size))
        assert large < max(9 * small, loop_seconds / 10), (small, large)

    return check
