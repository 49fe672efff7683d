"""Everything a release needs but the upload: `python .ci/release.py OUT`.

The version stands in pyproject.toml alone. A tag, where HEAD has one, must be `v` and that version,
and CHANGELOG.md must have its section. Then wheels and source distributions of both halves are
built and checked, installed into fresh environments on every Python at hand, and tested there,
away from the tree.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import wheels

ROOT = wheels.ROOT
PYTHONS = "python3.11", "python3.12", "python3.13", "python3.14"
FIVE_LINES = """
import gymnasium as gym
env = gym.make("torl_env:ToRLMath-v0", problems="procedural:gcd")
question, info = env.reset(seed=0)
assert "42" in env.step("```python\\nprint(6 * 7)\\n```")[0]
assert env.step("So it is \\\\boxed{-1}.")[4]["verdict"] == "wrong"
"""
TESTS = (
    # What says most about a wheel in little time and needs torl-env alone; `.ci/run` has all of
    # them, in the tree.
    "tests/torl_env/test_env.py",
    "tests/torl_env/test_gymnasium.py",
    "tests/torl_env/test_vector_env.py",
    "tests/rewards/test_extraction.py",
    "tests/rewards/test_grading_options.py",
    "tests/rewards/test_reward_schemes.py",
)
TEST_NEEDS = "pytest", "hypothesis", "scipy"


def main() -> None:
    """Check, build, install, test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--python", nargs="+", help=f"in place of those of {PYTHONS} that are here")
    parser.add_argument("--no-tests", action="store_true", help="install and run five lines only")
    options = parser.parse_args()
    version = checked_version()
    shutil.rmtree(options.out, ignore_errors=True)
    built = wheels.build(options.out, sdist=True)
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)])
    found = options.python or list(pythons())
    for python in found:
        try_out(python, options.out.resolve(), version, tests=not options.no_tests)
    print(f"{version}: {len(built)} files in {options.out}, tried on {', '.join(found)}")


def checked_version() -> str:
    """The version of the tree.

    Raises:
        SystemExit: The tag of HEAD or the changelog says otherwise.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version: str = project["version"]
    asked = ["git", "tag", "--points-at", "HEAD", "v*"]
    tags = subprocess.check_output(asked, cwd=ROOT, text=True).split()
    if tags and f"v{version}" not in tags:
        raise SystemExit(
            f"HEAD is tagged {', '.join(tags)} and pyproject.toml says {version}: "
            f"expected the tag v{version}, or another version there"
        )
    if not re.search(rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text(), re.M):
        raise SystemExit(f"CHANGELOG.md has no section [{version}]: write what is new for users")
    return version


def pythons() -> Iterator[str]:
    """Those of `PYTHONS` that are here and start."""
    for name in PYTHONS:
        code = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
        try:
            done = subprocess.run([name, "-c", code], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        # A shim of a version manager is there for versions that are not.
        if done.stdout.strip() == name.removeprefix("python"):
            yield name


def try_out(python: str, out: Path, version: str, *, tests: bool) -> None:
    """Install into a fresh environment, run five lines, then the tests."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        run([python, "-m", "venv", "env"], place)
        here = str(place / "env" / "bin" / "python")
        constraints = ["-c", str(ROOT / "constraints.txt")]
        pip = [here, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        # torl-gym depends on torl-env of its version, which is found among the files built.
        pip += ["--find-links", str(out), *constraints]
        start = time.monotonic()
        run([*pip, f"torl-env=={version}"], place)
        installed = time.monotonic() - start
        run([here, "-c", FIVE_LINES], place)
        print(
            f"{python}: torl-env in {installed:.0f} s, five lines in "
            f"{time.monotonic() - start - installed:.0f} s"
        )
        if not tests:
            return
        run([*pip, *TEST_NEEDS], place)
        # Away from the tree, so that nothing but the wheel can be imported.
        shutil.copytree(ROOT / "tests", place / "tests")
        shutil.copy(ROOT / "pyproject.toml", place)
        run([here, "-m", "pytest", "-q", "-x", *TESTS], place)
        where = "import torl_env; print(torl_env.__file__)"
        seen = subprocess.check_output([here, "-c", where], cwd=place, text=True)
        if "site-packages" not in seen:
            raise SystemExit(f"the tests saw {seen.strip()} and not the wheel")


def run(command: Sequence[str], place: Path = ROOT) -> None:
    """Run a command, whose failure ends the release."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(list(command), cwd=place, env=clean, check=False)
    if done.returncode:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(command[:6])} ...")


if __name__ == "__main__":
    main()
