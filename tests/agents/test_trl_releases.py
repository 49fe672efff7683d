"""Which TRL the trainer takes: a range, and a warning beyond it."""

import tomllib
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from agents.core.trainer.trl_releases import TESTED, UntestedTRLWarning, warn_if_untested

ROOT = Path(__file__).parents[2]


def test_a_newer_release_warns_and_says_what_to_do():
    with pytest.warns(UntestedTRLWarning, match=rf"trl 99.1.0 .* {TESTED[-1]}.*'trl<"):
        warn_if_untested("99.1.0")


@pytest.mark.parametrize("release", [*TESTED, f"{TESTED[-1]}.7"])
def test_a_tested_release_is_quiet(release):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_untested(release)


def test_the_project_takes_all_tested_releases_and_newer_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (trl,) = [
        one
        for one in map(Requirement, project["optional-dependencies"]["train"])
        if one.name == "trl"
    ]
    assert len(TESTED) >= 4
    assert all(f"{one}.0" in trl.specifier for one in (*TESTED, "99.0"))
    assert "1.11.0" not in trl.specifier
