"""Tools of a Model Context Protocol server, over the standard input and output of its process.

Written against revision 2025-06-18 of the protocol (modelcontextprotocol.io/specification): the
handshake, `tools/list` and `tools/call`; text content only.
"""

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Self

from torl_env.errors import SandboxError
from torl_env.sandbox.types import Status
from torl_env.tools.types import ToolContext, ToolError, ToolResult

REVISION = "2025-06-18"


class McpServer:
    """A server process; started when first used and again when it has died.

    The server is trusted: it runs outside any sandbox, as whoever starts it.

    Args:
        command: Program and arguments.
        start_seconds: Longest wait for the handshake and for the list of tools.

    Example:
        ```
        with McpServer(["uvx", "mcp-server-time"]) as server:
            env = gym.make("torl_env:ToRLMath-v0", tools=server.tools(), parser="hermes")
        ```
    """

    def __init__(self, command: Sequence[str], start_seconds: float = 30.0) -> None:
        self._command = list(command)
        self._start_seconds = start_seconds
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    def tools(self) -> "tuple[McpTool, ...]":
        """What the server offers.

        Raises:
            SandboxError: The server cannot be started or does not answer.
        """
        found: list[McpTool] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.request("tools/list", cursor, self._start_seconds)
            found += [
                McpTool(self, tool["name"], tool.get("description", ""), _schema(tool))
                for tool in page["tools"]
            ]
            if not page.get("nextCursor"):
                return tuple(found)
            cursor = {"cursor": page["nextCursor"]}

    def request(self, method: str, parameters: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Ask and wait.

        Raises:
            ToolError: The server refuses the request.
            SandboxError: The server is gone.
            TimeoutError: No answer in time.
        """
        answer = self._connected().ask(method, parameters)
        try:
            return answer.result(seconds)
        except FutureTimeoutError:
            raise TimeoutError(
                f"{self._command[0]}: no answer to {method} in {seconds} s"
            ) from None

    def _connected(self) -> "_Connection":
        with self._lock:
            if self._connection is None or self._connection.dead:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                connection = _Connection(self._command)
                try:
                    connection.greet(self._start_seconds)
                except BaseException:
                    connection.close()
                    raise
                self._connection = connection
            return self._connection

    def close(self) -> None:
        """End the process; idempotent."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of a server, as a `Tool`."""

    server: McpServer
    name: str
    description: str
    parameters: Mapping[str, Any]

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Call it; it may take the wall seconds of the env's limits."""
        seconds = context.limits.wall_seconds
        try:
            said = self.server.request(
                "tools/call", {"name": self.name, "arguments": dict(arguments)}, seconds
            )
        except TimeoutError:
            return ToolResult(f"[no answer in {seconds:g} s]", Status.TIMEOUT, "timeout")
        parts = [part["text"] for part in said.get("content", ()) if part.get("type") == "text"]
        text = "\n".join(parts) or "[the tool said nothing]"
        if said.get("isError"):
            return ToolResult(text, Status.ERROR, "ToolError")
        return ToolResult(text)


def _schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {}, "required": [], **tool.get("inputSchema", {})}


class _Connection:
    """One life of the process: numbers requests and gives answers to who waits for them."""

    def __init__(self, command: list[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                bufsize=1,
            )
        except OSError as error:
            raise SandboxError(f"the MCP server cannot be started: {error}") from error
        self.dead = False
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="torl-mcp", daemon=True)
        self._reader.start()

    def greet(self, seconds: float) -> None:
        """The handshake."""
        hello = {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": {"name": "torl-gym", "version": "0"},
        }
        try:
            self.ask("initialize", hello).result(seconds)
        except (FutureTimeoutError, ToolError) as error:
            raise SandboxError(f"the MCP server refused the handshake: {error!r}") from error
        self._write({"method": "notifications/initialized"})

    def ask(self, method: str, parameters: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Send a request."""
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            if self.dead:
                raise SandboxError("the MCP server is gone")
            number = next(self._numbers)
            self._waiting[number] = answer
        self._write({"id": number, "method": method, "params": dict(parameters)})
        return answer

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        line = json.dumps({"jsonrpc": "2.0", **message})
        try:
            with self._lock:
                self._process.stdin.write(line + "\n")
        except (OSError, ValueError) as error:
            # The reader may not have seen the end yet; a second try must not come back here.
            self.dead = True
            raise SandboxError(f"the MCP server is gone: {error}") from error

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._take(json.loads(line))
        with self._lock:
            self.dead = True
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_exception(SandboxError("the MCP server ended before it answered"))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            if "id" in message:
                self._refuse(message)
            return
        with self._lock:
            answer = self._waiting.pop(message["id"], None)
        if answer is None:
            return
        if "error" in message:
            answer.set_exception(ToolError(f"[{message['error'].get('message', 'refused')}]"))
        else:
            answer.set_result(message["result"])

    def _refuse(self, message: dict[str, Any]) -> None:
        """Answer a request of the server: `ping` is all that this client can do."""
        reply: dict[str, Any] = {"result": {}}
        if message["method"] != "ping":
            reply = {"error": {"code": -32601, "message": "not supported"}}
        with contextlib.suppress(SandboxError):
            self._write({"id": message["id"], **reply})

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()
