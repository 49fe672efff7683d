"""What every sandbox promises, run over every backend: the truth table, sessions, futures."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from importlib.util import find_spec
from pathlib import Path

import pytest

from torl_env.errors import SandboxError
from torl_env.sandbox import Limits, LocalSandbox, Sandbox, Status, SubprocessSandbox, UnsafeSandbox
from torl_env.sandbox.backends.fusion_client import FusionSandbox
from torl_env.sandbox.backends.fusion_server import SandboxServer, ServeOptions

LIMITS = Limits(cpu_seconds=0.5, wall_seconds=1.0, memory_mb=256, output_bytes=1000)

TABLE = {
    "prints": ("print('hi')", Status.OK, "hi\n", "", 0),
    "silent": ("x = 1", Status.OK, "", "", 0),
    "empty": ("", Status.OK, "", "", 0),
    "prints Error": ("print('Error: fine')", Status.OK, "Error: fine\n", "", 0),
    "warns": (
        "import sys; sys.stderr.write('Traceback: Error'); print(1)",
        Status.OK,
        "1\n",
        "",
        0,
    ),
    "prints then raises": (
        "print('a')\nb",
        Status.ERROR,
        "a\n",
        "NameError: name 'b' is not defined",
        1,
    ),
    "raises": ("1/0", Status.ERROR, "", "ZeroDivisionError: division by zero", 1),
    "raises bare": ("raise KeyboardInterrupt", Status.ERROR, "", "KeyboardInterrupt", 1),
    "raises own": (
        "class E(Exception): pass\nraise E('x')",
        Status.ERROR,
        "",
        "E: x",
        1,
    ),
    "raises in lines": ("raise ValueError('a\\nb')", Status.ERROR, "", "ValueError: a b", 1),
    "raises with a note": (
        "try: 1/0\nexcept ZeroDivisionError as e: e.add_note('n'); raise",
        Status.ERROR,
        "",
        "ZeroDivisionError: division by zero",
        1,
    ),
    "asserts": ("assert 1 == 2", Status.ERROR, "", "AssertionError", 1),
    "recurses": (
        "def f(): f()\nf()",
        Status.ERROR,
        "",
        "RecursionError: maximum recursion depth exceeded",
        1,
    ),
    "exits": ("import sys; print('a'); sys.exit(0)", Status.OK, "a\n", "", 0),
    "exits 3": ("import sys; sys.exit(3)", Status.ERROR, "", "SystemExit: 3", 3),
    "exits with words": ("raise SystemExit('no')", Status.ERROR, "", "SystemExit: no", 1),
    "begins with the mark of its encoding": ("\ufeffprint(1)", Status.OK, "1\n", "", 0),
    "syntax": ("print(1)\nx=(", Status.SYNTAX_ERROR, "", "SyntaxError: '(' was never closed", 1),
    "syntax later": (
        "print(1)\nexec('x=(')",
        Status.ERROR,
        "1\n",
        "SyntaxError: '(' was never closed",
        1,
    ),
    "reads input": (
        "print(1); input()",
        Status.ERROR,
        "1\n",
        "EOFError: EOF when reading a line",
        1,
    ),
    "leaves with a number beyond the machine's": (
        "raise SystemExit(1 << 64)",
        Status.ERROR,
        "",
        f"SystemExit: {1 << 64}",
        255,
    ),
    "leaves with a number that would be asked": (
        "class N(int): __and__ = lambda *a: 0\nraise SystemExit(N(3))",
        Status.ERROR,
        "",
        "SystemExit: 3",
        3,
    ),
    "out of memory": ("print('m'); raise MemoryError", Status.MEMORY, "m\n", "MemoryError", 1),
}


def local() -> Sandbox:
    return LocalSandbox(LIMITS)


def unsafe() -> Sandbox:
    return UnsafeSandbox(LIMITS)


class Served(FusionSandbox):
    """A client that brings its server, in a thread of its own."""

    def __init__(self, sandbox: LocalSandbox | None = None) -> None:
        self._local = sandbox if sandbox is not None else LocalSandbox(LIMITS)
        self._server = SandboxServer(self._local, ServeOptions(port=0, limits=LIMITS)).start()
        super().__init__(self._server.url, LIMITS)

    def close(self) -> None:
        super().close()
        self._server.stop()
        self._local.close()


def plain() -> Sandbox:
    return SubprocessSandbox(LIMITS)


def on_ray() -> Sandbox:
    from torl_env.sandbox.backends.ray import RaySandbox

    return RaySandbox(LIMITS)


RAY = pytest.param(
    "ray",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(find_spec("ray") is None, reason="the ray extra is not installed"),
        pytest.mark.filterwarnings("ignore"),
    ],
)
ISOLATED: dict[str, Callable[[], Sandbox]] = {
    "local": local,
    "fusion": Served,
    "subprocess": plain,
}
BACKENDS: dict[str, Callable[[], Sandbox]] = ISOLATED | {"unsafe": unsafe}
WITH_SESSIONS = ("local", "fusion", "subprocess", "unsafe")
LIVE = ("local", "fusion")


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[Callable[[str], Sandbox]]:
    made: dict[str, Sandbox] = {}

    def get(name: str) -> Sandbox:
        if name == "fusion" and name not in made:
            # One set of warmed servers is enough for both.
            shared = get("local")
            assert isinstance(shared, LocalSandbox)
            made[name] = Served(shared)
        if name not in made:
            made[name] = on_ray() if name == "ray" else BACKENDS[name]()
        return made[name]

    yield get
    for sandbox in made.values():
        sandbox.close()


@pytest.fixture(params=[*BACKENDS, RAY])
def sandbox(request: pytest.FixtureRequest, sandboxes: Callable[[str], Sandbox]) -> Sandbox:
    return sandboxes(request.param)


@pytest.fixture(params=[*ISOLATED, RAY])
def isolated(request: pytest.FixtureRequest, sandboxes: Callable[[str], Sandbox]) -> Sandbox:
    return sandboxes(request.param)


@pytest.fixture(params=[*WITH_SESSIONS, RAY])
def stateful(request: pytest.FixtureRequest, sandboxes: Callable[[str], Sandbox]) -> Sandbox:
    return sandboxes(request.param)


def test_keeps_the_protocol(sandbox: Sandbox) -> None:
    assert isinstance(sandbox, Sandbox)


@pytest.mark.parametrize("name", TABLE)
def test_truth_table(sandbox: Sandbox, name: str) -> None:
    code, status, stdout, error, exit_code = TABLE[name]
    result = sandbox.run(code)
    assert (result.status, result.stdout, result.error) == (status, stdout, error)
    assert result.exit_code == exit_code
    assert result.ok is (status is Status.OK)
    assert not result.output_truncated


def test_warnings_are_kept_and_harmless(sandbox: Sandbox) -> None:
    result = sandbox.run("import sys; sys.stderr.write('Error: nothing')")
    assert result.ok
    assert result.stderr == "Error: nothing"


def test_traceback_names_no_file_of_the_host(sandbox: Sandbox) -> None:
    result = sandbox.run("import json\nprint('a')\njson.loads('{')")
    assert 'File "<program>", line 3' in result.stderr
    assert result.error_type == "JSONDecodeError"


def test_an_endless_loop_is_a_timeout_with_its_text(sandbox: Sandbox) -> None:
    result = sandbox.run("print('before', end='')\nwhile True: pass")
    assert result.status is Status.TIMEOUT
    assert result.stdout == "before"
    assert result.error_type == "timeout"
    # A plain process has no guard that knows how busy the machine is.
    used = result.cpu_seconds / LIMITS.cpu_seconds
    assert 0.8 < used < 3 or "wall" in result.error


def test_a_sleeper_is_a_timeout(sandbox: Sandbox) -> None:
    began = time.monotonic()
    result = sandbox.run("import time\nprint('before')\nwhile True: time.sleep(600)")
    assert result.status is Status.TIMEOUT
    assert result.stdout == "before\n"
    assert result.cpu_seconds < LIMITS.cpu_seconds
    assert time.monotonic() - began < 30


def test_catching_everything_does_not_help(isolated: Sandbox) -> None:
    code = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    assert isolated.run(code).status is Status.TIMEOUT


def test_output_is_bounded_with_head_and_tail(sandbox: Sandbox) -> None:
    result = sandbox.run("print('a' * 3000 + 'z' * 3000)")
    assert result.ok
    assert result.output_truncated
    assert len(result.stdout.encode()) <= LIMITS.output_bytes
    assert result.stdout.startswith("aaa")
    assert result.stdout.endswith("zzz\n")
    assert "bytes omitted" in result.stdout


def test_a_flood_of_output_is_ended(sandbox: Sandbox) -> None:
    result = sandbox.run("while True: print('x' * 100)")
    assert result.status is Status.OUTPUT_LIMIT
    assert result.stdout.startswith("xxx")
    assert result.output_truncated


def test_memory_is_bounded(isolated: Sandbox) -> None:
    result = isolated.run("print('a')\nx = bytearray(3 * 10**9)")
    assert result.status is Status.MEMORY
    assert result.stdout == "a\n"


@pytest.mark.parametrize(
    ("code", "signal"),
    [
        ("import ctypes; print('a', flush=True); ctypes.string_at(0)", "SIGSEGV"),
        ("import os, signal; print('a', flush=True); os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_signal_is_killed(isolated: Sandbox, code: str, signal: str) -> None:
    result = isolated.run(code)
    assert result.status is Status.KILLED
    assert result.stdout == "a\n"
    assert result.error == f"killed by {signal}"
    assert result.exit_code < 0


@pytest.mark.parametrize("code", [0, 1, 3, 120, 137, 253, 255])
def test_exit_codes_are_the_programs_own(isolated: Sandbox, code: int) -> None:
    result = isolated.run(f"import os; os._exit({code})")
    assert result.exit_code == code
    assert result.status is (Status.ERROR if code else Status.OK)


def test_invalid_text_is_replaced(isolated: Sandbox) -> None:
    result = isolated.run("import os; os.write(1, b'ok\\xff\\xfe\\n')")
    assert result.ok
    assert result.stdout == "ok��\n"


@pytest.mark.parametrize("code", ["print('\\ud800')", "'\ud800'", "a\0b"])
def test_odd_text_is_the_programs_error(sandbox: Sandbox, code: str) -> None:
    result = sandbox.run(code)
    assert result.status in (Status.ERROR, Status.SYNTAX_ERROR)
    assert sandbox.run("print(1)").stdout == "1\n"


def test_programs_share_nothing(sandbox: Sandbox) -> None:
    assert sandbox.run("x = 1").ok
    assert sandbox.run("x").error_type == "NameError"


def test_a_program_is_the_main_module(isolated: Sandbox) -> None:
    program = (
        "import inspect, pickle\nclass A: n = 1\ndef f(): pass\n"
        "print(pickle.loads(pickle.dumps(A())).n, inspect.getsource(f).strip())"
    )
    assert isolated.run(program).stdout == "1 def f(): pass\n"
    quoting = isolated.run("a = 0\n1/a").stderr.splitlines()
    assert quoting[1:3] == ['  File "<program>", line 2, in <module>', "    1/a"]


def test_files_by_name_are_the_programs_own(
    isolated: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    look = "import os; print(os.path.exists('own'))"
    assert isolated.run(f"open('own', 'w').close(); {look}").stdout == "True\n"
    assert isolated.run(look).stdout == "False\n"
    assert list(tmp_path.iterdir()) == []


def test_limits_of_one_call(sandbox: Sandbox) -> None:
    tight = Limits(cpu_seconds=0.1, wall_seconds=1.0)
    assert sandbox.run("while True: pass", tight).status is Status.TIMEOUT
    assert sandbox.run("print(1)").ok


def test_submit_returns_futures(sandbox: Sandbox) -> None:
    futures = [sandbox.submit(f"print({number})") for number in range(20)]
    assert all(isinstance(future, Future) for future in futures)
    assert [future.result(30).stdout for future in futures] == [f"{n}\n" for n in range(20)]


def test_cancelling_kills(isolated: Sandbox) -> None:
    slow = Limits(cpu_seconds=60, wall_seconds=60)
    futures = [isolated.submit("while True: pass", slow) for _ in range(3)]
    time.sleep(0.2)
    assert all(future.cancel() for future in futures)
    with pytest.raises(CancelledError):
        futures[0].result(1)
    assert isolated.run("print(1)").stdout == "1\n"


STARTS_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""


def ends_soon(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("ending", ["", "while True: pass", "while True: time.sleep(9)"])
def test_what_a_plain_process_starts_ends_with_it(
    sandboxes: Callable[[str], Sandbox], ending: str
) -> None:
    assert ends_soon(int(sandboxes("subprocess").run(STARTS_A_CHILD + ending).stdout))


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_what_a_plain_process_starts_ends_with_its_call(tmp_path: Path, end: str) -> None:
    place = tmp_path / "pid"
    tell = f"open({str(place)!r}, 'w').write(str(child.pid) + '.')\ntime.sleep(60)"
    with SubprocessSandbox(Limits(cpu_seconds=60, wall_seconds=60)) as sandbox:
        call = sandbox.submit(STARTS_A_CHILD + tell)
        while not (place.exists() and place.read_text().endswith(".")):
            time.sleep(0.01)
        if end == "cancel":
            assert call.cancel()
            assert ends_soon(int(place.read_text()[:-1]))
    assert ends_soon(int(place.read_text()[:-1]))


def test_a_closed_sandbox_says_so() -> None:
    for make in BACKENDS.values():
        sandbox = make()
        sandbox.close()
        sandbox.close()
        for use in (sandbox.run, sandbox.submit):
            with pytest.raises(SandboxError, match="closed"):
                use("print(1)")


def test_a_session_keeps_its_variables(stateful: Sandbox) -> None:
    session = stateful.session()
    assert session.run("x = 20").ok
    assert session.run("print(x + 1)").stdout == "21\n"
    assert not session.restarted
    session.close()
    session.close()
    with pytest.raises(SandboxError):
        session.run("x")


@pytest.mark.parametrize("failure", ["1/0", "x = (", "raise SystemExit(2)", "while True: pass"])
def test_a_failed_turn_is_rolled_back(stateful: Sandbox, failure: str) -> None:
    session = stateful.session()
    session.run("x = 1")
    assert not session.run(f"x = 2\nprint('seen')\n{failure}").ok
    assert session.run("print(x)").stdout == "1\n"
    session.close()


def test_branches_are_independent(stateful: Sandbox) -> None:
    trunk = stateful.session()
    trunk.run("x = [1]")
    twig = trunk.branch()
    twig.run("x.append(2)")
    trunk.run("x.append(3)")
    assert (trunk.run("print(x)").stdout, twig.run("print(x)").stdout) == ("[1, 3]\n", "[1, 2]\n")
    trunk.close()
    assert twig.run("print(len(x))").stdout == "2\n"
    twig.close()


def test_sessions_share_nothing(stateful: Sandbox) -> None:
    one, two = stateful.session(), stateful.session()
    one.run("x = 1")
    assert two.run("x").error_type == "NameError"
    assert stateful.run("x").error_type == "NameError"
    one.close()
    two.close()


def test_turns_that_leave_or_write_past_their_streams_are_followed_by_others(
    sandboxes: Callable[[str], Sandbox],
) -> None:
    for name in ISOLATED:
        session = sandboxes(name).session()
        assert session.run("import os, sys\nx = 1\nos.write(1, b'past')\nsys.exit(0)").ok
        later = session.run("print(x)\ndef f(): 1/0")
        assert (name, later.status, later.stdout) == (name, Status.OK, "1\n")
        failed = session.run("f()")
        assert [line for line in failed.stderr.splitlines() if "File" in line] == [
            '  File "<turn 3>", line 1, in <module>',
            '  File "<turn 2>", line 2, in f',
        ]
        assert session.run("\ufeffprint(x)").stdout == "1\n"
        refused = session.run("x = (")
        assert (name, refused.status) == (name, Status.SYNTAX_ERROR)
        assert session.run("exec('x = (')").status is Status.ERROR
        session.close()


@pytest.mark.parametrize("name", [*LIVE, RAY])
def test_a_session_lives_and_is_no_replay(sandboxes: Callable[[str], Sandbox], name: str) -> None:
    trunk = sandboxes(name).session()
    drawn = trunk.run("import os\nx = os.urandom(8).hex()\nprint(x)").stdout
    twig = trunk.branch()
    trunk.run("y = 1")
    assert [session.run("print(x)").stdout for session in (trunk, twig)] == [drawn, drawn]
    assert twig.run("y").error_type == "NameError"
    trunk.close()
    twig.close()
