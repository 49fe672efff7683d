"""Local sandboxes on every node of a Ray cluster behind one object."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from torl_env.errors import SandboxError
from torl_env.sandbox.backends.distant import DistantSession
from torl_env.sandbox.types import CallableSandbox, Execution, Limits, Session, conclude

T = TypeVar("T")
_REFRESH: Final = "no node of the Ray cluster is alive"


def _worker_class() -> Any:
    """The actor; made here because Ray is imported late."""
    import ray

    class Worker:
        """Owns one local sandbox and the sessions in it; they end with the driver."""

        def __init__(self, options: dict[str, Any]) -> None:
            from concurrent.futures import ThreadPoolExecutor

            from torl_env.sandbox.local.sandbox import LocalSandbox

            self._sandbox = LocalSandbox(**options)
            self._sessions: dict[int, Session] = {}
            self._numbers = itertools.count()
            # A session waits for its turn on a thread.
            self._threads = ThreadPoolExecutor(256)

        async def run(self, code: str, limits: Limits) -> Execution:
            """One program; cancelling the task kills it."""
            return await self._sandbox.arun(code, limits)

        async def open_session(self, limits: Limits) -> int:
            """Number of a new session."""
            return self._keep(await self._aside(lambda: self._sandbox.session(limits)))

        async def turn(self, number: int, code: str, limits: Limits) -> tuple[Execution, bool]:
            """The execution, and whether variables were lost."""
            session = self._sessions[number]
            result = await self._aside(lambda: session.run(code, limits))
            return result, session.restarted

        async def branch(self, number: int) -> int:
            """Number of the copy."""
            return self._keep(await self._aside(self._sessions[number].branch))

        async def close_session(self, number: int) -> None:
            """End it, and the turn that runs in it."""
            session = self._sessions.pop(number, None)
            if session is not None:
                await self._aside(session.close)

        def _keep(self, session: Session) -> int:
            number = next(self._numbers)
            self._sessions[number] = session
            return number

        async def _aside(self, work: Callable[[], T]) -> T:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    return ray.remote(Worker)


@dataclass(slots=True, eq=False)
class Node:
    """One node's actor and its load."""

    name: str
    actor: Any
    flying: int = 0
    sessions: int = 0


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
    `SandboxError`. A session stays on its node and dies with it. Nodes that join are used from the
    next death or `refresh` on.

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
        self.nodes: dict[str, Node] = {}
        self._closed = False

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Send one program and return at once; cancelling the future kills it."""
        call = _RayCall(code, self.limits if limits is None else limits)
        with self._lock:
            self.check_open()
            if not self.nodes:
                self.refresh()
        self._send(call)
        return call

    def session(self, limits: Limits | None = None) -> "RaySession":
        """Open a live interpreter on the node with the fewest; it stays there."""
        with self._lock:
            self.check_open()
            if not self.nodes:
                self.refresh()
            nodes = sorted(self.nodes.values(), key=lambda item: item.sessions)
            if not nodes:
                raise SandboxError(_REFRESH)
            nodes[0].sessions += 1
        return RaySession(self, nodes[0], self.limits if limits is None else limits)

    def ask(self, node: Node, method: str, *arguments: Any) -> Any:
        """Call a method of a node's actor and wait.

        Raises:
            SandboxError: The node is lost, or the machine failed there.
        """
        import ray
        from ray.exceptions import RayError

        try:
            return ray.get(getattr(node.actor, method).remote(*arguments))
        except RayError as error:
            self._forget_if_dead(node, error)
            raise _translated(error) from error

    def refresh(self) -> list[str]:
        """Look for nodes that have joined or gone; returns the names of those in use."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        with self._lock:
            if not ray.is_initialized():
                ray.init(address=self._address, log_to_driver=False)
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            for gone in set(self.nodes) - alive:
                del self.nodes[gone]
            worker = _worker_class()
            for name in alive - set(self.nodes):
                place = NodeAffinitySchedulingStrategy(name, soft=False)
                options = worker.options(
                    num_cpus=0, scheduling_strategy=place, max_concurrency=4096, max_restarts=0
                )
                self.nodes[name] = Node(name, options.remote(self._options))
            return sorted(self.nodes)

    def close(self) -> None:
        """End the actors and with them what still runs; idempotent."""
        with self._lock:
            self._closed = True
            nodes, self.nodes = list(self.nodes.values()), {}
        if nodes and not _has_ended():
            import ray

            for node in nodes:
                ray.kill(node.actor)

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed

    def _send(self, call: _RayCall) -> None:
        with self._lock:
            node = min(self.nodes.values(), key=lambda item: item.flying, default=None)
            if node is None or self._closed:
                why = "the sandbox was closed" if self._closed else _REFRESH
                conclude(call, SandboxError(why))
                return
            node.flying += 1
            call.attempts += 1
        call.reference = node.actor.run.remote(call.code, call.limits)
        call.reference.future().add_done_callback(lambda done: self._done(call, node, done))

    def _done(self, call: _RayCall, node: Node, done: "Future[Execution]") -> None:
        with self._lock:
            node.flying -= 1
        error = done.exception()
        if error is None:
            conclude(call, done.result())
            return
        lost = self._forget_if_dead(node, error)
        if lost and call.attempts < 2 and not call.cancelled():
            self._send(call)
        else:
            conclude(call, _translated(error))

    def _forget_if_dead(self, node: Node, error: BaseException) -> bool:
        from ray.exceptions import RayActorError

        lost = isinstance(error, RayActorError)
        if lost:
            self._forget(node)
        return lost

    def _forget(self, node: Node) -> None:
        with self._lock:
            if self.nodes.get(node.name) is node:
                del self.nodes[node.name]
            # A dead actor on a living node is replaced; this runs on a thread of Ray's own, from
            # which asking the cluster could wait for itself.
            if not self.nodes:
                threading.Thread(target=self._refresh_quietly, daemon=True).start()

    def _refresh_quietly(self) -> None:
        if not self._closed:
            self.refresh()


def _translated(error: BaseException) -> SandboxError:
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayTaskError) and isinstance(error.cause, SandboxError):
        return SandboxError(str(error.cause))
    if isinstance(error, RayError):
        return SandboxError(f"a Ray node lost the program: {error}")
    return SandboxError(f"a Ray worker failed: {error!r}")


def _has_ended() -> bool:
    """Whether `ray.shutdown()` took the actors along: a call to one would start another Ray."""
    import ray

    return not ray.is_initialized()


class RaySession(DistantSession):
    """A session that lives on one node of the cluster.

    Args:
        sandbox: Whose node it is.
        node: Where it lives.
        limits: For turns that give none.
        parent: Number of the session on the node to copy, instead of a fresh one.
    """

    def __init__(
        self, sandbox: RaySandbox, node: Node, limits: Limits, parent: int | None = None
    ) -> None:
        super().__init__(sandbox, limits)
        self._sandbox, self.node = sandbox, node
        if parent is None:
            self._number: int = sandbox.ask(node, "open_session", limits)
        else:
            self._number = sandbox.ask(node, "branch", parent)

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one turn and wait for it."""
        with self._lock:
            self._check_open()
            chosen = limits or self._limits
            result: Execution
            try:
                result, self._restarted = self._sandbox.ask(
                    self.node, "turn", self._number, code, chosen
                )
            except SandboxError:
                self.close()
                raise
            return result

    def branch(self) -> "RaySession":
        """Fork the live interpreter, on the same node."""
        with self._lock:
            self._check_open()
            return RaySession(self._sandbox, self.node, self._limits, self._number)

    def close(self) -> None:
        """End the interpreter and kill the turn that runs in it, if any; idempotent."""
        if self._closed:
            return
        self._closed = True
        self.node.sessions -= 1
        if not self._sandbox.closed and not _has_ended():
            # No caller waits: a node that is gone has ended it already.
            self.node.actor.close_session.remote(self._number)
