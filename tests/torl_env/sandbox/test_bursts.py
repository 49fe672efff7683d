"""How many children a fork server keeps waiting."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("fork servers need Linux", allow_module_level=True)

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.forkserver.runs import BURST, LONG_BURST
from torl_env.testing import children


def most_waiting(sandbox: LocalSandbox) -> int:
    """Children that one server has forked ahead of need, where no program runs."""
    # A server with namespaces is the only child of the half of it that waits outside.
    return max(
        len(children(below[0] if len(below := children(server)) == 1 else server))
        for server in sandbox.server_pids()
    )


def test_no_more_than_a_burst_is_forked_ahead():
    idle = 2
    with LocalSandbox(concurrency=64, servers=1, idle=idle) as sandbox:
        sandbox.warm()
        calm = most_waiting(sandbox)
        outputs = [sandbox.submit("print(1 + 1)") for _ in range(300)]
        assert {output.result(60).stdout for output in outputs} == {"2\n"}
        loaded = most_waiting(sandbox)
    assert calm < idle + BURST
    assert loaded < idle + LONG_BURST
