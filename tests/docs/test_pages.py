"""Every block of code on a page runs or says why not, and every link leads somewhere.

Before a Python block a page may say `<!-- not run: WHY -->`. The blocks of a page share their
names, as a reader types them one after the other.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest

from agents.core.testing.algorithm_contract import episode

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ELSEWHERE = {"extend.md", "sandbox.md"}
"""Pages whose blocks run in tests/torl_env/test_docs.py, which also looks at what they print."""
BLOCK = re.compile(
    r"(<!-- not run: .+? -->\n)?^( *)```python\n(.*?)^ *```", re.DOTALL | re.MULTILINE
)
RUN = [page for page in PAGES if page.name not in ELSEWHERE and "```python" in page.read_text()]
"""Pages of the site that lie at the root of the tree; those of `records/` lie in runs/records."""


def of_the_environment_page():
    """What its examples take for granted: a model, and many episodes at once."""
    envs = gym.make_vec("torl_env:ToRLMath-v0", num_envs=16, autoreset_mode="Disabled")
    ids = [envs.problems[i].id for i in range(3)]
    return {
        "my_model": SimpleNamespace(generate=lambda text, stop: "It is \\boxed{1}."),
        "envs": envs,
        "ids": ids[:2],
        "more": ids[2:] * 16,
        "ended": np.ones(16, dtype=bool),
        "texts": ["One moment, ", "It is \\boxed{2}."],
    }


def of_the_adapters_page():
    """A finished episode."""
    return {"trajectory": episode(1.0)}


GIVEN = {"environment.md": of_the_environment_page, "adapters.md": of_the_adapters_page}


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": page.stem, **GIVEN.get(page.name, dict)()}
    for reason, _, code in BLOCK.findall(page.read_text()):
        if not reason:
            exec(compile(code, page.name, "exec"), scope)


def slugs(text):
    """Anchors of a page's headings, as the site makes them."""
    found = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", found, re.MULTILINE)
    return {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", one).strip().lower()) for one in headings
    }


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]+))?\)", prose):
        # In the tree itself: the site is not all that is read.
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor in slugs(path.read_text()), f"{page.name}: {target}#{anchor}"


def test_files_that_a_page_names_exist():
    named = {
        (page.name, file)
        for page in PAGES
        for file in re.findall(
            r"`((?:torl_env|rewards|agents|benchmarks|torl|tests|runs|docs|examples|containers)/[\w/.]+\.\w+)`",
            page.read_text(),
        )
    }
    assert len(named) > 50
    assert [one for one in sorted(named) if not (ROOT / one[1]).exists()] == []


def test_the_first_minute_prints_what_it_says(capsys):
    page = (DOCS / "first_minute.md").read_text()
    exec(BLOCK.findall(page)[0][2], {})
    shown = re.search(r"````text\n(.*?)````", page, re.DOTALL)[1]
    assert capsys.readouterr().out.strip() == shown.strip()
