"""A person as the policy: turns, pipes, endings."""

import io

import pytest

from torl.commands.play import read_turn


def turns(text):
    stream = io.StringIO(text)
    found = []
    while (turn := read_turn(stream, show=False)) is not None:
        found.append(turn)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n\n\n", []),
        ("one\n", ["one\n"]),
        ("one", ["one"]),
        ("one\ntwo\n\nthree\n\n", ["one\ntwo\n", "three\n"]),
        ("\n\none\n\n\n\ntwo\n", ["one\n", "two\n"]),
        ("```python\nx = 1\n\nx\n```\n\nend\n", ["```python\nx = 1\n\nx\n```\n", "end\n"]),
        ("```python\nx = 1\n\n", ["```python\nx = 1\n\n"]),
    ],
)
def test_an_empty_line_ends_a_turn_except_inside_of_code(text, expected):
    assert turns(text) == expected


@pytest.fixture
def play(torl, monkeypatch):
    def run(text, *words):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return torl("play", "--problem-id", "gcd-L1-train-7", *words)

    return run


def test_code_then_answer(play):
    ran = play("```python\nprint(6 * 7)\n```\n\n\\boxed{42}\n")
    assert ran.code == 0
    assert "42" in ran.out.split("environment · ok")[1]
    assert "verdict    wrong" in ran.out
    assert "reward     -1" in ran.out
    assert "tool calls 1, of which failed 0" in ran.out


def test_the_right_answer_is_rewarded(play):
    reference = play("\\boxed{0}\n").out.split("(reference ")[1].split(")")[0]
    ran = play(f"It is \\boxed{{{reference}}}.\n")
    assert "verdict    correct" in ran.out
    assert "reward     +1" in ran.out


def test_an_error_is_shown_as_the_model_sees_it(play):
    ran = play("```python\n1/0\n```\n\n\\boxed{1}\n")
    assert "environment · error · ZeroDivisionError" in ran.out
    assert "of which failed 1" in ran.out


def test_over_the_budget_nothing_runs(play):
    ran = play("```python\nprint(6 * 7)\n```\n\n\\boxed{1}\n", "--tool-budget", "0")
    assert "nothing ran" in ran.out
    assert "tool calls 0" in ran.out


def test_input_that_ends_early(play):
    ran = play("```python\nprint(1)\n```\n")
    assert ran.code == 0
    assert "stays unfinished" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--problems", "nosuch"), "expected `procedural"),
        (("--problems", "no/such.jsonl"), "does not exist"),
        (("--problem-id", "gcd-L9-train-1"), "gcd-L9-train-1"),
        (("--reward", "nope"), "nope"),
        (("--episodes", "-1"), "--episodes: expected 0 or more, got -1"),
        (("--tool-budget", "-1"), "tool_budget"),
    ],
)
def test_bad_options(refused, monkeypatch, words, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert message in refused("play", *words)
