"""What the site adds to Markdown: drawings, tutorials, pages from elsewhere in the tree."""

import importlib.util
import re
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import mermaidx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT = {"CONTRIBUTING": "contributing", "CHANGELOG": "changelog", "SECURITY": "security"}
"""Files at the root that are pages under `project/`."""
RECORDS = ROOT / "runs" / "records"
DRAWING = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TUTORIAL = re.compile(r"\]\((\d_\w+)\.py\)")
"""A link to a tutorial in the tree, which is a page of the site."""
MARKER = re.compile(r"^<!-- (?:not run|continues|output).*?-->\n", re.MULTILINE)
"""What tells the tests about a block of code, see tests/docs/test_pages.py."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/ as Markdown."""
    for name, page in PROJECT.items():
        path = ROOT / f"{name}.md"
        files.append(File.generated(config, f"project/{page}.md", abs_src_path=str(path)))
    for path in (path for kind in ("md", "png", "json") for path in RECORDS.glob(f"*.{kind}")):
        if not path.name.endswith(".notes.md"):  # these are parts of the records
            files.append(File.generated(config, f"records/{path.name}", abs_src_path=str(path)))
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.py")):
        text = _as_page(path)
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=text))
    files.append(File.generated(config, "reference/messages.md", content=_messages_page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Draw drawings, and lead links to files of the tree to where the site has them."""
    markdown = MARKER.sub("", markdown)
    # A page of docs/ links to the record in the tree, which is right on a code host too.
    markdown = markdown.replace("](../runs/records/", "](records/")
    markdown = markdown.replace("](../SECURITY.md", "](project/security.md")
    markdown = TUTORIAL.sub(r"](\1.md)", markdown)
    markdown = markdown.replace("](docs/", "](../").replace(
        "](CONTRIBUTING.md", "](contributing.md"
    )
    return DRAWING.sub(lambda found: _drawn(found[1]), markdown)


NARROW = """%%{init: {"sequence":
    {"actorMargin": 8, "width": 110, "height": 40, "mirrorActors": false}
}}%%
"""


@cache
def _drawn(source: str) -> str:
    svg = mermaidx.render(NARROW + source, theme="neutral").svg()
    # Mermaid asks for all the width there is, which makes small drawings huge and wide ones tiny.
    width = float(re.search(r'viewBox="\S+ \S+ (\S+)', svg)[1])  # type: ignore[index]
    svg = re.sub(r'width="100%"', f'width="{0.75 * width:.0f}"', svg, count=1)
    # Several drawings on one page must not share the ids of their arrow heads.
    svg = svg.replace("my-svg", f"drawing-{zlib.crc32(source.encode())}")
    return f'<figure class="drawing" markdown="0">{" ".join(svg.split())}</figure>'


def _as_page(path: Path) -> str:
    """A tutorial as Markdown: its text, and its code in fences."""
    cells = jupytext.read(path).cells
    parts = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for cell in cells
    ]
    name = path.name
    link = f"*Source: `docs/tutorials/{name}`; `make notebooks` runs it and keeps its output.*"
    return "\n\n".join([parts[0], link, *parts[1:]])


def _messages_page() -> str:
    # Hooks are loaded from their paths, and the folder is no package.
    spec = importlib.util.spec_from_file_location("messages", ROOT / "docs" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.page(module.messages()))
