"""Sandboxes shared by all environments of a process, closed when the last one lets go."""

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torl_env.errors import SandboxError
from torl_env.sandbox.registry import sandbox_factory
from torl_env.sandbox.types import Sandbox


@dataclass(slots=True)
class _Shared:
    sandbox: Sandbox
    holders: int = 0


_lock = threading.Lock()
_shared: dict[str, _Shared] = {}


def _forget_parents() -> None:
    """A forked child must neither use nor close what its parent has opened."""
    global _lock, _shared
    # The old lock may be held by a thread that does not exist here.
    _lock, _shared = threading.Lock(), {}


os.register_at_fork(after_in_child=_forget_parents)


class SharedSandbox:
    """A handle of a sandbox that several environments use; the first `get` opens it.

    Args:
        spec: As for `open_sandbox`. What a description opens is shared by all handles of the
            process with the same description and closed with the last of them; an object stays its
            owner's to close.

    Raises:
        ValueError: The description matches no sandbox.
    """

    def __init__(self, spec: Sandbox | str | None = None) -> None:
        self._spec = "local" if spec is None else spec
        # Checked when an environment is made, not at its first tool call.
        self._open = sandbox_factory(self._spec)
        self._held: Sandbox | None = None if isinstance(self._spec, str) else self._spec
        self._release: Callable[[], object] | None = None
        self._closed = False

    def get(self) -> Sandbox:
        """The sandbox.

        Raises:
            SandboxError: It cannot be opened, or this handle is closed.
        """
        if self._closed:
            raise SandboxError("the env has given its sandbox back: make a new env")
        if self._held is None:
            assert isinstance(self._spec, str)
            self._held = _take(self._spec, self._open)
            self._release = weakref.finalize(self, _give, self._spec, os.getpid())
        return self._held

    def another(self) -> "SharedSandbox":
        """A handle of the same sandbox with a life of its own."""
        return SharedSandbox(self._spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedSandbox":
        # Copied member by member it would hold a second sandbox, which nothing ever closes.
        memo[id(self)] = other = self.another()
        return other

    def __reduce__(self) -> tuple[type["SharedSandbox"], tuple[Sandbox | str]]:
        # Another process opens what the description says; an object has to be one for `pickle`.
        return SharedSandbox, (self._spec,)

    def close(self) -> None:
        """Let go; idempotent."""
        self._closed = True
        release, self._release = self._release, None
        if release is not None:
            self._held = None
            release()


def _take(spec: str, make: Callable[[], Sandbox]) -> Sandbox:
    with _lock:
        if spec not in _shared:
            _shared[spec] = _Shared(make())
        shared = _shared[spec]
        shared.holders += 1
        return shared.sandbox


def _give(spec: str, pid: int) -> None:
    if pid != os.getpid():
        return
    with _lock:
        shared = _shared[spec]
        shared.holders -= 1
        if shared.holders:
            return
        del _shared[spec]
    shared.sandbox.close()
