"""Local sandboxes on every node of a Ray cluster behind one object."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from torl_env.errors import SandboxError
from torl_env.sandbox.base import CallableSandbox, conclude
from torl_env.sandbox.types import Execution, Limits

_REFRESH: Final = "no node of the Ray cluster is alive"


def _worker_class() -> Any:
    """The actor; made here because Ray is imported late."""
    import ray

    class Worker:
        """Owns one local sandbox."""

        def __init__(self, options: dict[str, Any]) -> None:
            from torl_env.sandbox.local.sandbox import LocalSandbox

            self._sandbox = LocalSandbox(**options)

        async def run(self, code: str, limits: Limits) -> Execution:
            """One program; cancelling the task kills it."""
            return await self._sandbox.arun(code, limits)

    return ray.remote(Worker)


@dataclass(slots=True, eq=False)
class _Node:
    """One node's actor and its load."""

    name: str
    actor: Any
    flying: int = 0


class _RayCall(Future[Execution]):
    """The future of one program; cancelling it kills the program where it runs."""

    def __init__(self, code: str, limits: Limits) -> None:
        super().__init__()
        self.code = code
        self.limits = limits
        self.attempts = 0
        self.reference: Any = None

    def cancel(self) -> bool:
        """Kill the program."""
        if not super().cancel():
            return False
        if self.reference is not None:
            import ray

            ray.cancel(self.reference)
        return True


class RaySandbox(CallableSandbox):
    """Sends each program to the least loaded node; torl-gym must be installed on all of them.

    A node that dies costs its programs one more try elsewhere; when that fails too, they are
    `SandboxError`. Nodes that join are used from the next death or `refresh` on.

    Args:
        limits: For calls that give none.
        address: Of the cluster, where this process has not joined one; `None` starts a local one.
        concurrency: Programs at once on each node.
        packages: As for `LocalSandbox`.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        address: str | None = None,
        concurrency: int = 64,
        packages: Sequence[str] = (),
    ) -> None:
        super().__init__(limits)
        self._address = address
        self._options = {"concurrency": concurrency, "packages": tuple(packages)}
        self._lock = threading.RLock()
        self._nodes: dict[str, _Node] = {}
        self._closed = False

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Send one program and return at once; cancelling the future kills it."""
        call = _RayCall(code, self.limits if limits is None else limits)
        with self._lock:
            self.check_open()
            if not self._nodes:
                self.refresh()
        self._send(call)
        return call

    def refresh(self) -> list[str]:
        """Look for nodes that have joined or gone; returns the names of those in use."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        with self._lock:
            if not ray.is_initialized():
                ray.init(address=self._address, log_to_driver=False)
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            for gone in set(self._nodes) - alive:
                del self._nodes[gone]
            worker = _worker_class()
            for name in alive - set(self._nodes):
                place = NodeAffinitySchedulingStrategy(name, soft=False)
                options = worker.options(
                    num_cpus=0, scheduling_strategy=place, max_concurrency=4096, max_restarts=0
                )
                self._nodes[name] = _Node(name, options.remote(self._options))
            return sorted(self._nodes)

    def close(self) -> None:
        """End the actors and with them what still runs; idempotent."""
        with self._lock:
            self._closed = True
            nodes, self._nodes = list(self._nodes.values()), {}
        if nodes:
            import ray

            for node in nodes:
                ray.kill(node.actor)

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed

    def _send(self, call: _RayCall) -> None:
        with self._lock:
            node = min(self._nodes.values(), key=lambda item: item.flying, default=None)
            if node is None or self._closed:
                why = "the sandbox was closed" if self._closed else _REFRESH
                conclude(call, SandboxError(why))
                return
            node.flying += 1
            call.attempts += 1
        call.reference = node.actor.run.remote(call.code, call.limits)
        call.reference.future().add_done_callback(lambda done: self._done(call, node, done))

    def _done(self, call: _RayCall, node: _Node, done: "Future[Execution]") -> None:
        from ray.exceptions import RayActorError, RayError, RayTaskError

        with self._lock:
            node.flying -= 1
        error = done.exception()
        if error is None:
            conclude(call, done.result())
        elif isinstance(error, RayTaskError) and isinstance(error.cause, SandboxError):
            conclude(call, SandboxError(str(error.cause)))
        elif isinstance(error, RayActorError) and call.attempts < 2 and not call.cancelled():
            self._bury(node)
            self._send(call)
        elif isinstance(error, RayError):
            conclude(call, SandboxError(f"a Ray node lost the program: {error}"))
        else:
            conclude(call, SandboxError(f"a Ray worker failed: {error!r}"))

    def _bury(self, node: _Node) -> None:
        with self._lock:
            if self._nodes.get(node.name) is node:
                del self._nodes[node.name]
            # A dead actor on a living node is replaced; this runs on a thread of Ray's own, from
            # which asking the cluster could wait for itself.
            if not self._nodes:
                threading.Thread(target=self._refresh_quietly, daemon=True).start()

    def _refresh_quietly(self) -> None:
        if not self._closed:
            self.refresh()
