"""Sandboxes shared by all environments of a process, closed when the last one lets go."""

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from torl_env.errors import SandboxError
from torl_env.sandbox import NAMES, Sandbox, make_sandbox

DEFAULT = "local"


@dataclass(slots=True)
class _Shared:
    sandbox: Sandbox
    leases: int = 0


_lock = threading.Lock()
_shared: dict[str, _Shared] = {}


def _forget_parents() -> None:
    """A forked child must neither use nor close what its parent has opened."""
    global _lock, _shared
    # The old lock may be held by a thread that does not exist here.
    _lock, _shared = threading.Lock(), {}


os.register_at_fork(after_in_child=_forget_parents)


class SandboxLease:
    """The right to use a sandbox; opened at the first `get`.

    Args:
        sandbox: A backend's name, which is shared by all leases of the process, `None` for the
            default one, or an object, which stays its owner's to close.
        make: Makes a sandbox of a name.

    Raises:
        ValueError: No backend has this name.
    """

    def __init__(
        self, sandbox: Sandbox | str | None = None, make: Callable[[str], Sandbox] | None = None
    ) -> None:
        self._spec = DEFAULT if sandbox is None else sandbox
        if isinstance(self._spec, str) and self._spec not in NAMES:
            raise ValueError(f"sandbox must be one of {', '.join(NAMES)}, got {self._spec!r}")
        self._make = make or _make
        self._held: Sandbox | None = None if isinstance(self._spec, str) else self._spec
        self._release: Callable[[], object] | None = None
        self._closed = False

    def get(self) -> Sandbox:
        """The sandbox.

        Raises:
            SandboxError: It cannot be opened, or this lease is closed.
        """
        if self._closed:
            raise SandboxError("the env has given its sandbox back: make a new env")
        if self._held is None:
            assert isinstance(self._spec, str)
            self._held = _take(self._spec, self._make)
            self._release = weakref.finalize(self, _give, self._spec, os.getpid())
        return self._held

    def another(self) -> "SandboxLease":
        """A lease of the same sandbox with a life of its own."""
        return SandboxLease(self._spec, self._make)

    def close(self) -> None:
        """Let go; idempotent."""
        self._closed = True
        release, self._release = self._release, None
        if release is not None:
            self._held = None
            release()


def _make(name: str) -> Sandbox:
    return make_sandbox(name)


def _take(name: str, make: Callable[[str], Sandbox]) -> Sandbox:
    with _lock:
        if name not in _shared:
            _shared[name] = _Shared(make(name))
        shared = _shared[name]
        shared.leases += 1
        return shared.sandbox


def _give(name: str, pid: int) -> None:
    if pid != os.getpid():
        return
    with _lock:
        shared = _shared[name]
        shared.leases -= 1
        if shared.leases:
            return
        del _shared[name]
    shared.sandbox.close()
