"""What every sandbox shares: the ways to call it, built on one way to start a program."""

from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Self

from torl_env.errors import SandboxError
from torl_env.sandbox.replay import ReplaySession
from torl_env.sandbox.types import Execution, Limits, Session


class CallableSandbox(ABC):
    """A sandbox that starts programs by `submit`; its sessions are replays unless it has better.

    Args:
        limits: For calls that give none.
    """

    def __init__(self, limits: Limits | None) -> None:
        self.limits = limits if limits is not None else Limits()

    @abstractmethod
    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Start one program and return at once; cancelling the future kills it."""

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and release everything; idempotent."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it takes no more programs."""

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one program in a fresh interpreter and wait for it."""
        return self.submit(code, limits).result()

    async def arun(self, code: str, limits: Limits | None = None) -> Execution:
        """`run` for asyncio; cancelling the task kills the program."""
        import asyncio

        return await asyncio.wrap_future(self.submit(code, limits))

    def session(self, limits: Limits | None = None) -> Session:
        """Open an interpreter that keeps its variables."""
        self.check_open()
        return ReplaySession(self.run, self.limits if limits is None else limits)

    def check_open(self) -> None:
        """Raise `SandboxError` once it is closed."""
        if self.closed:
            raise SandboxError("the sandbox is closed; make a new one")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def conclude(call: Future[Execution], outcome: Execution | Exception) -> None:
    """End a call with its result or error, unless it was cancelled."""
    if not call.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        call.set_exception(outcome)
    else:
        call.set_result(outcome)
