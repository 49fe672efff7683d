"""Errors in one message, exit codes, progress with and without a terminal, Ctrl-C."""

import errno
import os
import pty
import re
import signal
import subprocess
import sys
from types import ModuleType

import pytest

from agents.core.policies.openai_client import ServerError
from agents.core.policies.vllm_server import vllm_models
from benchmarks.report.tables import Table
from torl import console
from torl.console import CommandError, clock, explain, guarded, print_table, progress
from torl_env.errors import ProblemError, SandboxError


def fail(error):
    def command(_):
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CommandError("--k: expected 1"), "--k: expected 1"),
        (ProblemError("no column 'answer'"), "no column 'answer'"),
        (SandboxError("server down"), "server down"),
        (OSError(errno.ENOSPC, "No space left on device"), "no free disk .* free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "no permission .*/root/x"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a/b"), "no such file or folder: /a/b"),
        (
            FileExistsError(errno.EEXIST, "File exists", "/a"),
            "a folder should be, at or above /a; choose",
        ),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"), "at or above /a/b"),
        (ConnectionError("refused"), "no network .* local path"),
        (ValueError("first\nsecond"), r"first second \(TORL_TRACEBACK=1"),
        (ValueError(), "ValueError"),
    ],
)
def test_bad_input_is_one_line_and_a_code(capsys, error, message):
    assert guarded(fail(error), None) == 1
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert len(err.splitlines()) == 1


def test_network_is_recognised_among_the_causes():
    error = OSError("cannot load the model")
    error.__cause__ = RuntimeError("outer")
    error.__cause__.__cause__ = ConnectionResetError("inner")
    assert "no network" in explain(error)
    assert "no network" not in explain(OSError("cannot load the model"))


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(fail(ZeroDivisionError()), None)


def test_traceback_on_request(monkeypatch):
    monkeypatch.setenv("TORL_TRACEBACK", "1")
    with pytest.raises(CommandError):
        guarded(fail(CommandError("x")), None)


def test_success_passes_its_code_on():
    assert guarded(lambda code: code, 7) == 7


def test_ctrl_c_ends_cleanly(capsys):
    assert guarded(fail(KeyboardInterrupt()), None) == 130
    assert "interrupted" in capsys.readouterr().err


def run_python(code, **options):
    return subprocess.Popen([sys.executable, "-c", code], text=True, **options)


def run_guarded(body):
    """A process in which a command with this body runs."""
    code = (
        "import sys, time; from torl.console import guarded\n"
        f"def command(_):\n    {body}\n"
        "sys.exit(guarded(command, None))"
    )
    return run_python(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_real_ctrl_c():
    with run_guarded("print('ready', flush=True); time.sleep(60)") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.count("\n") == 1


def test_a_closed_pipe_is_silent():
    with run_guarded("[print('x' * 1000) for _ in range(10000)]; return 0") as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.wait(20)
    assert err == ""
    assert process.returncode == 1


def test_unicode_on_an_ascii_terminal():
    code = (
        "import sys; from torl.console import guarded\n"
        "sys.exit(guarded(lambda _: print('\\u221a2 \\U0001f600') or 0, None))"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    with run_python(code, stdout=subprocess.PIPE, env=environment) as process:
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == "\\u221a2 \\U0001f600\n"


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    code = (
        "import sys; from pathlib import Path; from torl.console import guarded\n"
        "from agents.core.run.storage import write_text\n"
        "sys.exit(guarded(lambda p: write_text(p, 'x' * 10**6) or 0, Path(sys.argv[1]) / 'a'))"
    )
    script = tmp_path / "fill.py"
    script.write_text(code)
    disk = tmp_path / "disk"
    disk.mkdir()
    shell = (
        f"mount -t tmpfs -o size=64k none {disk} && "
        f"{{ {sys.executable} {script} {disk}; echo code $?; ls -A {disk}; }}"
    )
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell],
        capture_output=True, text=True, timeout=30, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    if "code" not in ran.stdout:
        pytest.skip(f"needs a mount in a user namespace: {ran.stderr.strip()}")
    assert ran.stdout == "code 1\n"
    assert "no free disk" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with progress("evaluating", 10, done=4, unit="answer") as advance:
        for _ in range(3):
            now += 6.0
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["torl: evaluating 6/10, 6.0 s/answer, 0:24 left"]


def test_progress_on_a_terminal_shows_count_rate_and_time_left():
    code = (
        "import time; from torl.console import progress\n"
        "with progress('evaluating', 20, unit='answer') as advance:\n"
        "    for _ in range(20): time.sleep(0.02); advance(1)"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with run_python(code, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        process.wait(20)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert "20/20" in text
    assert re.search(r"\d+\.\d answers/s, 0:00 left", text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_table_without_a_terminal_is_markdown(capsys):
    print_table(Table("Title", ("a", "b"), (("1", "2"),)))
    assert capsys.readouterr().out.startswith("**Title**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n")


def test_a_notebook_shows_progress_and_curves_inline(monkeypatch):
    """With IPython's three names as it has them; the pages are what its front end would show."""
    pages = []

    class ZMQInteractiveShell:
        pass

    class Shown:
        def update(self, page):
            pages.append(page)

    def display(page, display_id):
        pages.append(page)
        return Shown()

    shell = ModuleType("IPython")
    shell.get_ipython = ZMQInteractiveShell
    shell.display = ModuleType("IPython.display")
    shell.display.HTML, shell.display.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", shell.display)
    with progress("training", 2, unit="step", below=lambda: "accuracy ▁█") as advance:
        advance(1)
        advance(1)
    assert "training 0/2" in pages[0]
    assert "training 2/2" in pages[-1]
    assert "accuracy ▁█" in pages[-1]


def test_a_server_that_only_the_training_machine_has_is_out_of_reach_of_a_plan():
    """`--dry-run` of a recipe with `vllm serve` elsewhere says so and goes on."""
    with pytest.raises(ServerError) as refused:
        vllm_models("http://127.0.0.1:9/v1")
    wrapped = CommandError("--vllm-url: no server")
    wrapped.__cause__ = refused.value
    assert console.is_out_of_reach(wrapped)
    assert not console.is_out_of_reach(CommandError("--steps must be at least 0"))
