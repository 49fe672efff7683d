"""The OpenEnv server over real sockets: forms, sessions, hostile and broken clients."""

import http.client
import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewards.types import Grade, Verdict
from torl_env import ToRLMathEnv
from torl_env.adapters.openenv import OpenEnvServer, ServerOptions
from torl_env.adapters.openenv_client import OpenEnvClient, RemoteError
from torl_env.adapters.openenv_sessions import RequestError, Sessions
from torl_env.testing import FaultySandbox, problem_list

PROBLEMS = problem_list([("What is 6*7?", "42"), ("What is 2+2?", "4")])
CALL = "```python\nprint(6*7)\n```"


def Serving(make, **options):  # noqa: N802
    return OpenEnvServer(make, ServerOptions(port=0, **options))


@pytest.fixture(scope="module")
def make(box):
    return lambda: ToRLMathEnv(PROBLEMS, sandbox=box)


@pytest.fixture(scope="module")
def server(make):
    with Serving(make) as running:
        yield running


def call(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(
        method, path, body=body if body is None else json.dumps(body), headers=headers
    )
    answer = connection.getresponse()
    seen = answer.status, json.loads(answer.read())
    connection.close()
    return seen


def test_an_episode_over_http(server):
    status, seen = call(server, "POST", "/reset", {"problem_id": "list-0", "seed": 1})
    assert status == 200
    assert set(seen) == {"observation", "reward", "done"}
    assert (seen["reward"], seen["done"]) == (None, False)
    assert seen["observation"]["text"] == "What is 6*7?"
    name = seen["observation"]["episode_id"]
    status, seen = call(server, "POST", "/step", {"action": {"text": CALL}, "episode_id": name})
    assert (status, seen["reward"], seen["done"]) == (200, 0.0, False)
    assert seen["observation"]["text"] == "\n```output\n42\n```\n"
    _, seen = call(server, "POST", "/step", {"action": {"text": "\\boxed{42}"}, "episode_id": name})
    assert (seen["reward"], seen["done"]) == (1.0, True)
    assert seen["observation"]["terminated"]
    assert seen["observation"]["info"]["verdict"] == "correct"
    state = {"episode_id": name, "step_count": 2}
    assert state.items() <= call(server, "GET", f"/state?episode_id={name}")[1].items()
    assert call(server, "POST", "/step", {"action": {"text": "x"}, "episode_id": name})[0] == 409
    assert call(server, "POST", "/close", {"episode_id": name}) == (200, {"closed": True})
    assert call(server, "GET", f"/state?episode_id={name}")[0] == 404


def test_a_name_of_the_clients_own_is_its_session(server):
    call(server, "POST", "/reset", {"episode_id": "mine", "problem_id": "list-0"})
    before = len(server.sessions)
    _, seen = call(server, "POST", "/reset", {"episode_id": "mine", "problem_id": "list-1"})
    assert seen["observation"]["text"] == "What is 2+2?"
    assert len(server.sessions) == before
    call(server, "POST", "/close", {"episode_id": "mine"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/reset", {"seed": -1}, 422),
        ("POST", "/reset", {"seed": True}, 422),
        ("POST", "/reset", {"problem_id": "nowhere"}, 422),
        ("POST", "/reset", {"episode_id": ["a"]}, 422),
        ("POST", "/reset", [1], 422),
        ("POST", "/step", {"action": {"text": "x"}}, 404),
        ("POST", "/step", {"action": {"text": "x"}, "episode_id": {}}, 422),
        ("POST", "/nowhere", {}, 404),
        ("GET", "/nowhere", None, 404),
        ("GET", "/ws", None, 426),
        ("GET", "/state", None, 404),
    ],
)
def test_what_is_refused(server, method, path, body, status):
    seen = call(server, method, path, body)
    assert seen[0] == status
    assert seen[1]["detail"]


def test_a_refused_reset_leaves_no_session(server):
    before = len(server.sessions)
    call(server, "POST", "/reset", {"problem_id": "nowhere"})
    assert len(server.sessions) == before


def failing(words):
    raise KeyError("secret")


def test_resets_that_fail_leave_their_places(caplog):
    with Serving(lambda: ToRLMathEnv(PROBLEMS, prompt=failing), sessions=2) as server:
        told = {"detail": "the environment failed (KeyError): see the server's log"}
        for _ in range(3):
            assert call(server, "POST", "/reset", {}) == (500, told)
        assert len(server.sessions) == 0
        with OpenEnvClient(server.url) as client:
            with pytest.raises(RemoteError, match=r"EXECUTION_ERROR.*failed \(KeyError\)"):
                client.reset()
            assert client.state()["step_count"] == 0
    assert "secret" in caplog.text


def test_an_environment_that_cannot_be_made_is_told(caplog):
    with Serving(lambda: failing("")) as server:
        assert call(server, "POST", "/reset", {})[0] == 500
        with pytest.raises(RemoteError, match=r"answered 500.*failed \(KeyError\)"):
            OpenEnvClient(server.url)


def test_a_grader_that_fails_leaves_the_episode_as_it_was(box, caplog):
    def grader(response, reference):
        if "fail" in response:
            raise KeyError(reference)
        return True

    with Serving(lambda: ToRLMathEnv(PROBLEMS, sandbox=box, grader=grader)) as server:
        name = call(server, "POST", "/reset", {})[1]["observation"]["episode_id"]
        failed = {"action": {"text": "fail"}, "episode_id": name}
        status, told = call(server, "POST", "/step", failed)
        assert (status, set(told)) == (500, {"detail"})
        again = {"action": {"text": "\\boxed{42}"}, "episode_id": name}
        assert call(server, "POST", "/step", again)[1]["reward"] == 1.0


@pytest.mark.parametrize(
    "action", [None, "text", {}, {"text": 1}, {"text": "x", "cut": 1}, {"text": "x", "code": "y"}]
)
def test_an_action_of_another_form_changes_nothing(server, action):
    with OpenEnvClient(server.url) as client:
        client.reset(problem_id="list-0")
        with pytest.raises(RemoteError, match="VALIDATION_ERROR"):
            client.ask({"type": "step", "data": action})
        assert client.state()["step_count"] == 0
        assert client.step("\\boxed{42}").reward == 1.0


def test_what_the_server_says_of_itself(server):
    assert call(server, "GET", "/health") == (200, {"status": "healthy"})
    assert call(server, "GET", "/metadata")[1]["name"] == "ToRLMath-v0"
    assert set(call(server, "GET", "/schema")[1]) == {"action", "observation", "state"}


def test_every_operation_of_the_openapi_document_is_served(server):
    status, document = call(server, "GET", "/openapi.json")
    assert (status, document["info"]["version"]) == (200, "1.0.0")
    # By these OpenEnv tells an environment to train in from one that only has tools.
    assert {"/reset", "/step", "/state"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method in operations:
            body = {} if method == "post" else None
            _, seen = call(server, method.upper(), path, body)
            assert seen.get("detail") not in ("Not Found", "Method Not Allowed"), path


@pytest.mark.parametrize(
    ("body", "key", "said"),
    [
        ({}, None, -32600),
        ([], None, -32600),
        ({"jsonrpc": "2.0", "id": 3, "method": "dance"}, 3, -32601),
        ({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {}}, "a", -32602),
        ({"jsonrpc": "2.0", "id": 4, "method": "tools/list"}, 4, {"tools": []}),
    ],
)
def test_mcp_has_no_tools(server, body, key, said):
    status, seen = call(server, "POST", "/mcp", body)
    assert (status, seen["jsonrpc"], seen["id"]) == (200, "2.0", key)
    assert seen.get("result", seen.get("error", {}).get("code")) == said


def test_a_session_over_websocket(server):
    with OpenEnvClient(server.url) as client:
        assert client.reset(problem_id="list-0", episode_id="named").text == "What is 6*7?"
        assert client.step(CALL).text == "\n```output\n42\n```\n"
        seen = client.cut("It is \\boxed{41")
        assert (seen.done, seen.observation["truncated"], seen.reward) == (True, True, -1.0)
        assert client.state()["episode_id"] == "named"
        with pytest.raises(RemoteError, match=r"EXECUTION_ERROR.*reset before step"):
            client.step("more")
        with pytest.raises(RemoteError, match="UNKNOWN_TYPE"):
            client.ask({"type": "dance"})
        assert client.reset(problem_id="list-1").text == "What is 2+2?"


def test_an_answer_that_comes_too_late_is_no_answer_to_the_next_message(server):
    with OpenEnvClient(server.url, timeout=3) as client:
        client.reset(problem_id="list-0")
        with pytest.raises(RemoteError, match="no answer in 3 s"):
            client.step("```python\nimport time\ntime.sleep(8)\n```")
        with pytest.raises(RemoteError, match="connect again"):
            client.reset(problem_id="list-1")


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 1_000_000])
def test_messages_of_every_length_arrive(server, size):
    with OpenEnvClient(server.url) as client:
        client.reset(problem_id="list-0")
        assert client.step("x" * size + "\\boxed{42}").done


@pytest.mark.parametrize("text", ["\0", "\ud800", "שלום 日本 😀", "````" * 200])
def test_any_text_arrives(server, text):
    with OpenEnvClient(server.url) as client:
        client.reset(problem_id="list-0")
        assert client.step(text + "\n\n\\boxed{42}").done
        assert client.state()["step_count"] == 1


def test_clients_at_once_do_not_meet(server):
    def play(number):
        with OpenEnvClient(server.url) as client:
            client.reset(problem_id="list-0")
            shown = client.step(f"```python\nprint({number})\n```").text
            return shown.split("\n")[2], client.step("\\boxed{42}").reward

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(play, range(16))) == [(str(n), 1.0) for n in range(16)]


def until(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def test_places_are_bounded_and_come_back(make):
    with Serving(make, sessions=2) as server:
        first, second = OpenEnvClient(server.url), OpenEnvClient(server.url)
        with pytest.raises(RemoteError, match=r"503.*all 2 sessions are taken"):
            OpenEnvClient(server.url)
        first.close()
        assert until(lambda: len(server.sessions) == 1)
        second.socket.socket.shutdown(socket.SHUT_RDWR)
        assert until(lambda: len(server.sessions) == 0)
        second.close()


def test_a_finished_episode_makes_room(make):
    with Serving(make, sessions=1) as server:
        _, seen = call(server, "POST", "/reset", {})
        name = seen["observation"]["episode_id"]
        assert call(server, "POST", "/reset", {})[0] == 503
        call(server, "POST", "/step", {"action": {"text": "x"}, "episode_id": name})
        assert call(server, "POST", "/reset", {})[0] == 200


def test_idle_sessions_expire(make):
    with Serving(make, idle_seconds=0.3) as server:
        _, seen = call(server, "POST", "/reset", {})
        assert until(lambda: len(server.sessions) == 0)
        status, answer = call(
            server, "GET", f"/state?episode_id={seen['observation']['episode_id']}"
        )
        assert (status, "within 0.3 s" in answer["detail"]) == (404, True)


def test_a_session_in_the_middle_of_a_step_does_not_expire(make):
    sessions = Sessions(make, idle_seconds=0.01)
    key, session = sessions.open()
    time.sleep(0.05)
    with session.lock:
        sessions.expire()
        assert sessions.find(key) is session
    time.sleep(0.05)
    sessions.expire()
    with pytest.raises(RequestError):
        sessions.find(key)


def test_nothing_is_learned_from_a_failed_machine():
    def make():
        return ToRLMathEnv(PROBLEMS, sandbox=FaultySandbox(lambda *_: True))

    with Serving(make) as server, OpenEnvClient(server.url) as client:
        client.reset()
        seen = client.step(CALL)
        assert (seen.reward, seen.done) == (None, True)
        assert "a worker was killed" in seen.info["infra_error"]


def test_an_undecided_grade_has_no_reward(box):
    def give_up(response, reference):
        return Grade(Verdict.UNGRADABLE, response, "limit")

    with (
        Serving(lambda: ToRLMathEnv(PROBLEMS, sandbox=box, grader=give_up)) as server,
        OpenEnvClient(server.url) as client,
    ):
        client.reset()
        assert client.step("x").reward is None


def test_a_token_is_asked_for(make):
    with Serving(make, token="secret") as server:
        assert call(server, "POST", "/reset", {})[0] == 401
        with pytest.raises(RemoteError, match="401"):
            OpenEnvClient(server.url, token="wrong")
        with OpenEnvClient(server.url, token="secret") as client:
            assert client.reset().text
    with pytest.raises(ValueError, match="give a token"):
        ServerOptions(host="0.0.0.0")


def test_web_pages_may_not_call(server):
    assert call(server, "POST", "/reset", {}, Origin="http://evil.example")[0] == 403


def test_a_body_too_long_is_not_read(make):
    with Serving(make, body_bytes=100) as server:
        assert call(server, "POST", "/reset", {"seed": 1, "x": "y" * 200})[0] == 413
        with OpenEnvClient(server.url) as client:
            client.reset()
            with pytest.raises((RemoteError, OSError)):
                client.step("y" * 200)


def hand_shaken(server):
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    raw.sendall(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(1)
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    return raw


def frame(first, body, masked=True):
    return (
        bytes([first, (0x80 if masked else 0) | len(body)]) + (b"\0" * 4 if masked else b"") + body
    )


def test_fragments_and_pings_are_put_in_order(server):
    with hand_shaken(server) as raw:
        raw.sendall(
            frame(0x01, b'{"type": ') + frame(0x89, b"still there?") + frame(0x80, b'"state"}')
        )
        with raw.makefile("rb") as stream:
            assert stream.read(2 + 12) == b"\x8a\x0cstill there?"
            first, size = stream.read(2)
            assert first == 0x81
            assert json.loads(stream.read(size))["data"] == {"episode_id": None, "step_count": 0}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(0x81, b"{}", masked=False), 1002),
        (frame(0xC1, b"{}"), 1002),
        (frame(0x80, b"{}"), 1002),
        (frame(0x82, b"{}"), 1003),
        (frame(0x81, b"\xff\xfe"), 1007),
        (frame(0x09, b"x"), 1002),
        (b"\x81\xff" + struct.pack(">Q", 1 << 40), 1009),
    ],
    ids=["unmasked", "extension", "nothing to go on with", "binary", "not utf-8", "ping", "1 TiB"],
)
def test_broken_frames_close_with_the_right_code(server, sent, code):
    with hand_shaken(server) as raw:
        raw.sendall(sent)
        with raw.makefile("rb") as stream:
            first, size = stream.read(2)
            assert (first, stream.read(size)[:2]) == (0x88, struct.pack(">H", code))


def test_closing_the_server_ends_a_running_step(make):
    with Serving(make) as server:
        client = OpenEnvClient(server.url)
        client.reset()
        with ThreadPoolExecutor(1) as thread:
            step = thread.submit(client.step, "```python\nimport time; time.sleep(60)\n```")
            time.sleep(0.5)
            began = time.monotonic()
            server.sessions.close()
            with pytest.raises(RemoteError):
                step.result(timeout=30)
            assert time.monotonic() - began < 30
        client.close()
