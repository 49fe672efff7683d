"""The tutorials run, and the page that lists them names each."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "docs" / "tutorials").glob("*.py"))


def test_the_page_names_each_with_its_minutes():
    page = (ROOT / "docs" / "tutorials" / "index.md").read_text()
    rows = re.findall(r"^\| \[.+?\]\((\S+?)\.py\) \|.*\| ([\d.]+) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == [source.stem for source in SOURCES]
    assert all(float(minutes) < 10 for _, minutes in rows)
    nav = (ROOT / "mkdocs.yml").read_text()
    assert all(f"tutorials/{source.stem}.md" in nav for source in SOURCES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_tutorial_is_a_notebook(source):
    """Text first, then code that compiles; cells are marked as jupytext reads them."""
    text = source.read_text()
    assert re.search(r"^# %% \[markdown\]\n# # \d\. ", text, re.MULTILINE)
    compile(text, source.name, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_tutorial_runs(source, tmp_path):
    pytest.importorskip("nbclient", reason="the extra `docs` runs notebooks")
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / ".ci" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.run(source, tmp_path)
    assert '"cell_type": "code"' in (tmp_path / f"{source.stem}.ipynb").read_text()
