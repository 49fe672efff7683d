"""What sessions on another machine have in common."""

import threading
from abc import ABC, abstractmethod

from torl_env.errors import SandboxError
from torl_env.sandbox.types import CallableSandbox, Limits


class DistantSession(ABC):
    """A session that lives elsewhere, with one turn at a time.

    Losing what it lives on ends it with one `SandboxError`; whoever keeps a log of its turns opens
    another one and runs them again.
    """

    def __init__(self, home: CallableSandbox, limits: Limits) -> None:
        self._home, self._limits = home, limits
        self._lock = threading.Lock()
        self._restarted = False
        self._closed = False

    @property
    def restarted(self) -> bool:
        """Whether variables were lost in the last `run`."""
        return self._restarted

    @abstractmethod
    def close(self) -> None:
        """End the interpreter and kill the turn that runs in it, if any; idempotent."""

    def __del__(self) -> None:
        # Where the constructor failed there is nothing to end.
        if not getattr(self, "_closed", True):
            self.close()

    def _check_open(self) -> None:
        if self._closed or self._home.closed:
            raise SandboxError("the session is closed")
