"""README and documentation show users only what is public."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+([^\n#]+)|import\s+([\w.]+))", re.MULTILINE)
OURS = ("rewards", "torl_env", "agents", "benchmarks", "torl")
INTERNAL = re.compile(r"^(torl\.|benchmarks\.)|\._|\b_")


def imports(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for module, names, plain in IMPORT.findall(block):
            if (module or plain).split(".")[0] in OURS:
                yield (
                    module or plain,
                    [n.strip() for n in names.strip("() ").split(",") if n.strip()],
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page_use_only_public_imports(page):
    for module, names in imports(page):
        assert not INTERNAL.search(module), f"{page.name}: {module}"
        found = importlib.import_module(module)
        for name in names:
            assert not name.startswith("_"), f"{page.name}: {module}.{name}"
            # Not by `hasattr`: an adapter may need a package that is not installed here.
            text = Path(str(found.__file__)).read_text()
            assert re.search(rf"\b{name}\b", text), f"{page.name}: {module} has no {name}"


def test_the_pattern_sees_what_is_internal():
    assert INTERNAL.search("torl.wiring")
    assert INTERNAL.search("benchmarks.heldout.records")
    assert not INTERNAL.search("torl_env.tools")
