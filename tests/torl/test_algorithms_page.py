"""docs/algorithms.md as it stands: every setting of its table is one, and its code runs."""

import re
import shlex
from pathlib import Path

import pytest

from torl.__main__ import parse
from torl.training.checks import check_settings

PAGE = (Path(__file__).parents[2] / "docs" / "algorithms.md").read_text()
METHODS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE[PAGE.index("## Methods") : PAGE.index("### Names of metrics")].splitlines()
    if line.startswith("| ") and "`--" in line
]
SETTINGS = [
    (row[0], words)
    for row in METHODS
    for words in re.findall(r"`(-[^`]+|\"?shaping=[^`]+)`", row[3])
    # Here a module of the reader's own.
    if "mine:" not in words
]


def test_the_table_is_read():
    assert len(METHODS) > 25
    assert {"CISPO", "void turns", "curriculum", "schedules"} <= {row[0] for row in METHODS}


@pytest.mark.parametrize(("method", "words"), SETTINGS)
def test_each_setting_of_the_table_is_one(method, words):
    """As the shell and the command line read it; a lone shaping is a setting of `--set`."""
    given = shlex.split(words if words.startswith("-") else f"--set {words}")
    if method == "potential-based shaping":
        given += ["--algorithm", "gtpo" if "gamma" in words else "ppo"]
    check_settings(parse("train", given))


def test_the_code_of_the_methods_runs():
    part = PAGE[PAGE.index("Such settings are data") : PAGE.index("### Names of metrics")]
    (code,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    exec(compile(code, "docs/algorithms.md", "exec"), {})
