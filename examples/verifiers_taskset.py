"""Problems, tool and reward of this project in verifiers v1.

It runs in an environment that has verifiers (`pip install verifiers torl-gym`, apart from
everything that uses our `agents`): it starts the tool's server as verifiers does, calls it over
MCP, and lets verifiers score the conversation.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODULE = "torl_env.adapters.verifiers"


async def called(url: str, code: str) -> str:
    """What the tool `python` answers."""
    from mcp import Client

    async with Client(url) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["python"]
        return (await client.call_tool("python", {"code": code})).content[0].text


def port_in(file: Path, seconds: float = 60.0) -> int:
    """The port that a starting server writes down."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if file.exists() and file.read_text():
            return int(file.read_text())
        time.sleep(0.05)
    raise TimeoutError(f"the tool's server wrote no port within {seconds:g} s")


async def until_open(port: int, seconds: float = 60.0) -> None:
    """Wait until the server listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise TimeoutError(f"no server listens on port {port} after {seconds:g} s")


async def play() -> None:
    """One problem: look at it, compute, answer, be scored."""
    import verifiers.v1 as vf

    from torl_env.adapters.verifiers import (
        PythonToolset,
        ToRLState,
        ToRLTaskset,
        ToRLTasksetConfig,
    )

    taskset = ToRLTaskset(ToRLTasksetConfig(problems="procedural:easy", count=3))
    task = next(iter(taskset.shuffle(seed=0)))
    print(task.data.prompt)
    (toolset,) = type(task).toolsets(task.config)
    assert isinstance(toolset, PythonToolset)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "port"
        variables = {"VF_CONFIG": toolset.config.model_dump_json(), "MCP_PORT_FILE": str(file)}
        server = subprocess.Popen([sys.executable, "-m", MODULE], env=dict(os.environ) | variables)
        try:
            port = port_in(file)
            await until_open(port)
            print("tool:", await called(f"http://127.0.0.1:{port}/mcp", "print(6*7)"))
        finally:
            server.terminate()
            server.wait()
    for answer in (task.data.answer, "-1.5"):
        trace = vf.Trace(
            task=vf.TraceTask(type=type(task).__name__, data=task.data),
            agent=vf.AgentInfo(config=vf.AgentConfig(model="none")),
            state=ToRLState(tool_calls=1),
        )
        message = vf.AssistantMessage(content=f"It is \\boxed{{{answer}}}.")
        trace.nodes.append(vf.MessageNode(message=message, sampled=True))
        await task.score(trace)
        print(answer, trace.reward, trace.metrics)
        assert trace.reward == (1.0 if answer == task.data.answer else -1.0)


def main() -> None:
    """Run it, or say what is missing."""
    if importlib.util.find_spec("verifiers") is None:
        print("not installed: verifiers (in a virtual environment of its own)")
        return
    asyncio.run(play())


if __name__ == "__main__":
    main()
