"""What importing costs, what it drags in, and that names are ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import agents

ROOT = Path(__file__).parents[2]
PACKAGES = ("rewards", "torl_env", "agents", "benchmarks", "torl")
HEAVY = ("torch", "transformers", "trl", "datasets", "vllm", "sympy", "scipy", "pandas", "pyarrow")


def loaded_by(statement):
    code = f"{statement}\nimport sys\nprint(*(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "statement",
    [
        "import torl_env",
        "import rewards",
        "import gymnasium, torl_env; gymnasium.make('ToRLMath-v0').reset(seed=0)",
        "import torl.__main__",
        "import agents.grpo",
    ],
)
def test_nothing_heavy_is_imported(statement):
    assert loaded_by(statement) == []


def test_importing_the_environment_costs_little_beside_gymnasium(tmp_path):
    """CPU seconds as a ratio to what any Gymnasium program pays, in turns, each the least of some.

    Both from bytecode, as installed packages are: the first of the imports writes it. What else the
    machine does only adds seconds, so further turns can but bring the least nearer to the truth.
    """
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}

    def seconds(statement):
        process = subprocess.Popen([sys.executable, "-c", statement], env=env)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    turns = []
    while len(turns) < 3 or (not cheap(turns) and len(turns) < 12):
        turns.append([seconds(f"import {name}") for name in ("torl_env", "gymnasium")])
    assert cheap(turns), turns


def cheap(turns):
    ours, gymnasium = map(min, zip(*turns, strict=True))
    return ours < 2 * gymnasium


def test_agents_is_ours():
    assert Path(agents.__file__).parent == ROOT / "agents"


def sources():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_one_idea_fits_in_one_file():
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources()
        if (count := len(path.read_text().splitlines())) > 420
    }
    assert long == {}


def test_every_module_name_says_something():
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [str(p) for p in sources() if vague & {p.stem, *p.relative_to(ROOT).parts}] == []


def test_tests_do_not_shadow_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []
