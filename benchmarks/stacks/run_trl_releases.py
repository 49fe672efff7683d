"""TRL's releases under our own trainer: its tests on each, every release beside the others.

Only TRL's own files change from one to the next; what it depends on is installed once.
"""

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from agents.core.trainer.trl_releases import TESTED
from benchmarks.stacks.result import Result, report

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("test_trainer.py", "test_ppo.py", "test_thor.py", "test_correction.py")


def passed(release: str, folder: Path) -> tuple[str, int]:
    """The release's whole version and how many tests pass on it.

    Raises:
        SystemExit: One fails.
    """
    place = folder / release
    # The installer of whoever started us was handed down: this environment has none.
    install = [os.environ["STACKS_UV"], "pip", "install", "-q", "--no-deps"]
    where = ["--python", sys.executable, "--target", str(place)]
    subprocess.run([*install, *where, f"trl=={release}.*"], check=True)
    installed = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; print(m.version('trl'))"],
        env=_with(place),
        capture_output=True,
        text=True,
        check=True,
    )
    files = [str(ROOT / "tests" / "agents" / name) for name in TESTS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-c", str(ROOT / "pyproject.toml"), *files],
        cwd=folder,
        env=_with(place),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or not found:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise SystemExit(f"the trainer fails on trl {installed.stdout.strip()}:\n{tail}")
    return installed.stdout.strip(), int(found[1])


def _with(place: Path) -> dict[str, str]:
    path = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def main() -> None:
    """All tested releases, and the newest there is."""
    newest = ".".join(version("trl").split(".")[:2])
    with tempfile.TemporaryDirectory() as name:
        releases = dict.fromkeys((*TESTED, newest))
        ran = [passed(release, Path(name)) for release in releases]
    report(
        Result(
            version=", ".join(release for release, _ in ran),
            ran=f"the trainer's tests on each, {min(tests for _, tests in ran)} and more",
            fault="lost rows are in no mean: among the tests",
            not_run="with vLLM and on several GPUs: only the newest, where there is a GPU",
        )
    )


if __name__ == "__main__":
    main()
