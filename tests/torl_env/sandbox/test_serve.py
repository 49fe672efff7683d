"""`torl sandbox serve`: Sandbox Fusion's form from the outside, with plain HTTP."""

import http.client
import json
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from torl_env.sandbox import LocalSandbox
from torl_env.sandbox.backends.fusion_server import ServeOptions


def ask(
    url: str, body: object, *, path: str = "/run_code", method: str = "POST", token: str = ""
) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, data, headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    return response.status, json.loads(answer) if answer.startswith((b"{", b'"')) else answer


@pytest.fixture(scope="module")
def url(serve: Callable[..., str]) -> str:
    return serve()


def test_ping(url: str) -> None:
    assert ask(url, b"", path="/v1/ping", method="GET") == (200, "pong")


def test_success_has_the_recorded_form(url: str) -> None:
    status, answer = ask(url, {"code": "print('hi')", "language": "python"})
    assert status == 200
    assert answer["run_result"].pop("execution_time") > 0
    assert answer == {
        "status": "Success",
        "message": "",
        "compile_result": None,
        "run_result": {"status": "Finished", "return_code": 0, "stdout": "hi\n", "stderr": ""},
        "executor_pod_name": None,
        "files": {},
    }


@pytest.mark.parametrize(
    ("body", "status", "run_status", "code", "stdout"),
    [
        ({"code": "1/0"}, "Failed", "Finished", 1, ""),
        ({"code": "import sys; sys.exit(3)"}, "Failed", "Finished", 3, ""),
        ({"code": "import ctypes; ctypes.string_at(0)"}, "Failed", "Finished", -11, ""),
        (
            {"code": "print('before')\nwhile 1: pass", "run_timeout": 0.3},
            "Failed",
            "TimeLimitExceeded",
            None,
            "before\n",
        ),
        ({"code": "print(input())", "stdin": "abc\n"}, "Success", "Finished", 0, "abc\n"),
        ({"code": "print(input())"}, "Failed", "Finished", 1, ""),
        ({"code": "x=("}, "Failed", "Finished", 1, ""),
        ({"code": ""}, "Success", "Finished", 0, ""),
        ({"code": "print(1)", "foo": 1}, "Success", "Finished", 0, "1\n"),
        ({"code": "print(1)", "run_timeout": -1}, "Failed", "TimeLimitExceeded", None, ""),
        (
            {"code": "x=bytearray(500*1024*1024)", "memory_limit_MB": 256},
            "Failed",
            "Finished",
            1,
            "",
        ),
        ({"code": "print('a\\x00b')"}, "Success", "Finished", 0, "a\x00b\n"),
        ({"code": "print('x'*1000000)", "run_timeout": 3}, "Success", "Finished", 0, None),
    ],
)
def test_results(
    url: str, body: dict[str, Any], status: str, run_status: str, code: int, stdout: str | None
) -> None:
    http_status, answer = ask(url, {"language": "python", **body})
    assert http_status == 200
    run = answer["run_result"]
    assert (answer["status"], run["status"], run["return_code"]) == (status, run_status, code)
    assert stdout is None or run["stdout"] == stdout


@pytest.mark.parametrize(
    ("body", "kind", "place"),
    [
        (b"{", "json_invalid", ["body"]),
        (b"[1]", "model_type", ["body"]),
        ({"language": "python"}, "missing", ["body", "code"]),
        ({"code": "1"}, "missing", ["body", "language"]),
        ({"code": "1", "language": "python3"}, "literal_error", ["body", "language"]),
        ({"code": 1, "language": "python"}, "string_type", ["body", "code"]),
        (
            {"code": "1", "language": "python", "run_timeout": "x"},
            "number_type",
            ["body", "run_timeout"],
        ),
        (
            {"code": "1", "language": "python", "files": {"a": "no base64"}},
            "value_error",
            ["body", "files"],
        ),
        (
            {"code": "1", "language": "python", "files": {"../../etc/a": "eA=="}},
            "value_error",
            ["body", "files"],
        ),
        (
            {"code": "1", "language": "python", "torl": {"cpu_seconds": -1}},
            "greater_than",
            ["body", "torl", "cpu_seconds"],
        ),
    ],
)
def test_invalid_requests(url: str, body: object, kind: str, place: list[str]) -> None:
    status, answer = ask(url, body)
    assert status == 422
    assert (answer["detail"][0]["type"], answer["detail"][0]["loc"]) == (kind, place)


def test_other_paths_and_methods(url: str) -> None:
    assert ask(url, b"", path="/secret")[0] == 404
    assert ask(url, b"", method="PUT")[0] == 405


def test_what_is_not_http(url: str) -> None:
    parts = urlsplit(url)
    for data, status in (
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"a" * 400_000, b"400"),
    ):
        with socket.create_connection((parts.hostname, parts.port), 10) as connection:
            connection.sendall(data)
            assert status in connection.recv(100)


def test_token(serve: Callable[..., str]) -> None:
    url = serve(token="secret")
    body = {"code": "print(1)", "language": "python"}
    assert ask(url, body)[0] == 401
    assert ask(url, body, token="wrong")[0] == 401
    assert ask(url, body, token="secret")[0] == 200


def test_a_public_server_needs_a_token() -> None:
    with pytest.raises(ValueError, match="token"):
        ServeOptions(host="0.0.0.0")
    ServeOptions(host="0.0.0.0", token="x")


def test_large_bodies_are_refused(serve: Callable[..., str]) -> None:
    url = serve(body_bytes=1000)
    assert ask(url, {"code": "#" * 2000, "language": "python"})[0] == 413


def test_a_full_queue_says_so(serve: Callable[..., str], local: LocalSandbox) -> None:
    url = serve(queue=1)
    parts = urlsplit(url)
    slow = json.dumps({"code": "while 1: pass", "language": "python", "run_timeout": 30})
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        head = f"POST /run_code HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(slow)}\r\n\r\n"
        connection.sendall((head + slow).encode())
        body = {"code": "print(1)", "language": "python"}
        deadline = time.monotonic() + 10
        while ask(url, body)[0] != 503:
            assert time.monotonic() < deadline
    # The client has hung up, so its program is killed and the place is free.
    deadline = time.monotonic() + 10
    while ask(url, body)[0] != 200 or local.running:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_rate_is_bounded(serve: Callable[..., str]) -> None:
    url = serve(rate=2)
    body = {"code": "", "language": "python"}
    statuses = [ask(url, body)[0] for _ in range(6)]
    assert 429 in statuses
    assert statuses[0] == 200


def cells(url: str, *texts: str, **more: Any) -> Any:
    status, answer = ask(url, {"cells": list(texts), **more}, path="/run_jupyter")
    assert status == 200
    return answer


def test_a_notebook(url: str) -> None:
    answer = cells(
        url,
        "a = 123",
        "a",
        "print(a)",
        "import sys; sys.stderr.write('said'); None",
        "b = 5\nraise RuntimeError('no')",
        "x = (",
        "print(b); 'end'",
    )
    assert (answer["status"], answer["driver"]["status"]) == ("Success", "Finished")
    shown = [
        (cell["stdout"], [item["data"]["text/plain"] for item in cell["display"]])
        for cell in answer["cells"]
    ]
    nothing: tuple[str, list[str]] = ("", [])
    assert shown == [
        nothing,
        ("", ["123"]),
        ("123\n", []),
        nothing,
        nothing,
        nothing,
        ("5\n", ["'end'"]),
    ]
    assert answer["cells"][3]["stderr"] == "said"
    (error,) = answer["cells"][4]["error"]
    assert (error["ename"], error["evalue"]) == ("RuntimeError", "no")
    assert any("line 2" in line for line in error["traceback"])
    assert answer["cells"][5]["error"][0]["ename"] == "SyntaxError"


def test_a_cell_may_begin_with_the_mark_of_its_encoding(url: str) -> None:
    answer = cells(url, "\ufeffprint(1)", "\ufeffprint(2)")
    assert [cell["stdout"] for cell in answer["cells"]] == ["1\n", "2\n"]


def test_a_cell_quotes_the_cell_that_an_error_is_in(url: str) -> None:
    answer = cells(url, "def f(v):\n    return 1 / len(v)", "v = []\nf(v)")
    (error,) = answer["cells"][1]["error"]
    lines = error["traceback"]
    assert lines[lines.index('  File "<cell 2>", line 2, in <module>') + 1] == "    f(v)"
    assert lines[lines.index('  File "<cell 1>", line 2, in f') + 1] == "    return 1 / len(v)"


def test_a_notebook_out_of_time(url: str) -> None:
    answer = cells(url, "x = 1", "while True: pass", total_timeout=1)
    assert answer["status"] == "Failed"
    assert (answer["driver"]["status"], answer["cells"]) == ("TimeLimitExceeded", [])


@pytest.mark.parametrize(
    "body", [{}, {"cells": "1"}, {"cells": [1]}, {"cells": [], "kernel": "R"}], ids=str
)
def test_notebooks_that_are_none(url: str, body: dict[str, Any]) -> None:
    assert ask(url, body, path="/run_jupyter")[0] == 422


FILES = {
    "the recorded one": (
        "print(open('a/b.txt').read()); open('o.txt','w').write('out')",
        {"a/b.txt": b"data"},
        ["o.txt", "missing.txt"],
        "data\n",
        {"o.txt": b"out"},
    ),
    "numpy": (
        "import numpy as np\nx = np.loadtxt('m.csv', delimiter=',')\nnp.save('m.npy', x * 2)\n"
        "print(np.load('m.npy').sum())",
        {"m.csv": b"1,2\n3,4\n"},
        [],
        "20.0\n",
        {},
    ),
    "os and pathlib": (
        "import os\nfrom pathlib import Path\nPath('d').mkdir()\n"
        "Path('d/x').write_bytes(b'\\0\\xff')\n"
        "print(os.listdir('.'), os.path.getsize('d/x'), Path('d').is_dir(), os.path.exists('no'))\n"
        "os.rename('d/x', 'y'); os.remove('in')\nprint(sorted(os.listdir()))",
        {"in": b""},
        ["y", "in"],
        "['d', 'in'] 2 True False\n['d', 'y']\n",
        {"y": b"\0\xff"},
    ),
    "append and update": (
        "with open('a', 'a') as f: f.write('2')\nwith open('a', 'r+') as f: f.write('0')\n"
        "print(open('a').read())",
        {"a": b"11"},
        ["a"],
        "012\n",
        {"a": b"012"},
    ),
    "fetched after an error": (
        "open('o', 'w').write('x')\n1/0",
        {},
        ["o"],
        "",
        {"o": b"x"},
    ),
    "written by threads and at the end": (
        "import atexit, threading, time\nprint('early')\n"
        "def late(): time.sleep(0.2); open('a', 'w').write('late'); print('late')\n"
        "threading.Thread(target=late).start()\natexit.register(print, 'bye')",
        {},
        ["a"],
        "early\nlate\nbye\n",
        {"a": b"late"},
    ),
    "a module": (
        "import helper, json\nprint(helper.x, hasattr(json, 'dumps'))",
        {"helper.py": b"x = 1", "json.py": b""},
        [],
        "1 True\n",
        {},
    ),
    "no room": (
        "try: open('big', 'wb').write(b'x' * 15_000_000)\nexcept OSError as e: print(e.strerror)",
        {},
        ["big"],
        "No space left on device\n",
        {},
    ),
    "nothing of the host": (
        "try: print(open('/etc/hostname').read())\nexcept OSError: print('refused')",
        {"a": b""},
        ["/etc/hostname"],
        "refused\n",
        {},
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files(url: str, name: str) -> None:
    code, sent, fetch, stdout, fetched = FILES[name]
    files = {path: b64encode(data).decode() for path, data in sent.items()}
    _, answer = ask(url, {"code": code, "language": "python", "files": files, "fetch_files": fetch})
    assert answer["run_result"]["stdout"] == stdout, answer
    assert {path: b64decode(data) for path, data in answer["files"].items()} == fetched


def test_what_follows_fetched_files_is_output(url: str) -> None:
    code = (
        "import sys\nopen('a', 'w').write('1')\nprint('early')\n"
        "sys.excepthook = lambda *words: print('late')\n1/0"
    )
    answer = ask(url, {"code": code, "language": "python", "fetch_files": ["a"]})[1]
    assert answer["run_result"]["stdout"] == "early\nlate\n"
    assert answer["files"] == {"a": b64encode(b"1").decode()}


@pytest.mark.parametrize(
    "more",
    [
        {"files": {"a\0b": ""}},
        {"files": {"\ud800": ""}},
        {"files": {"d/b": "", "./d/b/c": ""}},
        {"files": {"x" * 256: ""}},
        {"fetch_files": ["a\0b"]},
        {"fetch_files": ["\ud800"]},
    ],
    ids=str,
)
def test_names_that_no_file_can_have_are_the_clients_fault(url: str, more: dict[str, Any]) -> None:
    status, answer = ask(url, {"code": "print(1)", "language": "python", **more})
    assert status == 422, answer


def test_a_traceback_among_files_is_the_programs_own(url: str) -> None:
    body = {"code": "x = 1\n1/0", "language": "python", "files": {"a": "c2VjcmV0"}}
    run = ask(url, body)[1]["run_result"]
    assert run["stderr"].splitlines()[:3] == [
        "Traceback (most recent call last):",
        '  File "/sandbox/main.py", line 2, in <module>',
        "    1/0",
    ]
    assert "c2VjcmV0" not in run["stderr"]


def test_an_answer_does_not_wait_for_an_acknowledgement(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def seconds(method: str) -> float:
        began = time.perf_counter()
        for _ in range(30):
            connection.request(method, "/v1/ping")
            connection.getresponse().read()
        return time.perf_counter() - began

    # The one has a body, which goes out after the head, and the other has none.
    assert min(seconds("GET") for _ in range(3)) < 8 * min(seconds("HEAD") for _ in range(3))
    connection.close()
