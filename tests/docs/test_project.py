"""Release files agree with each other and with the code."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def script(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / ".ci")
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_public_interface_is_the_listed_one(monkeypatch):
    api = script("public_api", monkeypatch)
    there, listed = list(api.lines()), api.LIST.read_text().splitlines()
    assert there == listed, (
        "the public interface changed. If that is meant: python .ci/public_api.py --write, "
        "and a line in CHANGELOG.md (docs/project/releases.md has the policy)"
    )


def test_the_version_is_told_alike():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d[^\]]*)\] - (\S+)$", changelog, re.MULTILINE)
    assert released[0] == (VERSION, str(cited["date-released"]))
    assert cited["version"] == VERSION
    assert cited["cff-version"] == "1.2.0"


def test_the_changelog_keeps_to_its_form():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    kinds = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert changelog.index("## [Unreleased]") < changelog.index(f"## [{VERSION}]")


def test_a_release_wants_its_section_in_the_changelog(monkeypatch, tmp_path):
    release = script("release", monkeypatch)
    assert release.checked_version() == VERSION
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{VERSION}"\n')
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release.subprocess, "check_output", lambda *_, **__: "")
    with pytest.raises(SystemExit, match="has no section"):
        release.checked_version()
    monkeypatch.setattr(release.subprocess, "check_output", lambda *_, **__: "v9.9.9\n")
    with pytest.raises(SystemExit, match=r"HEAD is tagged v9\.9\.9"):
        release.checked_version()


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda f: f.name)
def test_forms_and_workflows_are_yaml_with_what_the_host_asks(form):
    read = yaml.safe_load(form.read_text())
    if form.parent.name == "workflows":
        # YAML reads the key `on` as true.
        assert read[True]
        steps = [step for job in read["jobs"].values() for step in job["steps"]]
        assert any(step.get("run") == ".ci/run" for step in steps)
        assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
    elif form.name != "config.yml":
        assert {"name", "description", "body"} <= set(read)
        for item in read["body"]:
            assert item["type"] in ("textarea", "checkboxes", "input", "dropdown", "markdown")
            assert item["attributes"]["label"]
