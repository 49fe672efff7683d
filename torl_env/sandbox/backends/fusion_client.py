"""Client of a Sandbox Fusion server, or of `torl sandbox serve`, over HTTP."""

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from torl_env.errors import SandboxError
from torl_env.http_client import Answer, Drop, HttpClient, Retry, UnreachableError
from torl_env.sandbox.backends import fusion_wire as wire
from torl_env.sandbox.backends.distant import DistantSession
from torl_env.sandbox.types import CallableSandbox, Execution, Limits, Session, conclude

_FORGET_SECONDS: Final = 5.0


class _RemoteCall(Future[Execution]):
    """The future of one request; cancelling it drops the connection, which kills on our server."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = Drop()

    def cancel(self) -> bool:
        """Give the call up."""
        if not super().cancel():
            return False
        self.drop.now()
        return True


class FusionSandbox(CallableSandbox):
    """Sends programs to a server that speaks Sandbox Fusion's `/run_code`.

    Sandbox Fusion measures wall time only, so a busy server can turn a right program into a
    timeout: give it a generous `wall_seconds`. A server of ours is told the CPU limit too, and
    keeps sessions alive; with Sandbox Fusion's own a session runs its earlier turns again.

    Args:
        url: Such as `http://localhost:8080`; the path of the API is added.
        limits: For calls that give none.
        token: Sent as `Authorization: Bearer`.
        concurrency: Requests at once; the rest waits here.
        retries: Further attempts after a transport fault or a `not now` (429, 502, 503, 504).
        backoff: Seconds before the first of them; doubled each time, with jitter.
        bound_memory: Send the memory limit to a Sandbox Fusion server, which makes it the size of
            each thread's stack as well: unless the server sets `OPENBLAS_NUM_THREADS=1`, no program
            can import numpy then. A server of ours always gets and keeps it.
        patience: Seconds beyond the wall limit to wait for an answer.
    """

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        token: str | None = None,
        concurrency: int = 16,
        retries: int = 4,
        backoff: float = 0.25,
        bound_memory: bool = False,
        patience: float = 60.0,
    ) -> None:
        super().__init__(limits)
        self.url = url.rstrip("/")
        self._client = HttpClient(
            self.url.removesuffix("/run_code"),
            token=token,
            retry=Retry(attempts=retries, backoff=backoff),
        )
        self._bound_memory = bound_memory
        self._patience = patience
        self._foreign = False
        """It has answered that it knows no sessions."""
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="torl-fusion")
        self._paths: set[str] = set()
        """Of sessions that the server holds for us."""
        self._closed = threading.Event()

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Send one program and return at once; cancelling the future drops the connection."""
        self.check_open()
        call = _RemoteCall()
        self._threads.submit(self._work, call, code, self.limits if limits is None else limits)
        return call

    def session(self, limits: Limits | None = None) -> Session:
        """Open an interpreter on the server, or a replay where the server knows no sessions."""
        self.check_open()
        limits = self.limits if limits is None else limits
        if self._foreign:
            return super().session(limits)
        answer = self.ask("POST", "/sessions", {wire.EXTENSION: asdict(limits)})
        self._foreign = answer.status in (404, 405)
        return super().session(limits) if self._foreign else RemoteSession(self, answer, limits)

    def close(self) -> None:
        """Give up what is in flight, end the sessions and close the connections; idempotent."""
        self._closed.set()
        with suppress(UnreachableError, TimeoutError):
            while self._paths:
                self._client.ask("DELETE", self._paths.pop(), timeout=_FORGET_SECONDS)
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed.is_set()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any],
        wall_seconds: float = 0.0,
        drop: Drop | None = None,
    ) -> Answer:
        """One request to the server.

        Raises:
            SandboxError: It gave no answer.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode("ascii")
        timeout = wall_seconds + self._patience
        try:
            return self._client.ask(method, path, data, timeout=timeout, drop=drop)
        except TimeoutError as error:
            raise SandboxError(
                f"{self.url} gave no answer in {self._patience:g} s beyond the wall limit"
            ) from error
        except UnreachableError as error:
            raise SandboxError(str(error)) from error

    def hold(self, path: str) -> None:
        """The server has opened a session."""
        self._paths.add(path)

    def forget(self, path: str) -> None:
        """Have the server end a session, without waiting for it."""
        with suppress(RuntimeError):
            self._threads.submit(self._forget, path)

    def _forget(self, path: str) -> None:
        # A server that cannot be reached forgets it by itself.
        with suppress(UnreachableError, TimeoutError):
            self._client.ask("DELETE", path, timeout=_FORGET_SECONDS)
            self._paths.discard(path)

    def _work(self, call: _RemoteCall, code: str, limits: Limits) -> None:
        if call.cancelled():
            call.set_running_or_notify_cancel()
            return
        try:
            body = wire.request_body(code, limits, bound_memory=self._bound_memory)
            answer = self.ask("POST", "/run_code", body, limits.wall_seconds, call.drop)
            outcome: Execution | Exception = self.read(answer, limits)[0]
        except Exception as error:  # noqa: BLE001 - whatever it is, a caller waits for it
            outcome = error
        conclude(call, outcome)

    def read(self, answer: Answer, limits: Limits) -> tuple[Execution, bool]:
        """The execution in an answer, and whether its session has lost its variables.

        Raises:
            SandboxError: There is none.
        """
        if answer.status != 200:
            raise SandboxError(f"{self.url} refused the request ({answer.words})")
        return wire.read_response(answer.body, limits)


class RemoteSession(DistantSession):
    """A session that lives on the server, which is asked turn by turn.

    A turn whose answer is lost ends the session with one `SandboxError`: whether it ran is not
    known. Turns are numbered, so none runs twice.

    Args:
        sandbox: Whose server it is.
        answer: To the request that opened it.
        limits: For turns that give none.

    Raises:
        SandboxError: The server has not opened it.
    """

    def __init__(self, sandbox: FusionSandbox, answer: Answer, limits: Limits) -> None:
        try:
            opened = answer.json()
            self.path = f"/sessions/{opened['session']}"
        except (ValueError, TypeError, KeyError) as error:
            words = f"{sandbox.url} has opened no session ({answer.words})"
            raise SandboxError(words) from error
        sandbox.hold(self.path)
        super().__init__(sandbox, limits)
        self._sandbox = sandbox
        self._drop: Drop | None = None
        self._turn = 0

    def run(self, code: str, limits: Limits | None = None) -> Execution:
        """Run one turn and wait for it."""
        limits = limits or self._limits
        with self._lock:
            self._check_open()
            self._drop = drop = Drop()
            body = {"code": code, "turn": self._turn, wire.EXTENSION: asdict(limits)}
            try:
                path = f"{self.path}/turns"
                answer = self._sandbox.ask("POST", path, body, limits.wall_seconds, drop)
                result, self._restarted = self._sandbox.read(answer, limits)
            except SandboxError:
                self._closed = True
                raise
            finally:
                self._drop = None
            self._turn += 1
            return result

    def branch(self) -> "RemoteSession":
        """Fork the live interpreter, on the same server."""
        with self._lock:
            self._check_open()
            answer = self._sandbox.ask("POST", f"{self.path}/branch", {})
            return RemoteSession(self._sandbox, answer, self._limits)

    def close(self) -> None:
        """End the interpreter and kill the turn that runs in it, if any; idempotent."""
        was_closed, self._closed = self._closed, True
        drop = self._drop
        if drop is not None:
            drop.now()
        elif not was_closed and not self._sandbox.closed:
            self._sandbox.forget(self.path)
