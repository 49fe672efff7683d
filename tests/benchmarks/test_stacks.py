"""The environment in other stacks: the two wheels, the record and the page that shows it."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.stacks.__main__ import STACKS, Place, attempt, run
from benchmarks.stacks.dying import DYING
from benchmarks.stacks.page import PAGE, RECORD, ROOT, known, origin, shown, write
from benchmarks.stacks.result import MARK, Result, read
from torl_env.adapters.token_episode import make_env
from torl_env.problems import Problem

ENVIRONMENTS = Path(os.environ.get("TORL_STACKS", ROOT / "out" / "stacks"))
"""Where `python -m benchmarks.stacks` has installed them."""


def asked(*words):
    """The command, to its end."""
    command = [sys.executable, "-m", "benchmarks.stacks", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheels():
    spec = importlib.util.spec_from_file_location("wheels", ROOT / ".ci" / "wheels.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["wheels"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(wheels, tmp_path_factory):
    return {path.name.split("-")[0]: path for path in wheels.build(tmp_path_factory.mktemp("a"))}


def folders(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    return {name.split("/")[0] for name in names if ".dist-info" not in name}, names


@pytest.mark.slow
def test_the_environment_s_wheel_holds_no_agents(built):
    environment, names = folders(built["torl_env"])
    assert environment == {"torl_env", "rewards"}
    assert {"torl_env/py.typed", "rewards/py.typed"} <= set(names)
    rest, names = folders(built["torl_gym"])
    assert rest == {"agents", "benchmarks", "torl"}
    assert {f"{one}/py.typed" for one in rest} <= set(names)
    assert "benchmarks/report/assets/page.css" in names


@pytest.mark.slow
def test_every_folder_of_the_tree_is_in_one_of_them(built, wheels):
    held = folders(built["torl_env"])[0] | folders(built["torl_gym"])[0]
    text = (ROOT / "pyproject.toml").read_text()
    include = wheels.tomllib.loads(text)["tool"]["setuptools"]["packages"]["find"]["include"]
    assert held == {one.removesuffix("*") for one in include}


@pytest.mark.slow
def test_their_metadata(built):
    def metadata(wheel):
        archive = zipfile.ZipFile(wheel)
        (name,) = [n for n in archive.namelist() if n.endswith("/METADATA")]
        return archive.read(name).decode()

    light, whole = metadata(built["torl_env"]), metadata(built["torl_gym"])
    needs = [line for line in light.splitlines() if line.startswith("Requires-Dist: ")]
    plain = {line.split()[1].split("<")[0].split(">")[0] for line in needs if "extra" not in line}
    assert plain == {"gymnasium", "numpy", "sympy", "cloudpickle", "jsonschema"}
    assert "Requires-Dist: torl-env==" in whole
    for text in (light, whole):
        assert "Project-URL: " in text
        assert "Classifier: Typing :: Typed" in text
        assert "License-Expression: Apache-2.0" in text


@pytest.mark.slow
def test_the_same_tree_gives_the_same_bytes(built, wheels, tmp_path):
    for path in wheels.build(tmp_path):
        assert path.read_bytes() == built[path.name.split("-")[0]].read_bytes()


@pytest.mark.slow
def test_they_are_built_without_git_as_in_an_image(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(wheels.build(tmp_path / "built")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in STACKS.items() if not one.source])
def test_a_stack_that_is_installed(name):
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{name} is not installed: python -m benchmarks.stacks {name}")
    result = run(name, Place(ENVIRONMENTS, keep=True))
    assert result.fault
    assert result.ids_equal is not False


def installed(folder, *packages):
    """A fresh environment with them; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    subprocess.run([*pip, *map(str, packages)], check=True, timeout=900)
    return python


@pytest.mark.slow
def test_the_environment_stands_beside_openai_agents_and_verifiers(built, tmp_path):
    python = installed(tmp_path / "venv", built["torl_env"], "openai-agents", "verifiers")
    program = (
        "import agents, gymnasium, verifiers, rewards, torl_env\n"
        "assert hasattr(agents, 'Runner'), agents\n"
        "from torl_env.adapters.verifiers import ToRLTaskset\n"
        "env = gymnasium.make('torl_env:ToRLMath-v0', tool_budget=1)\n"
        "env.reset(seed=0)\n"
        "print(env.step('```python\\nprint(6*7)\\n```')[0].strip())\n"
        "env.close()\n"
    )
    # Else a checkout on the path would be what is imported.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", program],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "```output\n42\n```\n"


@pytest.mark.slow
def test_a_registry_would_take_them(wheels, tmp_path):
    made = wheels.build(tmp_path / "dist", sdist=True)
    python = installed(tmp_path / "venv", "twine")
    words = [str(python), "-m", "twine", "check", "--strict", *map(str, made)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == len(made) == 4


@pytest.mark.slow
def test_a_release_that_breaks_an_adapter_fails_with_the_reason(tmp_path):
    """A faked skyrl-gym 99: found, of the newest version, and no longer what the adapter needs."""
    import site

    place = tmp_path / "environments" / "skyrl"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (inside,) = place.glob("lib/python*/site-packages")
    here = [*site.getsitepackages(), *filter(None, [os.environ.get("PYTHONPATH")])]
    (inside / "here.pth").write_text(
        "\n".join(f"import site; site.addsitedir({p!r})" for p in here)
    )
    for name in ("skyrl_gym/__init__.py", "skyrl_gym/envs/__init__.py"):
        (inside / name).parent.mkdir(exist_ok=True)
        (inside / name).touch()
    (inside / "skyrl_gym" / "envs" / "registration.py").write_text("registry = {}\n")
    (inside / "skyrl_gym" / "envs" / "__init__.py").write_text(
        "from skyrl_gym.envs import registration\ndef register(**_): pass\n"
    )
    (inside / "skyrl_gym" / "metrics.py").write_text("aggregate_for_environment = None\n")
    (inside / "skyrl_gym" / "envs" / "base_text_env.py").touch()
    (inside / "skyrl_gym" / "__init__.py").write_text(
        "import importlib\n"
        "def make(*_, **how):\n"
        "    return importlib.import_module('torl_env.adapters.skyrl').ToRLEnv(**how)\n"
    )
    about = inside / "skyrl_gym-99.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: skyrl-gym\nVersion: 99.0\n")
    record = tmp_path / "record.json"
    told = asked("skyrl", "--keep", "--record", record, "--environments", place.parent)
    assert told.returncode == 1
    assert "skyrl 99.0 FAILED" in told.stderr
    assert "has no attribute 'BaseTextEnv'" in told.stderr
    (row,) = known(record)
    assert (row.version, row.ran[:7]) == ("99.0", "FAILED:")
    assert "BaseTextEnv" in row.ran


ONE = Result(stack="a", version="1", ran="all", fault="raises", begun="2026-01-02", fresh=True)


def test_a_result_is_read_from_among_other_output():
    assert read(f"noise\n{MARK}{json.dumps(ONE.__dict__)}\nmore") == ONE
    with pytest.raises(ValueError, match="begins with"):
        read("noise")


def test_the_page_shows_the_record():
    text = shown(known(RECORD))
    assert RECORD.with_suffix(".md").read_text() == text
    assert text in PAGE.read_text()


def test_the_page_says_whether_one_run_made_all_rows(tmp_path):
    record = tmp_path / "record.json"
    write([ONE, replace(ONE, stack="b")], record)
    one_run = "2 of 2 rows are of one run, begun 2026-01-02, "
    assert origin(known(record)) == f"{one_run}each environment made from nothing."
    write([replace(ONE, stack="b", ran="FAILED: why", fresh=False)], record)
    assert origin(known(record)) == f"{one_run}each environment made from nothing; 1 failed."
    write([replace(ONE, stack="b", fresh=False)], record)
    assert origin(known(record)) == f"{one_run}some in environments made before."
    write([replace(ONE, fresh=False)], record)
    assert origin(known(record)) == f"{one_run}in environments made before."
    write([replace(ONE, commit="abc1234"), replace(ONE, stack="b", commit="abc1234")], record)
    assert "2 of 2 rows are of one run, begun 2026-01-02 at abc1234, " in origin(known(record))
    write([ONE, replace(ONE, stack="b", begun="2026-02-03")], record)
    write([replace(ONE, stack="c")], record)
    assert origin(known(record)).startswith("2 of 3 rows are of one run, begun 2026-01-02")
    assert origin(known(record)).endswith("; 1 rows of other runs.")


def test_a_stack_without_its_checkout_is_a_row_that_says_so(tmp_path):
    row, why = attempt("slime", Place(tmp_path), None)
    assert (row.stack, row.ran, row.not_run[:14]) == ("slime", "nothing", "on no registry")
    assert not why


@pytest.mark.slow
def test_a_machine_that_dies_under_a_program_leaves_no_reward():
    """What every check does to its stack is a fault of the machine, and of chosen programs only."""
    env = make_env(Problem("p", "What?", "42"), {"sandbox": DYING, "tool_budget": 2})
    env.reset(options={"problem_id": "p"})
    assert "2" in env.step("```python\nprint(2)\n```")[0]
    *_, truncated, info = env.step("```python\nprint(6 * 7)\n```")
    env.close()
    assert truncated
    assert "died" in info["infra_error"]
    assert info["verdict"] == ""


def test_a_stack_that_fails_ends_with_its_reason(tmp_path):
    done = asked("nonsense")
    assert done.returncode == 2
    assert "'nonsense' is no stack" in done.stderr
