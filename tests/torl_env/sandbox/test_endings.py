"""What the end of a program writes."""

import pytest

from torl_env.sandbox import LocalSandbox, Status

HELD = {
    "descriptor": "import os\nout = os.fdopen(1, 'w')\nout.write('42')",
    "binary": "out = open(1, 'wb')\nout.write(b'42')",
    "of C": "import ctypes\nctypes.CDLL(None).printf(b'42')",
    "in a cycle": "class A: pass\na = A(); a.a = a; a.out = open(1, 'w'); a.out.write('42'); del a",
}


@pytest.mark.long
@pytest.mark.parametrize("code", HELD.values(), ids=HELD)
def test_what_open_files_hold_is_written(sandbox: LocalSandbox, code: str) -> None:
    assert sandbox.run(code).stdout == "42"
    with sandbox.session() as session:
        assert session.run(code).stdout == "42"
        assert session.run("print(1)").stdout == "1\n"


@pytest.mark.parametrize(
    "code",
    [
        "import io, os\nio.TextIOWrapper(io.BytesIO()).detach()\nout = os.fdopen(1, 'w')\n"
        "out.write('x')\nos.close(1)",
        "out = open(1, 'wb')\nout.write(b'x')\nout.close()",
        "import gc\ngc.get_objects = None",
    ],
)
def test_what_cannot_be_written_is_no_error(sandbox: LocalSandbox, code: str) -> None:
    assert sandbox.run(code).ok
    with sandbox.session() as session:
        assert session.run(code).ok


def test_the_search_for_open_files_decides_nothing(sandbox: LocalSandbox) -> None:
    code = "import gc, os\ngc.get_objects = lambda *words: os._exit(0)\n1/0"
    assert sandbox.run(code).status is Status.ERROR
    with sandbox.session() as session:
        assert session.run(code).status is Status.ERROR


def test_a_stream_that_fails_at_the_end_says_so(sandbox: LocalSandbox) -> None:
    code = (
        "import sys\nreal = sys.stdout\nclass Out:\n    def write(self, text): real.write(text)\n"
        "sys.stdout = Out()\nprint(1)"
    )
    with sandbox.session() as session:
        for result in (sandbox.run(code), session.run(code)):
            assert (result.stdout, result.exit_code) == ("1\n", 120)
            assert result.error == "AttributeError: 'Out' object has no attribute 'flush'"
            assert "no attribute 'flush'" in result.stderr
