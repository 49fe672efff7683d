"""The documents say what the code does."""

import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import rewards
from torl_env import INFO_KEYS, ActionKind, EnvConfig, StopReason, ToRLMathEnv
from torl_env.parsing import fenced
from torl_env.sandbox import NAMES
from torl_env.sandbox.forkserver.config import Layer
from torl_env.sandbox.types import Limits, Sandbox, Status

DOCS = Path(__file__).parents[2] / "docs"
ENVIRONMENT = (DOCS / "environment.md").read_text()
EXTEND = (DOCS / "extend.md").read_text()
SANDBOX = (DOCS / "sandbox.md").read_text()


def rows(section: str) -> list[list[str]]:
    """Cells of the first table of a section."""
    text = ENVIRONMENT.split(f"\n{section}\n", 1)[1].split("\n## ")[0]
    table = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in table[2:]]


def names(cells: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cells)


def test_gymnasiums_headings_in_their_order() -> None:
    assert re.findall(r"^## (.+)$", ENVIRONMENT, re.MULTILINE) == [
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Information",
        "Arguments",
        "Version History",
    ]


def test_the_grammar_is_the_one_of_the_code() -> None:
    assert fenced.__doc__ is not None
    table = [line for line in fenced.__doc__.splitlines() if line.startswith("|")]
    for line in table:
        assert line in ENVIRONMENT


def test_info_keys_and_their_values() -> None:
    listed = {name: row[1] for row in rows("## Information") for name in names(row[0])}
    assert tuple(listed) == INFO_KEYS
    assert names(listed["action_kind"])[:-1] == [
        str(kind)
        for kind in (
            ActionKind.TOOL,
            ActionKind.MALFORMED,
            ActionKind.OVER_BUDGET,
            ActionKind.UNFINISHED,
            ActionKind.FINAL,
            ActionKind.CUT,
        )
    ]
    assert set(names(listed["tool_status"])) >= {str(status) for status in Status}


def test_stop_reasons() -> None:
    listed = {names(row[0])[0]: row[1] for row in rows("## Episode End")}
    assert listed == {
        str(reason): "terminated" if reason.terminates else "truncated" for reason in StopReason
    }


def test_presets() -> None:
    assert {names(row[0])[0] for row in rows("## Rewards")} == set(rewards.presets())


def test_arguments_and_their_defaults() -> None:
    listed = {names(row[0])[0]: row[1].strip("`") for row in rows("## Arguments") if names(row[0])}
    config = EnvConfig()
    for field in fields(EnvConfig):
        value = getattr(config, field.name)
        shown = {"limits": "Limits()"}.get(field.name)
        plain = f'"{value}"' if isinstance(value, str) else repr(value)
        assert listed[field.name] == (shown or plain), field.name


BLOCKS = re.findall(r"```python\n(.*?)```", EXTEND, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_extension_is_short_and_works(number: int, box: Sandbox) -> None:
    block = BLOCKS[number]
    assert len(block.splitlines()) < 40
    scope: dict[str, Any] = {"library": type("L", (), {"find": staticmethod(str.upper)})}
    exec(block, scope)
    if "search" in scope:
        env = ToRLMathEnv(sandbox=box, tools=(scope["PythonTool"](), scope["search"]))
        env.reset(seed=0)
        assert env.step("```search\nmoon\n```")[0] == "\n```output\nMOON\n```\n"
    elif "Squares" in scope:
        env = ToRLMathEnv(scope["Squares"](), sandbox=box)
        assert env.reset(options={"problem_id": "square-9"})[0] == "What is 9^2?"
        assert env.step("\\boxed{81}")[1] == 1.0
    elif "mine" in scope:
        env = ToRLMathEnv(sandbox=box, reward=scope["mine"])
        env.reset(seed=0)
        assert env.step("none")[4]["reward_terms"] == {"correct": 0.0, "frugal": 0.1}
    else:
        assert scope["BestOfGroup"]().assign_credit([]) == []


def test_the_sandbox_document_names_every_layer_limit_and_backend() -> None:
    assert set(re.findall(r"^\| ([a-z]+) \|", SANDBOX.split("## Layers")[1], re.MULTILINE)) >= {
        str(layer) for layer in Layer
    }
    limits = SANDBOX.split("## Limits")[1].split("## Layers")[0]
    assert {field.name for field in fields(Limits)} <= set(names(limits))
    backends = SANDBOX.split("## Backends")[1].split("## Speed")[0]
    assert set(NAMES) <= {name.partition(":")[0] for name in names(backends)}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="sessions are forked on Linux only")
def test_the_example_of_the_sandbox_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SANDBOX, re.DOTALL)
    exec(code, {"__name__": "__main__"})
    assert capsys.readouterr().out.split("\n") == ["ok [-2, 2]", "", "328350", "42", " 41", "", ""]
