"""Tools of a Model Context Protocol server, through the protocol's official package.

Needs `pip install torl-gym[mcp]`. Text content only.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self, TextIO, TypeVar

from torl_env.errors import SandboxError
from torl_env.sandbox.types import Status
from torl_env.tools.types import ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    from mcp import Client

T = TypeVar("T")
_LAST_WORDS_SECONDS = 10.0


class McpServer:
    """A server, reached when first used and again when it has died.

    The server is trusted: it runs outside any sandbox, as whoever starts it.

    Args:
        command: Program and arguments of a server that this process starts, or the URL of one that
            runs already.
        start_seconds: Longest wait for the handshake and for the list of tools.

    Raises:
        ModuleNotFoundError: The protocol's package is not installed.

    Example:
        ```
        with McpServer(["uvx", "mcp-server-time"]) as server:
            env = gym.make("torl_env:ToRLMath-v0", tools=server.tools(), parser="hermes")
        ```
    """

    def __init__(self, command: Sequence[str] | str, start_seconds: float = 30.0) -> None:
        if find_spec("mcp") is None:
            raise ModuleNotFoundError("MCP needs its package: pip install 'torl-gym[mcp]'")
        self._command = command if isinstance(command, str) else tuple(command)
        self._start_seconds = start_seconds
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    def tools(self) -> "tuple[McpTool, ...]":
        """What the server offers.

        Raises:
            SandboxError: The server cannot be started or does not answer.
        """
        found: list[McpTool] = []
        cursor: str | None = None
        while True:
            # Bound now: the loop goes on before a lambda would look.
            page = self._ask(lambda client, at=cursor: client.list_tools(cursor=at))  # type: ignore[misc]
            found += [
                McpTool(self, tool.name, tool.description or "", _schema(tool.input_schema))
                for tool in page.tools
            ]
            cursor = page.next_cursor
            if not cursor:
                return tuple(found)

    def call(self, name: str, arguments: Mapping[str, Any], seconds: float) -> ToolResult:
        """Call a tool and wait.

        Raises:
            ToolError: The server refuses the request.
            SandboxError: The server is gone.
        """
        try:
            said = self._ask(lambda client: client.call_tool(name, dict(arguments)), seconds)
        except TimeoutError:
            return ToolResult(f"[no answer in {seconds:g} s]", Status.TIMEOUT, "timeout")
        parts = [part.text for part in said.content if part.type == "text"]
        text = "\n".join(parts) or "[the tool said nothing]"
        return ToolResult(text, Status.ERROR, "ToolError") if said.is_error else ToolResult(text)

    def _ask(
        self, make: "Callable[[Client], Coroutine[Any, Any, T]]", seconds: float | None = None
    ) -> T:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        connection = self._connected()
        try:
            return connection.ask(make, seconds or self._start_seconds)
        except MCPError as error:
            if error.code != CONNECTION_CLOSED:
                raise ToolError(f"[{error.message}]") from None
            connection.dead = True
            raise SandboxError("the MCP server ended before it answered") from error

    def _connected(self) -> "_Connection":
        with self._lock:
            if self._connection is None or self._connection.dead:
                self._disconnect()
                self._connection = _Connection(self._command, self._start_seconds)
            return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """End the process; idempotent."""
        with self._lock:
            self._disconnect()

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
        return self.server.call(self.name, arguments, context.limits.wall_seconds)


def _schema(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {}, "required": [], **said}


def _place(command: str | tuple[str, ...], log: TextIO) -> Any:
    """A URL, or a process that gets this one's environment."""
    from mcp import StdioServerParameters, stdio_client

    if isinstance(command, str):
        return command
    program, *arguments = command
    started = StdioServerParameters(command=program, args=arguments, env=dict(os.environ))
    return stdio_client(started, errlog=log)


class _Connection:
    """One life of the server: the package's client in an event loop on a thread of its own."""

    def __init__(self, command: str | tuple[str, ...], seconds: float) -> None:
        self.dead = False
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._client: Future[Client] = Future()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete,
            args=(self._live(command),),
            name="torl-mcp",
            daemon=True,
        )
        self._thread.start()
        try:
            self._client.result(seconds)
        except Exception as error:
            self.close()
            raise SandboxError(f"the MCP server cannot be started: {error!r}") from error

    async def _live(self, command: str | tuple[str, ...]) -> None:
        """The client is entered and left in one task, as its task groups demand."""
        from mcp import Client

        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            try:
                async with Client(_place(command, nowhere)) as client:
                    self._client.set_result(client)
                    await self._stop.wait()
            except Exception as error:  # noqa: BLE001 - whatever it is, a caller waits for it
                self.dead = True
                if not self._client.done():
                    self._client.set_exception(error)

    def ask(self, make: "Callable[[Client], Coroutine[Any, Any, T]]", seconds: float) -> T:
        answer = asyncio.run_coroutine_threadsafe(make(self._client.result()), self._loop)
        try:
            return answer.result(seconds)
        except FutureTimeoutError:
            answer.cancel()
            raise TimeoutError(f"no answer in {seconds:g} s") from None

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_LAST_WORDS_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
