"""Two wheels from one tree: `python .ci/wheels.py OUT`.

- `torl-env`: `torl_env` and `rewards` alone, light dependencies, no top-level `agents`: what other
  training stacks install, openai-agents (which verifiers needs) among their dependencies.
- `torl-gym`: the agents, benchmarks and the command line; depends on `torl-env` of its version.

`pyproject.toml` describes the whole tree, which is what `pip install -e .` installs; here it is
divided. The same commit gives the same wheels, byte for byte.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = "rewards", "torl_env"
"""Folders of torl-env; torl-gym has the others."""
SHARED_EXTRAS = "hub", "ray", "serve", "mcp", "reasoning", "bench", "sandbox"
NEEDS_OF_REST = "tyro", "rich"
"""Dependencies that the environment does without."""


@dataclass(frozen=True)
class Distribution:
    """What one wheel says of itself."""

    name: str
    description: str
    folders: tuple[str, ...]
    dependencies: tuple[str, ...]
    extras: Mapping[str, list[str]]
    tables: Mapping[str, Mapping[str, str]]
    """Further tables of `project`, by their dotted names: scripts, entry points."""


def distributions(project: Mapping[str, Any], folders: list[str]) -> list[Distribution]:
    """The two halves of the tree's project table."""
    rest = [need for need in project["dependencies"] if need.startswith(NEEDS_OF_REST)]
    light = [need for need in project["dependencies"] if need not in rest]
    extras = project["optional-dependencies"]
    points = {f'entry-points."{k}"': v for k, v in project["entry-points"].items()}
    return [
        Distribution(
            "torl-env",
            "Environment, sandbox and grader of ToRL Gym, for any training stack",
            HERE,
            tuple(light),
            {name: extras[name] for name in SHARED_EXTRAS},
            points,
        ),
        Distribution(
            project["name"],
            project["description"],
            tuple(one for one in folders if one not in HERE),
            (f"torl-env=={project['version']}", *rest),
            {name: needs for name, needs in extras.items() if name not in ("dev", "docs")},
            {"scripts": project["scripts"]},
        ),
    ]


def toml(half: Distribution, whole: Mapping[str, Any]) -> str:
    """A pyproject.toml; JSON's strings and lists are TOML's."""
    project = whole["project"]
    lines = ["[build-system]", *_pairs(whole["build-system"]), "", "[project]"]
    kept = {
        key: value
        for key, value in project.items()
        if not isinstance(value, dict) and key not in ("name", "description", "dependencies")
    }
    lines += _pairs({"name": half.name, "description": half.description, **kept})
    lines += _pairs({"dependencies": list(half.dependencies)})
    tables = {"optional-dependencies": half.extras, "urls": project["urls"], **half.tables}
    for name, table in tables.items():
        lines += ["", f"[project.{name}]", *_pairs(table)]
    setuptools = whole["tool"]["setuptools"]
    lines += ["", "[tool.setuptools.packages.find]"]
    lines += _pairs({"include": [f"{folder}*" for folder in half.folders]})
    data = {k: v for k, v in setuptools["package-data"].items() if _owned(k, half)}
    return "\n".join([*lines, "", "[tool.setuptools.package-data]", *_pairs(data), ""])


def _owned(package: str, half: Distribution) -> bool:
    return package == "*" or package.split(".")[0] in half.folders


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items()]


def build(out: Path, *, sdist: bool = False) -> list[Path]:
    """Build both wheels.

    Args:
        out: Where they go.
        sdist: Build source distributions too.

    Returns:
        What was built.
    """
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = whole["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = [pattern.removesuffix("*") for pattern in patterns]
    out.mkdir(parents=True, exist_ok=True)
    return [
        out / name
        for half in distributions(whole["project"], folders)
        for name in _built(half, toml(half, whole), out.resolve(), sdist=sdist)
    ]


def _built(half: Distribution, described: str, out: Path, *, sdist: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        stage = Path(name)
        for folder in half.folders:
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / folder, stage / folder, ignore=ignored)
        for file in ("README.md", "LICENSE"):
            shutil.copy(ROOT / file, stage)
        (stage / "pyproject.toml").write_text(described)
        hooks = "build_wheel", *(["build_sdist"] if sdist else [])
        return [_hook(hook, stage, out) for hook in hooks]


def _hook(hook: str, stage: Path, out: Path) -> str:
    code = (
        "import sys; from setuptools import build_meta;"
        f"print('built', build_meta.{hook}({str(out)!r}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=stage,
        env={**os.environ, "SOURCE_DATE_EPOCH": _commit_time()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{hook} failed (setuptools 77 or newer is needed):\n{done.stderr}")
    return done.stderr.rsplit("built ", 1)[1].strip()


def _commit_time() -> str:
    """Of the files in a wheel; a fixed time in an image's build, which has no git or no history."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "1735689600")
    asked = ["git", "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return fixed
    return done.stdout.strip() or fixed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .ci/wheels.py OUT")
    for path in build(Path(sys.argv[1]), sdist=True):
        print(path)
