"""The MCP client against a real server process."""

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from torl_env import SandboxError, ToRLMathEnv
from torl_env.sandbox import Limits, Sandbox
from torl_env.tools.mcp import McpServer

SERVER = """
    import os, time
    from mcp.server.mcpserver import Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("test")

    @server.tool(description="Adds.", structured_output=False)
    def add(a: int, b: int):
        if a == 13:
            raise ToolError("bad luck")
        return [str(a + b), Image(data=b"", format="png")]

    @server.tool()
    def pid() -> str:
        return str(os.getpid())

    @server.tool()
    def slow() -> str:
        time.sleep(9)
        return ""

    @server.tool()
    def die() -> str:
        os._exit(1)

    server.run()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[McpServer]:
    script = tmp_path / "server.py"
    script.write_text(textwrap.dedent(SERVER))
    with McpServer([sys.executable, str(script)]) as running:
        yield running


def make(box: Sandbox, server: McpServer) -> ToRLMathEnv:
    env = ToRLMathEnv(
        sandbox=box, tools=server.tools(), tool_budget=9, limits=Limits(wall_seconds=2.0)
    )
    env.reset(seed=0)
    return env


def test_tools_of_a_server(box: Sandbox, server: McpServer) -> None:
    env = make(box, server)
    assert [tool["function"]["name"] for tool in env.tools] == ["add", "pid", "slow", "die"]
    assert env.step('```add\n{"a": 1, "b": 2}\n```')[0] == "\n```output\n3\n```\n"
    assert "needs the argument 'b'" in env.step('```add\n{"a": 1}\n```')[0]
    assert "'a' is wrong: 'x' is not of type" in env.step('```add\n{"a": "x", "b": 2}\n```')[0]
    observation, *_, info = env.step('```add\n{"a": 13, "b": 2}\n```')
    assert "bad luck" in observation
    assert info["tool_status"] == "error"
    observation, *_, info = env.step("```slow\n{}\n```")
    assert "[no answer in 2 s]" in observation
    assert info["tool_status"] == "timeout"


@pytest.mark.long
def test_a_server_that_died_is_started_again(box: Sandbox, server: McpServer) -> None:
    env = make(box, server)
    pid = int(env.step("```pid\n{}\n```")[0].split("\n")[2])
    os.kill(pid, signal.SIGKILL)
    observation, *_, info = env.step("```pid\n{}\n```")
    assert int(observation.split("\n")[2]) != pid
    assert info["infra_error"] == ""
    info = env.step("```die\n{}\n```")[4]
    assert info["infra_error"] == "SandboxError: the MCP server ended before it answered"


def test_a_server_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot be started"):
        McpServer([str(tmp_path / "nothing")]).tools()
    with pytest.raises(SandboxError, match="cannot be started"):
        McpServer([sys.executable, "-c", ""]).tools()


@pytest.mark.slow
def test_a_server_that_says_nothing() -> None:
    with pytest.raises(SandboxError, match="cannot be started"):
        McpServer([sys.executable, "-c", "import time; time.sleep(9)"], start_seconds=0.2).tools()
