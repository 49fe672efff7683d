"""When a fork server gathers the libraries that it has loaded, and what a burst of forks keeps."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("fork servers need Linux", allow_module_level=True)

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.forkserver import gather
from torl_env.sandbox.forkserver.runs import BURST, LONG_BURST
from torl_env.testing import children

PIECE = gather.Mapping(0, 4096, "r-xp", True, "/lib/a.so")


@pytest.mark.parametrize(
    ("mappings", "huge", "worth"),
    [
        (33, 0, True),  # as many mappings as four huge pages have entries by the 64
        (32, 0, False),
        (1, 4, True),
        (17, 2, True),
        (16, 2, False),
    ],
)
def test_gathering_is_worth_it_where_a_fork_copies_less(monkeypatch, mappings, huge, worth):
    found = iter([huge])
    monkeypatch.setattr(gather, "collapse", lambda *_: next(found))
    block = gather._anonymous(5 * gather.HUGE)
    try:
        copy = (block + gather.HUGE - 1) & -gather.HUGE
        span = gather.Span(0, 4 * gather.HUGE, [PIECE] * mappings)
        assert gather._prepare([span], [copy]) is worth
    finally:
        gather._unmap(block, block + 5 * gather.HUGE)


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
