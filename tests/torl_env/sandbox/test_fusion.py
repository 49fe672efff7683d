"""The client of Sandbox Fusion against a server that gives its recorded answers."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from torl_env import ToRLMathEnv
from torl_env.errors import SandboxError
from torl_env.sandbox import Limits, LocalSandbox, Status, open_sandbox
from torl_env.sandbox.backends.fusion_client import FusionSandbox
from torl_env.sandbox.backends.fusion_server import SandboxServer, ServeOptions


def run(status: str, code: int | None, stdout: str = "", stderr: str = "") -> dict[str, Any]:
    """An answer as Sandbox Fusion was seen to give it."""
    return {
        "status": "Success" if code == 0 else "Failed",
        "message": "",
        "compile_result": None,
        "run_result": {
            "status": status,
            "execution_time": 0.63,
            "return_code": code,
            "stdout": stdout,
            "stderr": stderr,
        },
        "executor_pod_name": None,
        "files": {},
    }


TRACEBACK = 'Traceback (most recent call last):\n  File "/tmp/x/main.py", line 1, in <module>\n'
RECORDED: dict[str, tuple[dict[str, Any], Status, str]] = {
    "ok": (run("Finished", 0, "hi\n"), Status.OK, ""),
    "warned": (run("Finished", 0, "1\n", "Error: Traceback\n"), Status.OK, ""),
    "exception": (
        run("Finished", 1, "", f"{TRACEBACK}    1/0\nZeroDivisionError: division by zero\n"),
        Status.ERROR,
        "ZeroDivisionError: division by zero",
    ),
    "exit3": (run("Finished", 3), Status.ERROR, "exit code 3"),
    "segv": (run("Finished", -11), Status.KILLED, "killed by SIGSEGV"),
    "timeout": (
        run("TimeLimitExceeded", None, "before\n"),
        Status.TIMEOUT,
        "wall time limit of 10 s exceeded",
    ),
    "syntax": (
        run(
            "Finished",
            1,
            "",
            '  File "/tmp/x/main.py", line 1\n    x=(\n      ^\nSyntaxError: never closed\n',
        ),
        Status.SYNTAX_ERROR,
        "SyntaxError: never closed",
    ),
    "memory": (
        run("Finished", 1, "", f"{TRACEBACK}    x=bytearray(9)\nMemoryError\n"),
        Status.MEMORY,
        "MemoryError",
    ),
    "binary": (run("Finished", 0, "[DecodeError] 'utf-8' codec can't"), Status.OK, ""),
}
FAILURES: dict[str, dict[str, Any]] = {
    "sandbox error": {**run("Finished", 0), "status": "SandboxError", "message": "no disk"},
    "no result": {**run("Finished", 0), "run_result": None},
    "unknown status": run("Error", None),
    "other form": {"result": 1},
}


class Recorded(http.server.ThreadingHTTPServer):
    """Answers from a list of (HTTP status, body, headers), then `default`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, bytes, dict[str, str]]] = []
        self.default = (200, json.dumps(run("Finished", 0)).encode(), {})
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self.pause = 0.0
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorded

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        with server.guard:
            server.requests.append(json.loads(body))
            server.headers.append(dict(self.headers))
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            status, answer, headers = server.script.pop(0) if server.script else server.default
        time.sleep(server.pause)
        with server.guard:
            server.at_once -= 1
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Recorded]:
    made = Recorded()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def client(server: Recorded) -> Iterator[FusionSandbox]:
    with FusionSandbox(server.url, backoff=0.01) as made:
        yield made


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_answers(server: Recorded, client: FusionSandbox, name: str) -> None:
    answer, status, error = RECORDED[name]
    server.default = (200, json.dumps(answer).encode(), {})
    result = client.run("whatever")
    assert (result.status, result.error) == (status, error)
    assert result.stdout == answer["run_result"]["stdout"]
    assert result.wall_seconds == 0.63


@pytest.mark.parametrize("name", FAILURES)
def test_the_servers_faults_are_errors(server: Recorded, client: FusionSandbox, name: str) -> None:
    server.default = (200, json.dumps(FAILURES[name]).encode(), {})
    with pytest.raises(SandboxError):
        client.run("whatever")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_refusals_are_errors_at_once(server: Recorded, client: FusionSandbox, status: int) -> None:
    server.default = (status, b'{"detail": [{"msg": "Field required"}]}', {})
    with pytest.raises(SandboxError, match=str(status)):
        client.run("whatever")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_not_now_is_tried_again(server: Recorded, client: FusionSandbox, status: int) -> None:
    server.script = [(status, b"", {"Retry-After": "0.05"})] * 2
    began = time.monotonic()
    assert client.run("whatever").ok
    assert len(server.requests) == 3
    assert time.monotonic() - began > 0.06


def test_a_dropped_connection_is_tried_again(server: Recorded, client: FusionSandbox) -> None:
    server.script = [(0, b"", {}), (0, b"", {})]
    assert client.run("whatever").ok


def test_attempts_are_bounded() -> None:
    with (
        FusionSandbox("http://127.0.0.1:1", retries=2, backoff=0.01) as client,
        pytest.raises(SandboxError, match="after 3 attempts"),
    ):
        client.run("whatever")


def test_the_request_is_sandbox_fusions(server: Recorded) -> None:
    with FusionSandbox(server.url + "/", token="key") as client:
        client.run("print('\ud800ü')", Limits(wall_seconds=7, memory_mb=99))
    (request,) = server.requests
    assert request["code"] == "print('\ud800ü')"
    assert request["language"] == "python"
    assert request["run_timeout"] == 7
    assert request["torl"]["memory_mb"] == 99
    assert server.headers[0]["Authorization"] == "Bearer key"


def test_a_foreign_server_gets_the_memory_limit_only_when_told_to(server: Recorded) -> None:
    for bound in (False, True):
        with FusionSandbox(server.url, Limits(memory_mb=99), bound_memory=bound) as client:
            client.run("whatever")
    assert [request.get("memory_limit_MB") for request in server.requests] == [None, 99]


def test_connections_are_kept(server: Recorded, client: FusionSandbox) -> None:
    for _ in range(10):
        client.run("whatever")
    assert server.connections == 1


def test_requests_at_once_are_bounded(server: Recorded) -> None:
    server.pause = 0.05
    with FusionSandbox(server.url, concurrency=3) as client:
        futures = [client.submit("whatever") for _ in range(12)]
        assert all(future.result(30).ok for future in futures)
    assert server.most_at_once == 3


def test_a_silent_server_is_an_error(server: Recorded) -> None:
    server.pause = 1.0
    with (
        FusionSandbox(server.url, Limits(wall_seconds=0.1), patience=0.1) as client,
        pytest.raises(SandboxError, match="no answer"),
    ):
        client.run("whatever")


def test_output_is_bounded_here_too(server: Recorded, client: FusionSandbox) -> None:
    server.default = (200, json.dumps(run("Finished", 0, "x" * 10**6)).encode(), {})
    result = client.run("whatever", Limits(output_bytes=1000))
    assert result.output_truncated
    assert len(result.stdout) <= 1000


def test_an_odd_url_is_refused() -> None:
    with pytest.raises(ValueError, match="http://localhost"):
        open_sandbox("fusion:localhost:8080")


def test_against_our_own_server(serve: Callable[..., str]) -> None:
    with open_sandbox(f"fusion:{serve()}") as client:
        limits = Limits(cpu_seconds=0.2, wall_seconds=20)
        result = client.run("print('a', end='')\nwhile True: pass", limits)
    assert result.status is Status.TIMEOUT
    assert result.stdout == "a"
    assert result.error == "CPU time limit of 0.2 s exceeded"


@pytest.mark.long
def test_an_episode_goes_on_by_replay_when_its_server_is_replaced(local: LocalSandbox) -> None:
    with SandboxServer(local, ServeOptions(port=0)) as first:
        client = FusionSandbox(first.url, backoff=0.01)
        env = ToRLMathEnv(sandbox=client, stateful=True, tool_budget=3)
        env.reset(seed=0)
        env.step("```python\nx = 41\n```")
    with SandboxServer(local, ServeOptions(port=first.port)) as second:
        observation, *_, info = env.step("```python\nprint(x + 1)\n```")
        assert (observation, info["infra_error"]) == ("\n```output\n42\n```\n", "")
        env.close()
        client.close()
        assert second.open_sessions == 0


def test_a_foreign_server_has_sessions_by_replay(server: Recorded, client: FusionSandbox) -> None:
    server.script = [(404, b'{"detail": "Not Found"}', {})]
    session = client.session()
    assert session.run("x = 1").ok
    session.run("print(x)")
    assert set(server.requests[0]) == {"torl"}
    assert "x = 1" in server.requests[-1]["code"]
    session.close()


def test_an_answer_that_came_before_the_body_was_sent_is_read() -> None:
    calls: list[bytes] = []

    def refuse(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                calls.append(connection.recv(100))
                connection.sendall(b"HTTP/1.1 413 Too Long\r\nContent-Length: 4\r\n\r\nlong")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            FusionSandbox(url, backoff=0.01) as client,
            pytest.raises(SandboxError, match="413: long"),
        ):
            client.run("#" * 20_000_000)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert len(calls) == 1
