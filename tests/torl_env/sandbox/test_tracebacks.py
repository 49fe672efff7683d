"""What a program's author reads of its errors."""

import pytest

from torl_env.sandbox import LocalSandbox

MEAN = "def mean(v):\n    total = sum(v)\n    return total / len(v)"
USE = "data = []\nlabel = 'mean of the data'\nprint(mean(data))"


@pytest.mark.long
def test_a_later_turn_quotes_the_turn_that_an_error_is_in(sandbox: LocalSandbox) -> None:
    with sandbox.session() as session:
        assert session.run(MEAN).ok
        assert session.run("1/0").error == "ZeroDivisionError: division by zero"
        with session.branch() as branch:
            for each in (session, branch):
                lines = each.run(USE).stderr.splitlines()
                assert '  File "<turn 3>", line 3, in <module>' in lines
                assert lines[lines.index('  File "<program>", line 3, in mean') + 1] == (
                    "    return total / len(v)"
                )
        shown = session.run("import inspect; print(inspect.getsource(mean))")
        assert shown.stdout == f"{MEAN}\n\n"


def test_the_marks_below_the_last_line_are_below_its_error(sandbox: LocalSandbox) -> None:
    lines = sandbox.run("a = 1\na/0").stderr.splitlines()
    at = lines.index("    a/0")
    assert lines[at + 1] == "    ~^~"


@pytest.mark.parametrize("text", ["x = '\x0c'\ny = 1\nz", "x = 1\r\ny = 1\rz"])
def test_lines_are_counted_as_python_counts_them(sandbox: LocalSandbox, text: str) -> None:
    lines = sandbox.run(text).stderr.splitlines()
    assert lines[lines.index('  File "<program>", line 3, in <module>') + 1] == "    z"


def test_a_recursion_is_counted_as_python_counts_it(sandbox: LocalSandbox) -> None:
    lines = sandbox.run("def f(): f()\nf()").stderr.splitlines()
    assert lines[1] == '  File "<program>", line 2, in <module>'
    (repeated,) = [line for line in lines if "repeated" in line]
    assert 990 < int(repeated.split()[3]) < 1010


def test_frames_that_are_left_out_are_counted(sandbox: LocalSandbox) -> None:
    deep = "import sys\nsys.setrecursionlimit(9000)\ndef f(n): return 1/0 if n == 0 else f(n - 1)\n"
    lines = sandbox.run(f"{deep}f(4000)").stderr.splitlines()
    assert lines[0] == "[... 2002 frames omitted ...]"
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_a_program_may_call_as_deep_as_in_an_interpreter_of_its_own(sandbox: LocalSandbox) -> None:
    deep = "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(996))"
    assert sandbox.run(deep).stdout == "996\n"
    with sandbox.session() as session:
        assert [session.run(deep).stdout for _ in range(3)] == ["996\n"] * 3


HINTED = [
    ("prnt(1)", "NameError: name 'prnt' is not defined. Did you mean: 'print'?"),
    (
        "import math\ntry:\n  math.sqr(2)\nexcept AttributeError as error:\n"
        "  error.add_note('a note')\n  raise",
        "AttributeError: module 'math' has no attribute 'sqr'. Did you mean: 'sqrt'?",
    ),
    ("undefined_name", "NameError: name 'undefined_name' is not defined"),
]


@pytest.mark.parametrize(("program", "words"), HINTED)
def test_an_error_has_the_hint_of_the_interpreter(
    sandbox: LocalSandbox, program: str, words: str
) -> None:
    result = sandbox.run(program)
    assert result.error == words
    assert words in result.stderr.splitlines()
    with sandbox.session() as session:
        assert session.run(program).error == words


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.stderr = None; 1/0",
        "import sys; sys.stderr.close(); 1/0",
        "import os; os.close(2); 1/0",
        "import sys; sys.excepthook = None; 1/0",
        "import sys; del sys.excepthook; 1/0",
    ],
)
def test_an_error_that_cannot_be_shown_keeps_its_words(sandbox: LocalSandbox, program: str) -> None:
    result = sandbox.run(program)
    assert result.error == "ZeroDivisionError: division by zero"
    assert "stderr" in program or "close" in program or result.stderr.endswith(f"{result.error}\n")


def test_words_do_not_depend_on_a_hint(sandbox: LocalSandbox) -> None:
    result = sandbox.run("import sys; del sys.stderr; undefined_name")
    assert result.error == "NameError: name 'undefined_name' is not defined"


@pytest.mark.parametrize("kind", ["Exception", "AttributeError", "NameError"])
def test_an_error_of_the_program_is_asked_for_its_words_for_each_place(
    sandbox: LocalSandbox, kind: str
) -> None:
    result = sandbox.run(f"class E({kind}):\n  def __str__(self): print('asked')\nraise E()")
    assert result.stdout == "asked\n" * 2, "for the result, and for the traceback"


@pytest.mark.parametrize("body", ["raise ValueError", "return 5", "raise SystemExit"])
def test_an_error_without_words_of_its_own_is_shown(sandbox: LocalSandbox, body: str) -> None:
    result = sandbox.run(f"class E(Exception):\n  def __str__(self): {body}\nraise E('x')")
    assert result.error == "E: <exception str() failed>"
    assert result.stderr.splitlines()[-2:] == ["    raise E('x')", result.error]


@pytest.mark.parametrize(
    ("program", "line", "marks"),
    [
        ("x = 1\nreturn 5", "return 5", "^^^^^^^^"),
        ("def f(a, a): pass", "def f(a, a): pass", "         ^"),
        ("a = 1\r\n\r\nbreak\r\n", "break", "^^^^^"),
    ],
)
def test_what_the_compiler_refuses_is_quoted(
    sandbox: LocalSandbox, program: str, line: str, marks: str
) -> None:
    lines = sandbox.run(program).stderr.splitlines()
    assert lines[1:3] == [f"    {line}", f"    {marks}"]


def test_no_frame_names_a_place_of_the_host(sandbox: LocalSandbox) -> None:
    look = (
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        "  print(frame.f_code.co_filename)\n  frame = frame.f_back"
    )
    with sandbox.session() as session:
        for result in (sandbox.run(look), session.run(look), session.run(look)):
            names = result.stdout.splitlines()
            assert len(names) > 2
            assert not [name for name in names if name.startswith("/")]
