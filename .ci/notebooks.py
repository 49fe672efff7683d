"""Run the tutorials: `python .ci/notebooks.py OUT [NAME ...]`.

Each becomes a notebook with its output in OUT. One that fails ends this with its traceback.
"""

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

SOURCES = Path(__file__).parents[1] / "docs" / "tutorials"
LIMIT_SECONDS = 1_800
"""Of one cell, on a busy machine; a whole tutorial takes under ten minutes on two quiet cores."""


def run(source: Path, out: Path) -> float:
    """Execute one tutorial and write it as a notebook; returns the seconds it took."""
    notebook = jupytext.read(source)
    start = time.monotonic()
    NotebookClient(
        notebook,
        timeout=LIMIT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(out)}},
    ).execute()
    seconds = time.monotonic() - start
    nbformat.write(notebook, out / f"{source.stem}.ipynb")
    return seconds


def main(out: Path, names: list[str]) -> None:
    """Run those of these names, or all."""
    sources = sorted(SOURCES.glob("*.py"))
    unknown = set(names) - {source.stem for source in sources}
    if unknown:
        there = ", ".join(source.stem for source in sources)
        raise SystemExit(f"no tutorial {', '.join(sorted(unknown))}: expected some of {there}")
    out.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if not names or source.stem in names:
            print(f"{source.stem}: {run(source, out):.0f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
