"""What the tests of the environment share."""

from collections.abc import Iterator

import pytest

from torl_env.sandbox.types import Sandbox
from torl_env.testing import SubprocessSandbox


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """One sandbox for all tests that only need programs to run."""
    with SubprocessSandbox() as sandbox:
        yield sandbox
