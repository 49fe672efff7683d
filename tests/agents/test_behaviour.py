"""Calls of any tool in the behaviour metrics, and what they draw in the transcript."""

import re
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.rollout.behaviour import behaviour, tally
from agents.core.rollout.engine import Rollout
from agents.core.rollout.episode import IMAGE_BYTES
from agents.core.rollout.prompts import PlainPrompt
from agents.core.testing.tiny import ScriptedPolicy
from agents.core.types import Sampling, Trajectory, Turn
from torl.wiring import envs_over
from torl_env import closes_tool_call
from torl_env.parsing.fenced import FencedParser
from torl_env.parsing.tags import HermesParser, XmlParser
from torl_env.problems.types import Problem
from torl_env.tools import PythonTool, ToolResult, tool

PNG = b"\x89PNG\r\n\x1a\n"
PARSERS = {"fenced": FencedParser, "xml": XmlParser, "hermes": HermesParser}


@tool
def sql(query: str) -> ToolResult:
    """Asks the table, and draws it.

    Args:
        query: In SQL.
    """
    sizes = [int(word) for word in query.split() if word.isdigit()]
    return ToolResult(f"{len(sizes)} rows", images=tuple(PNG + bytes(size) for size in sizes))


def written(style, name, text):
    """A call as the style has it; the text holds a box, which is no answer there."""
    inside = f"{text} \\\\boxed{{0}}"
    return {
        "fenced": f"\n```{name}\n{inside}\n```",
        "xml": f"<{name}>{inside}</{name}>",
        "hermes": f'<tool_call>\n{{"name": "{name}", "arguments": '
        f'{{"query": "{inside}"}}}}\n</tool_call>',
    }[style]


def played(sandbox, tokenizer, style, script, budget=2):
    parser = PARSERS[style](("python", "sql"))
    policy = ScriptedPolicy(
        tokenizer, lambda row, turn: script[turn], lambda text: closes_tool_call(text, parser)
    )
    make_envs = envs_over(
        sandbox=sandbox, tool_budget=budget, parser=parser, tools=(PythonTool(), sql)
    )
    engine = Rollout(policy, PlainPrompt(tokenizer, "{question}"), make_envs, Sampling(4000))
    return engine.collect([Problem("p", "How many?", "2")], 1, seed=0)[0]


@pytest.mark.parametrize("style", PARSERS)
def test_a_call_of_any_tool_in_any_style_counts(sandbox, tokenizer, style):
    call, final = written(style, "sql", "5 7"), "So \\boxed{2}."
    found = played(sandbox, tokenizer, style, [f"I ask.{call}", final + call, final], budget=1)
    counted = tally(found)
    assert (counted.blocks, counted.ran, counted.passed) == (2, 1, 1)
    assert counted.before_answer == 1
    assert behaviour([found]).code_ratio == 1.0
    assert behaviour([played(sandbox, tokenizer, style, [final])]).code_ratio == 0.0


def test_a_call_that_nobody_can_read_counts_and_failed(sandbox, tokenizer):
    found = played(sandbox, tokenizer, "hermes", ["<tool_call>{</tool_call>", "\\boxed{2}"])
    counted = tally(found)
    assert (counted.blocks, counted.ran, counted.passed) == (1, 1, 0)


def test_a_block_that_begins_a_turn_is_a_call_of_its_own(sandbox, tokenizer):
    """What the interpreter printed stands between the turns, so the fences do not touch."""
    texts = ["I try.\n```python\nprint(1/0)\n```", "```python\nprint(2)\n```", "So \\boxed{2}."]
    found = played(sandbox, tokenizer, "fenced", texts, budget=2)
    counted = tally(found)
    assert (counted.blocks, counted.ran, counted.passed, counted.before_answer) == (2, 2, 1, 2)
    assert behaviour([found]).executed_ratio == 1.0
    assert behaviour([found]).success_ratio == 0.5


_OLD = re.compile(r"^ {0,3}```python.*?(?:^ {0,3}```|\Z)|\\boxed", re.DOTALL | re.MULTILINE)


@given(
    st.lists(
        st.sampled_from(
            ["Text. ", "\n```python\n", "print(1)", "\n```", "\\boxed{1}", "\n```output\n"]
        ),
        max_size=12,
    )
)
def test_of_python_blocks_the_old_meaning_stands(pieces):
    """One regular expression over the whole response, as the numbers on record were made."""
    text = "".join(pieces)
    kind = "tool" if "\n```python\n" in text else "final"
    turns = (Turn(text, "", 0, 1, kind, "", "", 0.0, "python"),)
    t = Trajectory("p", (), (1,), (1,), (0.0,), turns, 0.0, "", "", 0, 0, "", False, True)
    blocks = [piece != "\\boxed" for piece in _OLD.findall(text)]
    before = blocks.index(False) if False in blocks else len(blocks)
    assert (tally(t).blocks, tally(t).before_answer) == (sum(blocks), sum(blocks[:before]))


def test_what_a_call_draws_is_kept_within_bounds(sandbox, tokenizer):
    half = IMAGE_BYTES // 2
    script = [written("xml", "sql", f"{half} {half} 5"), written("xml", "sql", "9"), "\\boxed{2}"]
    found = played(sandbox, tokenizer, "xml", script)
    first, second, last = Trajectory.from_json(found.to_json()).turns
    assert [turn.tool_name for turn in found.turns] == ["sql", "sql", ""]
    assert [b64decode(image) for image in first.images] == [PNG + bytes(half)]
    assert first.images_dropped == 2
    assert [b64decode(image) for image in second.images] == [PNG + bytes(9)]
    assert (second.images_dropped, last.images) == (0, ())
    # The model reads text only.
    assert "PNG" not in tokenizer.decode(found.ids)
