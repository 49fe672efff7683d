"""verifiers: the environment package through `vf-eval`, beside openai-agents, against a server.

The server has OpenAI's interface and a scripted model: it calls the tool on the numbers of the
question and answers with what the tool said.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report

PACKAGE = Path(__file__).resolve().parents[2] / "examples" / "torl_math"


class Scripted(BaseHTTPRequestHandler):
    """Answers chat completions."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """One turn: a call, then the answer."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = asked["messages"][-1]
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if last["role"] == "tool":
            shown = last["content"]
            text = shown if isinstance(shown, str) else "".join(p["text"] for p in shown)
            message["content"] = f"It is \\boxed{{{text.strip()}}}."
        else:
            asked_text = json.dumps(last["content"])
            first, second = re.findall(r"\d+", asked_text)[:2]
            code = json.dumps({"code": f"print({first} * {second})"})
            call = {"name": "python", "arguments": code}
            message["tool_calls"] = [{"id": "c1", "type": "function", "function": call}]
        self._send(message, "stop" if message["content"] else "tool_calls", asked.get("stream"))

    def _send(self, message: dict[str, Any], reason: str, stream: object) -> None:
        part = {"index": 0, "finish_reason": reason}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        whole = {"id": "x", "created": 0, "model": "scripted", "usage": usage}
        if stream:
            for index, call in enumerate(message.get("tool_calls", [])):
                call["index"] = index
            part["delta"] = message
            event = whole | {"object": "chat.completion.chunk", "choices": [part]}
            body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()
        else:
            part["message"] = message
            body = json.dumps(whole | {"object": "chat.completion", "choices": [part]}).encode()
        self.send_response(200)
        kind = "text/event-stream" if stream else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def evaluated(url: str, folder: Path, problems: str, *more: str) -> list[dict[str, Any]]:
    """The rollouts that `vf-eval` wrote."""
    path = str(PACKAGE), os.environ["PYTHONPATH"]
    command = [
        str(Path(sys.executable).parent / "vf-eval"),
        "torl-math",
        *("-m", "scripted", "--push", "False", "--env.taskset.problems", problems, *more),
        *("--env.agent.harness.id", "null", "--env.agent.runtime.type", "subprocess"),
        *("--client.base-url", url, "--client.api-key-var", "SCRIPTED_KEY"),
        *("-o", str(folder)),
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "SCRIPTED_KEY": "none", "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    files = list(folder.rglob("traces.jsonl"))
    if done.returncode or not files:
        raise SystemExit(f"vf-eval ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    episodes = [json.loads(line) for line in files[0].read_text().splitlines()]
    return [run for episode in episodes for run in episode["traces"]]


def main() -> None:
    """Both packages named `agents` in their places, then the evaluation."""
    import agents
    import torl_env

    assert hasattr(agents, "Runner"), "agents is not openai-agents'"
    assert torl_env.ENV_ID
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with tempfile.TemporaryDirectory() as name:
        few = "-n", "3", "-r", "2", "--env.taskset.count", "3"
        runs = evaluated(url, Path(name), "procedural:product", *few)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "two.jsonl"
        file.write_text(
            '{"id": "a", "question": "What is 6 * 7?", "answer": "42"}\n'
            '{"id": "b", "question": "What is 3 * 4?", "answer": "\\\\frac{"}\n'
        )
        box = "-n", "2", "-r", "1", "--env.taskset.task.python.sandbox", DYING
        lost = evaluated(url, Path(name), str(file), *box)
    server.shutdown()
    assert [run["errors"] for run in runs] == [[]] * 6, runs[0]["errors"]
    scores = [run["rewards"]["torl"]["score"] for run in runs]
    assert scores == [1.0] * 6, scores
    assert all(run["metrics"]["tool_calls"] == 1 for run in runs)
    kinds = sorted(run["errors"][0]["type"] for run in lost)
    assert kinds == ["SandboxError", "TaskError"], [run["errors"] for run in lost]
    assert all(not run["rewards"].get("torl") for run in lost), [run["rewards"] for run in lost]
    report(
        Result(
            version=version("verifiers"),
            ran=f"hub package through vf-eval, beside openai-agents {version('openai-agents')}",
            episodes=len(runs),
            fault="an error of the sandbox or of the task, and no reward",
        )
    )


if __name__ == "__main__":
    main()
