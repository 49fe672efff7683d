"""Files by name: private to a program, a few megabytes, gone with it; shared within a session."""

import os
import sys
from collections.abc import Iterator

import pytest

from torl_env.sandbox import Limits, LocalSandbox, Status

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="fork servers need Linux"),
    pytest.mark.filterwarnings("ignore:the sandbox runs without:RuntimeWarning"),
]
LIMITS = Limits(cpu_seconds=5, wall_seconds=30, memory_mb=256)
WRITE = "open('x', 'w').write('1'); open('/tmp/x', 'w').write('2')"
LOOK = "import os; print(os.listdir(), os.listdir('/tmp'))"
NOTHING = "[] []\n"
needs_tmp = pytest.mark.skipif(
    os.path.realpath(sys.prefix).startswith("/tmp/"),
    reason="Python lies below /tmp, so programs have no /tmp of their own",
)


@pytest.fixture(scope="module")
def every_set(layers_off: tuple[str, ...]) -> Iterator[LocalSandbox]:
    # One program at a time, so that every one gets the place of the one before it.
    with LocalSandbox(LIMITS, off=layers_off, concurrency=1, idle=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def sandbox(every_set: LocalSandbox, layers_off: tuple[str, ...]) -> LocalSandbox:
    if not every_set.keeps_files():
        assert "namespaces" in layers_off
        result = every_set.run(WRITE)
        assert (result.status, result.error_type) == (Status.ERROR, "PermissionError")
        pytest.skip("without namespaces no file can be written")
    return every_set


@pytest.mark.parametrize(
    "code",
    {
        "plain": "open('a.txt', 'w').write('x'); print(open('/sandbox/a.txt').read())",
        "tempfile": (
            "import tempfile\nwith tempfile.NamedTemporaryFile('w+') as f:\n"
            "  f.write('x'); f.seek(0); print(f.read())"
        ),
        "a directory of one's own": (
            "import os, tempfile\nwith tempfile.TemporaryDirectory() as d:\n"
            "  open(f'{d}/a', 'w').write('x'); print(open(f'{d}/a').read())\n"
            "assert not os.path.exists(d)"
        ),
        "shutil": (
            "import os, shutil\nos.makedirs('a/b'); open('a/b/c', 'w').write('x')\n"
            "shutil.copytree('a', 'd'); shutil.move('d', 'e'); shutil.rmtree('a')\n"
            "print(open('e/b/c').read())"
        ),
        "a module": ("open('m.py', 'w').write('value = \"x\"')\nimport m; print(m.value)"),
        "an archive": (
            "import zipfile\nwith zipfile.ZipFile('a.zip', 'w') as z: z.writestr('a', 'x')\n"
            "print(zipfile.ZipFile('a.zip').read('a').decode())"
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_files_by_name(sandbox: LocalSandbox, code: tuple[str, str]) -> None:
    result = sandbox.run(code[1])
    assert (result.stdout, result.stderr) == ("x\n", "")


def test_no_file_hides_a_library(sandbox: LocalSandbox) -> None:
    with sandbox.open_session(preload="bare") as session:
        hide = "for name in 'mpmath', 'colorsys': open(f'{name}.py', 'w').close()"
        assert session.run(hide).ok
        look = "import colorsys, mpmath; print(colorsys.ONE_THIRD < mpmath.pi)"
        assert session.run(look).stdout == "True\n"


def test_a_module_that_is_written_anew_is_read_anew(sandbox: LocalSandbox) -> None:
    write = "import importlib, os\nopen('m.py', 'w').write('value = {}')\n"
    with sandbox.open_session(preload="bare") as session:
        assert session.run(f"{write.format(1)}import m; print(m.value)").stdout == "1\n"
        again = f"{write.format(2)}importlib.reload(m); print(m.value, os.listdir('.'))"
        assert session.run(again).stdout == "2 ['m.py']\n"


@pytest.mark.slow
def test_files_of_a_library(sandbox: LocalSandbox) -> None:
    code = (
        "import numpy as np\nnp.memmap('a', mode='w+', shape=3, dtype='u1')[:] = 120\n"
        "print(chr(np.fromfile('a', 'u1')[2]))"
    )
    assert sandbox.run(code).stdout == "x\n"


@needs_tmp
def test_what_a_program_leaves_is_gone(sandbox: LocalSandbox) -> None:
    assert sandbox.run(WRITE).ok
    assert sandbox.run(LOOK).stdout == NOTHING
    # It must be able to write, too: of one user, it may take the right from the directories.
    spoil = "import os\nfor d in '.', '/tmp':\n  try: os.chmod(d, 0)\n  except OSError: pass"
    sandbox.run(spoil)
    assert sandbox.run(f"{LOOK}\n{WRITE}").stdout == NOTHING


def test_the_place_is_bounded_for_each_program(sandbox: LocalSandbox) -> None:
    fill = (
        "n = 0\ntry:\n  while True:\n"
        "    with open(f'{n}', 'wb') as f: f.write(b'x' * 500_000)\n    n += 1\n"
        "except OSError as error: print(n, error.strerror)"
    )
    assert {sandbox.run(fill).stdout for _ in range(3)} == {"16 No space left on device\n"}


def test_a_file_is_no_longer_than_a_stream(sandbox: LocalSandbox) -> None:
    result = sandbox.run("open('a', 'wb').write(b'x' * 2_000_000)")
    assert result.status is Status.KILLED
    assert "1048576 bytes" in result.error


@needs_tmp
def test_a_session_keeps_its_files_and_shares_them_with_its_branches(sandbox: LocalSandbox) -> None:
    with (
        sandbox.open_session(preload="bare") as session,
        sandbox.open_session(preload="bare") as other,
    ):
        session.run(WRITE)
        failed = session.run("open('y', 'w').write('3'); 1/0")
        assert not failed.ok
        with session.branch() as branch:
            # Unlike variables: what the turn that was undone has written is there.
            assert branch.run(f"{LOOK}; print(open('y').read())").stdout == "['y', 'x'] ['x']\n3\n"
            branch.run("open('z', 'w').write('4')")
        assert session.run("print(open('z').read())").stdout == "4\n"
        assert other.run(LOOK).stdout == NOTHING
    assert sandbox.run(LOOK).stdout == NOTHING


def test_branches_share_what_a_fork_shares(every_set: LocalSandbox) -> None:
    with every_set.open_session(preload="bare") as session:
        session.run("import mmap, socket; shared = mmap.mmap(-1, 8); own = [0]")
        session.run("left, right = socket.socketpair()")
        assert not session.run("shared[0] = 7; own[0] = 7; left.send(b'a'); 1/0").ok
        assert session.run("print(shared[0], own[0], right.recv(1))").stdout == "7 0 b'a'\n"
        with session.branch() as branch:
            branch.run("shared[1] = 8; own[0] = 8; left.send(b'b')")
        assert session.run("print(shared[1], own[0], right.recv(1))").stdout == "8 0 b'b'\n"


def test_what_earlier_turns_wrote_is_held_by_no_session(layers_off: tuple[str, ...]) -> None:
    # In the kernel's memory, which the limit of a session does not count: 16 MB for each turn.
    limits = Limits(cpu_seconds=5, wall_seconds=30, memory_mb=64, output_bytes=1 << 20)
    with (
        LocalSandbox(limits, off=layers_off) as sandbox,
        sandbox.open_session(preload="bare") as session,
    ):
        write = "for one in held: os.pwrite(one, b'x' * (15 << 20), 0)"
        session.run(f"import os; held = [os.dup(n) for n in range(3)]\n{write}")
        sizes = session.run("print([os.fstat(one).st_size for one in held])")
        assert sizes.stdout == "[0, 0, 0]\n"
        assert session.run(write).error_type == "PermissionError"


def test_no_program_can_tell_that_another_has_looked_around(sandbox: LocalSandbox) -> None:
    """The directories, which nobody has changed, are the next program's."""
    code = (
        "import os\nfor name in ('/sandbox', '/tmp'):\n"
        "    seen = os.stat(name)\n    os.listdir(name)\n"
        "    if name == '/sandbox': print(seen.st_atime_ns == seen.st_mtime_ns)"
    )
    assert {sandbox.run(code).stdout for _ in range(8)} == {"True\n"}
