"""What the tests of the environment share."""

from collections.abc import Iterator

import pytest

from torl_env.sandbox import LocalSandbox, Sandbox


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """One sandbox for all tests that only need programs to run."""
    with LocalSandbox() as sandbox:
        yield sandbox
