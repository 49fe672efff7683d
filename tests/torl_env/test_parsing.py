"""The action grammar: every row of the table, and limits."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torl_env.errors import ConfigError
from torl_env.parsing import named_parser
from torl_env.parsing.fenced import FencedParser, closes_tool_call
from torl_env.parsing.tags import HermesParser, XmlParser
from torl_env.parsing.types import Malformed, ToolCall, Unfinished

FENCED = FencedParser()
BLOCK = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("turn", "program"),
    [
        pytest.param(f"I compute.\n{BLOCK}", "print(1)", id="prose then block"),
        pytest.param(f"{BLOCK} \n\n\t ", "print(1)", id="white space after"),
        pytest.param(f"{BLOCK}\n```output", "print(1)", id="opened output"),
        pytest.param(f"{BLOCK}\n```output\n", "print(1)", id="opened output, newline"),
        pytest.param(f"```python\nprint(0)\n```\nthen\n{BLOCK}", "print(1)", id="two, last runs"),
        pytest.param("```python\n```", "", id="empty"),
        pytest.param("```python\n\n```", "", id="blank line"),
        pytest.param("```python\r\na = 1\r\nprint(a)\r\n```\r\n", "a = 1\nprint(a)", id="crlf"),
        pytest.param("```Python  \nprint(1)\n```  ", "print(1)", id="case, trailing spaces"),
        pytest.param("```py\nprint(1)\n```", "print(1)", id="py"),
        pytest.param("```python3\nprint(1)\n```", "print(1)", id="python3"),
        pytest.param("   ```python\nprint(1)\n   ```", "print(1)", id="three spaces"),
        pytest.param("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''", id="four ticks"),
        pytest.param("```python\nprint(1)\n`````", "print(1)", id="longer close"),
        pytest.param("```text\na\n```\n" + BLOCK, "print(1)", id="another language before"),
        pytest.param("```python\nprint(1)\n```output", "print(1)", id="closed by the output"),
        pytest.param("```python\nprint(1)\n```output\n", "print(1)", id="by the output, newline"),
        pytest.param("```python\nprint(0)\n" + BLOCK, "print(1)", id="closed by another block"),
        pytest.param("```output\n0\n" + BLOCK, "print(1)", id="output closed by a block"),
        pytest.param("```python\nprint('```')\n```", "print('```')", id="ticks inside a line"),
        pytest.param("```python\nπ\u2028\x00😀\n```", "π\u2028\x00😀", id="any unicode"),
    ],
)
def test_a_turn_that_ends_with_a_closed_block_is_a_call(turn: str, program: str) -> None:
    assert FENCED.parse(turn) == ToolCall("python", program)
    assert closes_tool_call(turn)


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param("", id="empty"),
        pytest.param("The answer is \\boxed{1}.", id="no fence"),
        pytest.param(f"{BLOCK}\nso it is 1", id="text after"),
        pytest.param(f"{BLOCK}\n```output\n1", id="text in the opened output"),
        pytest.param(f"{BLOCK}\n```output\n1\n```", id="invented output"),
        pytest.param("```python\nprint(1)", id="unclosed"),
        pytest.param(f"{BLOCK} so it is 1", id="text behind the closing fence"),
        pytest.param(f"{BLOCK} so `it` is 1", id="text with back-ticks behind it"),
        pytest.param("```python\nprint(1)\n```output\n1", id="closed by an output with text"),
        pytest.param("```python\nprint(1)\n```text", id="closed by a block of another kind"),
        pytest.param("```python", id="only opened"),
        pytest.param("```python\nprint(1)\n``", id="two ticks do not close"),
        pytest.param("````python\nprint(1)\n```", id="fewer ticks do not close"),
        pytest.param("> ```python\n> print(1)\n> ```", id="behind a quote mark"),
        pytest.param("````markdown\n" + BLOCK + "\n````", id="inside another fence"),
        pytest.param("````markdown\n" + BLOCK, id="inside an unclosed fence"),
        pytest.param("I run ```python\nprint(1)\n```x", id="not at the start of its line"),
        pytest.param("    ```python\n    print(1)\n    ```", id="four spaces"),
        pytest.param("```javascript\n1\n```", id="not a tool"),
        pytest.param("```output\n1\n```", id="output alone"),
        pytest.param("```output", id="output opened alone"),
        pytest.param(f"{BLOCK}\ntext\n```output\n", id="text before the opened output"),
        pytest.param("```python print(1)```", id="inline"),
    ],
)
def test_any_other_turn_is_final(turn: str) -> None:
    assert FENCED.parse(turn) is None
    assert not closes_tool_call(turn)


def test_a_stop_at_the_opening_of_a_plain_fence_is_unfinished() -> None:
    assert FENCED.parse("as a table:\n```\n") == Unfinished()
    assert FENCED.parse("as a table:\n```") is None
    assert not closes_tool_call("as a table:\n```\n")


def test_a_sampler_that_keeps_the_stop_strings_stops_at_a_call() -> None:
    written = f"I compute.\n{BLOCK}\n```output\n99\n```\nIt is \\boxed{{99}}."
    first = min(written.find(stop) + len(stop) for stop in FENCED.stop if stop in written)
    assert FENCED.parse(written[:first]) == ToolCall("python", "print(1)")


def test_prose_holds_neither_code_nor_output() -> None:
    turn = f"a\n{BLOCK}\nb\n```output\n\\boxed{{9}}\n```\nc\n```text\nd\n```\ne\n"
    turn += "```python\n\\boxed{8}"
    assert FENCED.prose(turn) == "a\n\nb\n\nc\n```text\nd\n```\ne\n"


def test_text_behind_a_closing_fence_counts() -> None:
    assert FENCED.prose(f"{BLOCK} so it is \\boxed{{1}}") == " so it is \\boxed{1}"
    assert FENCED.prose("```python\n1\n```output\n\\boxed{1}\n``` yes") == " yes"


@pytest.mark.parametrize(
    ("turn", "added"),
    [
        (BLOCK, "\n```output\n1\n```\n"),
        (BLOCK + "\n", "```output\n1\n```\n"),
        (BLOCK + "\n```output", "\n1\n```\n"),
        (BLOCK + "\n```output\n", "1\n```\n"),
        ("```python\nprint(1)\n```output", "\n1\n```\n"),
    ],
)
def test_the_frame_completes_what_the_turn_left_open(turn: str, added: str) -> None:
    assert FENCED.frame(turn, "1") == added
    assert (turn + added).endswith("```output\n1\n```\n")


@settings(deadline=None)
@given(st.text(st.sampled_from("`python \n\r>xλ")), st.integers(0, 60))
def test_the_predicate_agrees_with_the_parser(text: str, cut: int) -> None:
    for piece in (text, text[:cut]):
        assert closes_tool_call(piece) == isinstance(FENCED.parse(piece), ToolCall)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["```python\n", "```\n", "x\n", "```output\n", "\\boxed{1}\n"])))
def test_prose_leaves_out_and_adds_nothing(lines: list[str]) -> None:
    turn = "".join(lines)
    prose = FENCED.prose(turn)
    rest = iter(turn)
    assert all(char in rest for char in prose)
    if isinstance(FENCED.parse(turn), ToolCall):
        assert len(prose) < len(turn)


@pytest.mark.parametrize(
    ("head", "repeated", "tail"),
    [
        ("", "`", ""),
        ("", " ", "`"),
        ("", "```python" + " " * 500 + "x`\n", ""),
        ("", "```python\nprint(1)\n```\n", ""),
        ("```", "\t", "`"),
        ("", "<tool_call>", "</tool_call>"),
        ("", "<python>", "</python>"),
        ("", "[", "</tool_call>"),
    ],
)
def test_a_long_turn_is_read_in_linear_time(
    head: str, repeated: str, tail: str, assert_linear: Callable[..., None]
) -> None:
    def reading(size: int) -> Callable[[], None]:
        turn = head + repeated * (size // len(repeated)) + tail

        def read() -> None:
            for parser in (FENCED, XmlParser(), HermesParser()):
                parser.parse(turn)
                parser.prose(turn)
                closes_tool_call(turn, parser)

        return read

    assert_linear(reading, 100_000)


def test_xml_calls() -> None:
    parser = XmlParser(("python", "search"))
    assert parser.parse("<search>the moon</search>") == ToolCall("search", "the moon")
    assert parser.parse("<python>\nprint('<search>')\n</python>\n<output>") == ToolCall(
        "python", "print('<search>')"
    )
    for final in ("", "<python>1", "<python>1</python> so", "<output>1</output>", "<php>1</php>"):
        assert parser.parse(final) is None, final
    assert parser.prose("a<python>1</python>b<output>\\boxed{1}</output>c") == "a\n\nb\n\nc"
    assert parser.frame("<python>1</python>", "1") == "\n<output>\n1\n</output>\n"
    assert closes_tool_call("x <python>1</python>", parser)


def test_hermes_calls() -> None:
    parser = HermesParser(("python",))
    call = '<tool_call>\n{"name": "python", "arguments": {"code": "print(1)"}}\n</tool_call>'
    assert parser.parse("think" + call + "\n") == ToolCall("python", "", {"code": "print(1)"})
    assert parser.parse(call + "and more") is None
    assert isinstance(parser.parse("<tool_call>{</tool_call>"), Malformed)
    assert isinstance(parser.parse("<tool_call>[1]</tool_call>"), Malformed)
    assert isinstance(parser.parse('<tool_call>{"name": 1}</tool_call>'), Malformed)
    assert parser.prose(f"a{call}b<tool_response>\\boxed{{1}}") == "a\n\nb\n\n"
    assert closes_tool_call(call, parser)


@pytest.mark.parametrize(
    ("turn", "program"),
    [
        ("1. Compute:\n   ```python\n   x = 1\n   print(x)\n   ```", "x = 1\nprint(x)"),
        (
            "- loop\n  ```python\n  for i in range(2):\n      print(i)\n  ```",
            "for i in range(2):\n    print(i)",
        ),
        # Lines with fewer blanks than the fence lose those that they have.
        ("  ```python\n x = 1\nprint(x)\n  ```", "x = 1\nprint(x)"),
        ("```python\nif x:\n  print(x)\n  ```", "if x:\n  print(x)"),
    ],
)
def test_a_block_in_a_list_loses_its_indent(turn: str, program: str) -> None:
    call = FencedParser().parse(turn)
    assert isinstance(call, ToolCall)
    assert call.body == program


def test_text_glued_to_a_closing_fence_closes_it() -> None:
    parser = FencedParser()
    turn = "```python\nprint(5)\n```So the answer is \\boxed{5}."
    assert parser.parse(turn) is None
    assert parser.prose(turn) == "So the answer is \\boxed{5}."
    again = parser.parse("```python\nprint(5)\n```Now again:\n```python\nprint(6)\n```")
    assert isinstance(again, ToolCall)
    assert again.body == "print(6)"
    thought = parser.parse("```python\nprint(1)\n```<think>\n```python\nprint(2)\n```")
    assert isinstance(thought, ToolCall)
    assert thought.body == "print(2)"
    # The opening of another block is no text.
    assert isinstance(parser.parse("```python\nprint(5)\n```output\n"), ToolCall)


def test_four_back_ticks_end_at_four() -> None:
    call = FencedParser().parse("````python\nprint('''\n```\n''')\n````")
    assert isinstance(call, ToolCall)
    assert call.body == "print('''\n```\n''')"


def test_a_fence_on_one_line_hides_nothing() -> None:
    turn = "```python print(1)``` so \\boxed{1}"
    assert FencedParser().prose(turn) == turn


def test_a_bare_thinking_tag_behind_a_block_is_no_text():
    """Chat templates leave it there (gptme#1702)."""
    for tag in ("<think>", "</think>", "\n<think>\n"):
        assert FencedParser().parse(f"```python\nprint(2)\n```{tag}").body == "print(2)"
    assert FencedParser().parse("```python\nprint(2)\n```<think>So it is 2.") is None


@pytest.mark.parametrize(
    ("names", "written", "name"),
    [
        (("getWeather",), "getWeather", "getWeather"),
        (("getWeather",), "getweather", "getWeather"),
        (("SQL", "sql"), "SQL", "SQL"),
        (("SQL", "sql"), "sql", "sql"),
        (("SQL", "Sql"), "sQL", "SQL"),
        (("py",), "py", "py"),
        (("python", "py"), "py", "py"),
        (("python", "py"), "python3", "python"),
        (("python", "sql"), "Py", "python"),
    ],
)
def test_a_tool_is_called_as_it_is_spelt(names, written, name):
    parser = FencedParser(names)
    turn = f"So\n```{written}\nx\n```"
    assert parser.parse(turn) == ToolCall(name, "x")
    assert parser.prose(turn) == "So\n"


@pytest.mark.parametrize(
    ("style", "name"),
    [
        ("fenced", "my tool"),
        ("fenced", "a`b"),
        ("fenced", "output"),
        ("fenced", "outputs"),
        ("xml", "output"),
    ],
)
def test_a_tool_that_a_style_cannot_call_is_refused(style, name):
    with pytest.raises(ConfigError, match=r"cannot be called as .* take parser=\"hermes\""):
        named_parser(style, ("python", name))
    assert named_parser("hermes", ("python", name))


@pytest.mark.parametrize("style", ["fenced", "xml", "hermes"])
@pytest.mark.parametrize("name", ["python", "getWeather", "py", "web.search", "a-b_1"])
def test_tools_with_names_of_many_kinds_are_taken(style, name):
    assert named_parser(style, (name,))
