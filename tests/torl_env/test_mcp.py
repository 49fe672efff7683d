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
    import json, os, sys, time

    def send(**message):
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

    ADD = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
           "required": ["a", "b"]}
    for line in sys.stdin:
        asked = json.loads(line)
        method, number = asked.get("method"), asked.get("id")
        if method == "initialize":
            assert asked["params"]["protocolVersion"]
            send(id="srv", method="ping")
            send(id=number, result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                                    "serverInfo": {"name": "test", "version": "1"}})
        elif method == "tools/list":
            send(method="notifications/message", params={})
            if "cursor" in asked["params"]:
                names = [("pid", {}), ("slow", {}), ("die", {})]
                send(id=number, result={"tools": [{"name": n, "inputSchema": s} for n, s in names]})
            else:
                tools = [{"name": "add", "description": "Adds.", "inputSchema": ADD}]
                send(id=number, result={"tools": tools, "nextCursor": "2"})
        elif method == "tools/call":
            name, arguments = asked["params"]["name"], asked["params"]["arguments"]
            if name == "add" and arguments["a"] == 13:
                send(id=number, result={"content": [{"type": "text", "text": "bad luck"}],
                                        "isError": True})
            elif name == "add" and arguments["a"] == 14:
                send(id=number, error={"code": -32602, "message": "no fourteens"})
            elif name == "add":
                text = str(arguments["a"] + arguments["b"])
                send(id=number, result={"content": [{"type": "text", "text": text},
                                                    {"type": "image", "data": ""}]})
            elif name == "pid":
                send(id=number, result={"content": [{"type": "text", "text": str(os.getpid())}]})
            elif name == "die":
                os._exit(1)
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
    for a, said in ((13, "bad luck"), (14, "[no fourteens]")):
        observation, *_, info = env.step(f'```add\n{{"a": {a}, "b": 2}}\n```')
        assert said in observation
        assert info["tool_status"] == "error"
    observation, *_, info = env.step("```slow\n{}\n```")
    assert "[no answer in 2 s]" in observation
    assert info["tool_status"] == "timeout"


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
    with pytest.raises(SandboxError, match="ended before it answered"):
        McpServer([sys.executable, "-c", ""]).tools()
    with pytest.raises(SandboxError, match="refused the handshake"):
        McpServer([sys.executable, "-c", "import time; time.sleep(9)"], start_seconds=0.2).tools()
