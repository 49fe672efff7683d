"""Run the tutorials: `python .ci/notebooks.py OUT [NAME ...]`.

Each becomes a notebook with its output in OUT. One that fails ends this with its traceback.
"""

import resource
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

SOURCES = Path(__file__).parents[1] / "docs" / "tutorials"
LIMIT_SECONDS = 7_200
"""Of one cell, on a busy machine; a whole tutorial takes under ten minutes on two quiet cores."""


def run(source: Path, out: Path) -> tuple[float, float]:
    """Execute one tutorial and write it as a notebook.

    Returns:
        The seconds it took by the clock, and of CPU, which a busy machine changes little.
    """
    notebook = jupytext.read(source)
    start, used = time.monotonic(), _cpu_seconds()
    NotebookClient(
        notebook,
        timeout=LIMIT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(out)}},
    ).execute()
    nbformat.write(notebook, out / f"{source.stem}.ipynb")
    return time.monotonic() - start, _cpu_seconds() - used


def _cpu_seconds() -> float:
    """Of all processes that have ended: a notebook's kernel has, once it is executed."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


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
            seconds, used = run(source, out)
            print(f"{source.stem}: {seconds:.0f} s, {used:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
