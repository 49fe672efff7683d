"""The server against clients that mean harm or are broken."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from torl_env.errors import SandboxError
from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.backends.fusion_client import FusionSandbox

Serve = Callable[..., str]
PROGRAM = json.dumps({"code": "print(1)", "language": "python"}).encode()
ENDLESS = json.dumps({"code": "while 1: pass", "language": "python", "run_timeout": 60}).encode()

BIG = json.dumps(
    {
        "code": "print('\\x01' * 4_000_000)",
        "language": "python",
        "torl": {"output_bytes": 4_194_304},
    }
).encode()
"""An answer of 24 MB, for JSON has six characters for each."""


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), 20) as connection:
        yield connection


def head(*lines: str, length: int | None = None, path: str = "/run_code") -> bytes:
    size = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *size, *lines, "", ""]).encode()


def status(connection: socket.socket) -> int:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def received(connection: socket.socket) -> int:
    """Bytes until there are no more."""
    size = 0
    connection.settimeout(5)
    with suppress(ConnectionError, TimeoutError):
        while part := connection.recv(1 << 20):
            size += len(part)
    return size


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["Host: evil.example"], 400),
        (["Origin: http://evil.example"], 403),
        (["Content-Type: text/plain"], 415),
        (["Content-Type: application/json; charset=utf-8"], 200),
    ],
)
def test_web_pages_are_refused(serve: Serve, lines: list[str], wanted: int) -> None:
    with connected(serve()) as connection:
        connection.sendall(head(*lines, length=len(PROGRAM)) + PROGRAM)
        assert status(connection) == wanted


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("localhost:99", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("[::1].evil.example", 403),
        ("box.lan:8080", 200),
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(
    serve: Serve, host: str, wanted: int
) -> None:
    with connected(serve(hosts=("box.lan",))) as connection:
        connection.sendall(f"GET /v1/ping HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert status(connection) == wanted


@pytest.mark.parametrize(("lines", "length", "wanted"), [([], 100, 401), ([], 10**15, 401)])
def test_token_and_size_are_judged_before_the_body(
    serve: Serve, lines: list[str], length: int, wanted: int
) -> None:
    with connected(serve(token="secret")) as connection:
        connection.sendall(head(*lines, length=length))
        assert status(connection) == wanted
    with connected(serve(token="secret")) as connection:
        connection.sendall(head("Authorization: Bearer secret", length=10**9))
        assert status(connection) == 413


def test_a_client_that_waits_for_leave_is_told_before_it_sends(serve: Serve) -> None:
    url = serve(body_bytes=1000)
    with connected(url) as connection:
        connection.sendall(head("Expect: 100-continue", length=len(PROGRAM)))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(PROGRAM)
        assert status(connection) == 200
    with connected(url) as connection:
        connection.sendall(head("Expect: 100-continue", length=2000))
        assert status(connection) == 413


def test_chunked_bodies_are_taken_and_bounded(serve: Serve) -> None:
    url = serve(body_bytes=1000)
    with connected(url) as connection:
        parts = b"".join(b"1\r\n%c\r\n" % byte for byte in PROGRAM)
        connection.sendall(head("Transfer-Encoding: chunked") + parts + b"0\r\n\r\n")
        assert status(connection) == 200
    with connected(url) as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        connection.sendall(b"1\r\nx\r\n")
        assert status(connection) == 413


def test_our_client_sends_a_body_over_the_limit_once(serve: Serve) -> None:
    with FusionSandbox(serve(body_bytes=100_000), backoff=30) as client:
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(SandboxError, match="413"):
                client.run("#" * 8_000_000)
        assert client.run("print(1)").ok
        # Each would have been tried again after 21 seconds at the least.
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "limits",
    [
        '"run_timeout": Infinity',
        '"run_timeout": 1e999',
        '"run_timeout": NaN',
        f'"run_timeout": 1{"0" * 400}',
        f'"run_timeout": 1{"0" * 5000}',
        '"memory_limit_MB": 1.5',
        '"torl": {"processes": 2.5}',
        '"torl": {"cpu_seconds": Infinity}',
        f'"torl": {{"memory_mb": 1{"0" * 400}}}',
    ],
    ids=lambda text: text[:32],
)
def test_numbers_that_are_none_are_422(serve: Serve, limits: str) -> None:
    body = f'{{"code": "print(1)", "language": "python", {limits}}}'.encode()
    with connected(serve()) as connection:
        connection.sendall(head(length=len(body)) + body)
        assert status(connection) == 422


@pytest.mark.parametrize("extra", [b"", b"x", b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_hang_up_kills_the_program(
    serve: Serve, local: LocalSandbox, wait_until: Callable[..., None], extra: bytes
) -> None:
    url = serve()
    with connected(url) as connection:
        connection.sendall(head(length=len(ENDLESS)) + ENDLESS)
        wait_until(lambda: local.running == 1)
        # What comes early makes a server stop reading, which must not hide the end.
        connection.sendall(extra)
        time.sleep(0.3)
    wait_until(lambda: local.running == 0)


def test_hang_ups_in_the_middle_of_a_body_are_no_errors(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    url = serve()
    for _ in range(20):
        with connected(url) as connection:
            connection.sendall(head(length=1000) + b"{")
    with connected(url) as connection:
        connection.sendall(head(length=len(PROGRAM)) + PROGRAM)
        assert status(connection) == 200
    # Who wrote a traceback for each would fill a log, or stop at a pipe that nobody reads.
    assert caplog.records == []


def test_connections_are_bounded(serve: Serve) -> None:
    url = serve(connections=5)
    with ExitStack() as stack:
        held = [stack.enter_context(connected(url)) for _ in range(5)]
        with connected(url) as connection:
            assert status(connection) == 503
        held[0].sendall(head(length=len(PROGRAM)) + PROGRAM)
        assert status(held[0]) == 200


def test_who_sends_slowly_is_hung_up_on(serve: Serve) -> None:
    url = serve(read_seconds=0.3, queue=1)
    with connected(url) as silent, connected(url) as slow, connected(url) as kept:
        slow.sendall(head(length=100) + b"{")
        # Neither has a place in the queue.
        kept.sendall(head(length=len(PROGRAM)) + PROGRAM)
        assert status(kept) == 200
        assert [received(connection) for connection in (silent, slow)] == [0, 0]
        time.sleep(0.4)
        kept.sendall(head(length=len(PROGRAM)) + PROGRAM)
        assert status(kept) == 200, "the time of a request does not run between two of them"


@pytest.mark.slow
def test_who_does_not_read_is_hung_up_on_and_stalls_nobody(serve: Serve) -> None:
    url = serve(write_seconds=0.5)
    with ExitStack() as stack, connected(url) as other:
        deaf = [stack.enter_context(connected(url)) for _ in range(8)]
        for connection in deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head(length=len(BIG)) + BIG)
        worst = 0.0
        for _ in range(20):
            began = time.monotonic()
            other.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(other) == 200
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.1)
        assert worst < 4
        assert max(map(received, deaf)) < 24_000_000


@pytest.mark.slow
def test_unread_answers_are_bounded_together(serve: Serve) -> None:
    url = serve(unread_bytes=50_000_000)
    with ExitStack() as stack:
        deaf = [stack.enter_context(connected(url)) for _ in range(4)]
        for connection in deaf:
            connection.sendall(head(length=len(BIG)) + BIG)
        whole = [received(connection) > 24_000_000 for connection in deaf]
    assert any(whole)
    assert not all(whole)


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stop_is_told_to_who_waits(number: int) -> None:
    start = (
        "from torl.commands.sandbox import *; raise SystemExit(serve_forever(ServeCommand(port=0)))"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", start], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith("serving on http://127.0.0.1:")
            url = line.split()[2]
            with connected(url) as connection, connected(url) as idle:
                connection.sendall(head(length=len(PROGRAM)) + PROGRAM)
                assert status(connection) == 200
                connection.sendall(head(length=len(ENDLESS)) + ENDLESS)
                time.sleep(0.3)
                server.send_signal(number)
                assert status(connection) == 503
                assert idle.recv(1) == b""
            assert server.wait(30) == 0
        finally:
            server.kill()


@pytest.mark.parametrize(
    "path", [pytest.param("/faas/sandbox/", marks=pytest.mark.long), "/faas/sandbox/run_code"]
)
def test_a_path_prefix(serve: Serve, path: str) -> None:
    url = serve(path_prefix="/faas/sandbox")
    with connected(url) as connection:
        connection.sendall(head(length=len(PROGRAM), path=path) + PROGRAM)
        assert status(connection) == 200
        connection.sendall(head(length=len(PROGRAM)) + PROGRAM)
        assert status(connection) == 404
    with FusionSandbox(url + "/faas/sandbox") as client:
        assert client.run("print(1)").ok
        assert client.session().run("print(1)").ok


def test_sessions_are_bounded_and_expire(serve: Serve, wait_until: Callable[..., None]) -> None:
    url = serve(sessions=2, idle_seconds=1.0)
    with FusionSandbox(url) as client:
        one, two = client.session(), client.session()
        with pytest.raises(SandboxError, match="all 2 sessions are taken"):
            client.session()
        with pytest.raises(SandboxError, match="all 2 sessions are taken"):
            one.branch()
        two.close()
        wait_until(lambda: opens(client))
        time.sleep(3)
        with pytest.raises(SandboxError, match="no session has this id"):
            one.run("1")
        with pytest.raises(SandboxError, match="closed"):
            one.run("1")


def opens(client: FusionSandbox) -> bool:
    try:
        client.session().close()
    except SandboxError:
        return False
    return True


def test_a_turn_runs_once_and_a_lost_one_ends_its_session(
    serve: Serve, local: LocalSandbox, wait_until: Callable[..., None]
) -> None:
    with FusionSandbox(serve()) as client:
        session = client.session()
        assert session.run("x = 1").ok
        path = session.path  # type: ignore[attr-defined]
        again = client.ask("POST", f"{path}/turns", {"code": "x += 1", "turn": 0})
        assert again.status == 409
        assert session.run("print(x)").stdout == "1\n"
        ended: list[BaseException] = []

        def turn() -> None:
            try:
                session.run("while 1: pass")
            except SandboxError as error:
                ended.append(error)

        waiting = threading.Thread(target=turn)
        waiting.start()
        wait_until(lambda: local.running == 1)
        session.close()
        waiting.join(20)
        wait_until(lambda: local.running == 0)
        assert ended
        assert client.ask("POST", f"{path}/turns", {"code": "1", "turn": 3}).status == 404
