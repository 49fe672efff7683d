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
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return told.stdout.split()


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


def test_import_torl_env_takes_less_than_half_a_second():
    """In CPU seconds, the least of three: what the code costs, not what else the machine does."""

    def seconds():
        process = subprocess.Popen([sys.executable, "-c", "import torl_env"])
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_agents_is_ours():
    assert Path(agents.__file__).parent == ROOT / "agents"


def sources():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources()
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_every_module_name_says_something():
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [str(p) for p in sources() if vague & {p.stem, *p.relative_to(ROOT).parts}] == []


def test_tests_do_not_shadow_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []
