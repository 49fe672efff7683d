"""The HTTP client against a local server, which is also the proxy."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from torl_env.http_client import HttpClient, Retry, UnreachableError

ELSEWHERE = "http://model.invalid/v1"
"""A name that nothing resolves (RFC 2606): only a proxy answers for it."""


class Handler(BaseHTTPRequestHandler):
    """Answers with the next status of a list, 200 where that is empty."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def answer(self):
        server = self.server
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.seen.append((self.command, self.path, self.headers.get("Proxy-Authorization")))
        self.send_response(server.statuses.pop(0) if server.statuses else 200)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = server.hangs_up

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_CONNECT(self):
        self.server.statuses = [502]
        self.answer()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """Knows when it has closed a connection."""

    def shutdown_request(self, request):
        super().shutdown_request(request)
        self.hung_up.set()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server(("127.0.0.1", 0), Handler) as made:
        made.seen, made.statuses, made.headers, made.connections = [], [], {}, 0
        made.hangs_up, made.hung_up = False, threading.Event()
        made.url = f"http://127.0.0.1:{made.server_port}"
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def client():
    opened = []

    def make(url, **retry):
        opened.append(HttpClient(url, retry=Retry(**{"attempts": 0, **retry})))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_a_connection_is_kept(server, client):
    asked = client(server.url)
    assert [asked.ask("POST", "/x", b"{}").status for _ in range(3)] == [200] * 3
    assert server.connections == 1


def test_a_connection_that_the_server_has_left_costs_no_attempt(server, client):
    server.hangs_up = True
    asked = client(server.url)
    asked.ask("POST", "/x", b"{}")
    assert server.hung_up.wait(60)
    assert asked.ask("POST", "/x", b"{}").status == 200
    assert server.connections == 2


@pytest.mark.parametrize("user", ["", "me:p%40ss@"])
def test_a_proxy_is_asked_for_the_whole_address(server, client, monkeypatch, user):
    monkeypatch.setenv("http_proxy", server.url.replace("//", f"//{user}"))
    assert client(ELSEWHERE).ask("POST", "/x", b"{}").status == 200
    expected = f"Basic {base64.b64encode(b'me:p@ss').decode()}" if user else None
    assert server.seen == [("POST", f"{ELSEWHERE}/x", expected)]


def test_a_proxy_opens_a_tunnel_to_a_server_of_https(server, client, monkeypatch):
    monkeypatch.setenv("https_proxy", server.url.replace("//", "//me:word@"))
    with pytest.raises(UnreachableError, match="502"):
        client(ELSEWHERE.replace("http:", "https:")).ask("POST", "/x", b"{}")
    expected = f"Basic {base64.b64encode(b'me:word').decode()}"
    assert server.seen == [("CONNECT", "model.invalid:443", expected)]


def test_no_proxy_is_asked_where_none_is_wanted(server, client, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client(server.url).ask("GET", "/x").status == 200
    assert [path for _, path, _ in server.seen] == ["/x"]
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "model.invalid")
    with pytest.raises(UnreachableError):
        client(ELSEWHERE).ask("GET", "/x")
    assert len(server.seen) == 1


def test_a_proxy_of_another_kind_is_refused(client, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"http://proxy:3128, got 'socks5:"):
        client(ELSEWHERE)


def test_what_a_busy_server_said_last_is_told(server, client):
    server.statuses = [429, 503]
    with pytest.raises(UnreachableError, match="2 attempts: HTTP 503") as refused:
        client(server.url, attempts=1, backoff=0.0).ask("POST", "/x", b"{}")
    assert refused.value.answer.status == 503
    server.statuses = [503]
    assert client(server.url, statuses=()).ask("POST", "/x", b"{}").status == 503


def test_a_server_says_when_to_ask_again(server, client):
    """Its own pause would be longer than the test may last; a wait of an hour is cut short."""
    server.statuses, server.headers = [503], {"Retry-After": "0"}
    assert client(server.url, attempts=1, backoff=3600.0).ask("GET", "/x").status == 200
    server.statuses, server.headers = [503], {"Retry-After": "3600"}
    with pytest.raises(UnreachableError):
        client(server.url, attempts=9, seconds=60.0, longest_wait=3600.0).ask("GET", "/x")
    assert len(server.seen) == 3
    server.statuses = [503]
    assert client(server.url, attempts=1, longest_wait=0.0).ask("GET", "/x").status == 200
