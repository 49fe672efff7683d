"""The budget of inspect's tool; what needs inspect_ai itself is `benchmarks.stacks inspect`."""

import asyncio
from concurrent.futures import Future

import pytest

from torl_env.adapters.inspect import called
from torl_env.episode import NOTICE
from torl_env.errors import SandboxError
from torl_env.sandbox.types import Execution, Status
from torl_env.testing import FaultySandbox


class Store(dict):
    """inspect's store of a sample."""

    set = dict.__setitem__


class Waiting:
    """A sandbox whose programs end later."""

    def __init__(self):
        self.started = []

    def submit(self, code):
        self.started.append(Future())
        asyncio.get_running_loop().call_later(0.05, self.end, self.started[-1])
        return self.started[-1]

    def end(self, future):
        future.set_result(Execution(Status.OK, stdout="42\n"))


def test_calls_of_one_turn_share_the_budget():
    async def turn():
        return await asyncio.gather(*(called(store, 2, sandbox, f"{i}") for i in range(4)))

    store, sandbox = Store(), Waiting()
    assert asyncio.run(turn()) == ["42", "42", NOTICE, NOTICE]
    assert len(sandbox.started) == 2


def test_a_call_that_the_machine_has_lost_is_not_counted():
    store, sandbox = Store(), FaultySandbox(lambda code, number: "lost" in code)
    with sandbox:
        with pytest.raises(SandboxError):
            asyncio.run(called(store, 1, sandbox, "print('lost')"))
        assert asyncio.run(called(store, 1, sandbox, "print(42)")) == "42"
        assert asyncio.run(called(store, 1, sandbox, "print(42)")) == NOTICE
