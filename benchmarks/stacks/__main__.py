"""`python -m benchmarks.stacks [NAME ...]`: install stacks as they are today, run them, write down.

Each gets a virtual environment of its own with the newest release on the registry, whatever else
the installer would choose, and the wheels of this tree; a release that breaks an adapter fails here
with its reason. `--keep` uses environments that exist. uv makes them (its variables hold: UV_*).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.stacks.page import RECORD, ROOT, write
from benchmarks.stacks.result import Result, read

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Stack:
    """What to install and which check to run."""

    title: str
    """Its name in the table."""
    newest: tuple[str, ...] = ()
    """Packages of which the newest release is run; the first one's version is the row's."""
    beside: tuple[str, ...] = ()
    """Further ones that its check needs."""
    first: tuple[str, ...] = ()
    """Installed before, so that what the packages depend on is there in the version wanted."""
    agents: bool = True
    """Install torl-gym too; without it nothing of ours is called `agents`."""
    source: bool = False
    """It is on no registry: its checkout is named with `--source NAME=PATH`."""


TORCH = ("torch==2.13.0",)
"""Before a stack, or it would pull a build for another accelerator."""
TESTS = "pytest", "hypothesis", "scipy", "requests"
STACKS = {
    "skyrl": Stack("SkyRL-gym", ("skyrl-gym",), first=TORCH, agents=False),
    "inspect": Stack("inspect_ai", ("inspect-ai",), ("openai",), agents=False),
    "openenv": Stack("OpenEnv", ("openenv",), ("uvicorn", "starlette", "websockets"), agents=False),
    "verifiers": Stack("verifiers", ("verifiers", "openai-agents"), agents=False),
    "prime_rl": Stack(
        "prime-rl",
        ("verifiers",),
        ("prime-pydantic-config", "tomli-w"),
        agents=False,
        source=True,
    ),
    "lm_eval": Stack("lm-evaluation-harness", ("lm-eval",), ("transformers",), TORCH, agents=False),
    "tinker": Stack("Tinker", ("tinker", "tinker-cookbook"), first=TORCH),
    "slime": Stack("slime", (), ("transformers", "httpx", "numpy"), TORCH, source=True),
    "trl": Stack("TRL", ("trl",), ("datasets",), TORCH),
    "verl": Stack(
        "verl",
        ("verl",),
        # What verl's trainer imports and its list of plain dependencies leaves out.
        ("TransferQueue", "pyzmq", "msgspec", "cachetools", "uvicorn", "fastapi"),
        TORCH,
    ),
    "nemo_gym": Stack("NeMo-Gym", ("nemo-gym",), agents=False),
    "trl_releases": Stack(
        "TRL, our trainer on its releases", ("trl",), ("datasets", *TESTS), TORCH
    ),
}


@dataclass(frozen=True)
class Place:
    """Where environments are, and how they are made."""

    folder: Path
    keep: bool = False
    interpreter: str = sys.executable
    """Of the environment."""

    def python(self, name: str) -> Path:
        """The interpreter of a stack's environment."""
        return self.folder / name / "bin" / "python"


def environment(name: str, stack: Stack, place: Place) -> str:
    """Make the stack's environment, or bring ours in a kept one up to date.

    Returns:
        What the newest releases ask for and the environment lacks, empty where it has it all.
    """
    python = place.python(name)
    fresh = not (place.keep and python.exists())
    if fresh:
        _ran(
            [_uv(), "venv", "-q", "--clear", "--python", place.interpreter, str(python.parents[1])]
        )
        if stack.first:
            _install(python, *stack.first)
        _install_newest(python, stack)
    wheels = place.folder / "wheels"
    _ran([sys.executable, str(ROOT / ".ci" / "wheels.py"), str(wheels)])
    names = ("torl_env", "torl_gym") if stack.agents else ("torl_env",)
    ours = [str(path) for one in names for path in wheels.glob(f"{one}-*.whl")]
    if fresh:
        _install(python, *ours)
    _install(python, "--no-deps", "--reinstall", *ours)
    return _unmet(python, stack)


def _install_newest(python: Path, stack: Stack) -> None:
    newest = [newest_version(one) for one in stack.newest]
    try:
        _install(python, *newest, *stack.beside)
    except RuntimeError:
        # The installer's own choice, and the newest on top: fails anew where the Python is wrong.
        _install(python, *stack.newest, *stack.beside)
        _install(python, "--no-deps", *newest)


def _unmet(python: Path, stack: Stack) -> str:
    check = [_uv(), "pip", "check", "--python", str(python)]
    said = subprocess.run(check, capture_output=True, text=True, check=False).stderr
    needs = re.findall(r"package `([^`]+)` requires `([^`]+)`", said)
    return ", ".join(what for who, what in needs if who in stack.newest)


def newest_version(package: str) -> str:
    """The newest release on the registry, as `name==version`, whatever Python it asks for.

    Raises:
        RuntimeError: There is none.
    """
    # A Python that is newer than all: a release for others would be passed over in silence.
    words = ["--no-deps", "--no-header", "--no-annotate", "--python-version", "3.99", "-"]
    return _ran([_uv(), "pip", "compile", "-q", *words], given=package).strip()


def _uv() -> str:
    found = shutil.which(
        "uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if found is None:
        raise RuntimeError("uv makes the environments: pip install uv")
    return found


def _install(python: Path, *what: str) -> None:
    _ran([_uv(), "pip", "install", "-q", "--python", str(python), *what])


def _ran(
    command: list[str],
    *,
    cwd: Path = ROOT,
    path: Path | None = None,
    limit: float = 3600.0,
    given: str = "",
) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        # A check may install more.
        env=variables | {"STACKS_UV": _uv()} | ({"PYTHONPATH": str(path)} if path else {}),
        input=given,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise RuntimeError(f"{' '.join(command[:8])} ... ended with {done.returncode}:\n{tail}")
    return done.stdout


def installed_version(name: str, stack: Stack, place: Place) -> str:
    """Version of what a stack is named for in its environment, empty where it is not there."""
    if stack.source or not place.python(name).exists():
        return ""
    code = f"import importlib.metadata as m; print(m.version({stack.newest[0]!r}))"
    done = subprocess.run(
        [str(place.python(name)), "-c", code], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def run(name: str, place: Place, source: Path | None = None) -> Result:
    """Install and check one stack.

    Raises:
        RuntimeError: It cannot be installed, or the adapter fails with it.
    """
    stack = STACKS[name]
    fresh = not (place.keep and place.python(name).exists())
    lacking = environment(name, stack, place)
    # From a folder without our packages: what is tested is what was installed. Where torl-gym is
    # not, the check still needs `benchmarks`, and nothing else of this tree.
    path = place.folder / "checks"
    path.mkdir(exist_ok=True)
    if not (path / "benchmarks").exists():
        (path / "benchmarks").symlink_to(ROOT / "benchmarks")
    command = [str(place.python(name)), str(HERE / f"run_{name}.py")]
    command += [str(source)] if source else []
    result = read(_ran(command, cwd=place.folder, path=path))
    if lacking:
        # One that is on no registry, or that another package of the environment wants otherwise.
        unmet = f"unmet: {lacking}"
        result = replace(result, not_run="; ".join(filter(None, (result.not_run, unmet))))
    return replace(result, stack=stack.title, fresh=fresh)


def attempt(name: str, place: Place, source: Path | None) -> tuple[Result, str]:
    """The row of a stack, also where it fails or cannot be had; the reason if it failed."""
    title = STACKS[name].title
    if STACKS[name].source and source is None:
        why = f"on no registry: give its checkout, --source {name}=PATH"
        return Result(stack=title, version="", ran="nothing", not_run=why, fresh=True), ""
    try:
        return run(name, place, source), ""
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        version = installed_version(name, STACKS[name], place)
        last = str(error).strip().splitlines()[-1][:300]
        return Result(stack=title, version=version, ran=f"FAILED: {last}"), str(error)


def commit() -> str:
    """The tree's, `""` where it is no checkout."""
    git = ["git", "-C", str(ROOT)]
    head = [*git, "rev-parse", "--short=7", "HEAD"]
    # What a run writes is no change of what it runs.
    changed = [*git, "status", "--porcelain", "--", ".", ":!docs", ":!runs/records"]
    if not (found := subprocess.run(head, capture_output=True, text=True, check=False).stdout):
        return ""
    edited = subprocess.run(changed, capture_output=True, text=True, check=False).stdout
    return found.strip() + ("+" if edited else "")


def main() -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(STACKS)}; default: all"
    )
    parser.add_argument("--environments", type=Path, default=Path("out/stacks"))
    parser.add_argument("--keep", action="store_true", help="use environments that exist")
    parser.add_argument("--record", type=Path, default=RECORD)
    for option, what in (
        ("--source", "checkout of a stack that is on no registry"),
        ("--python", "interpreter for a stack that asks for another"),
    ):
        parser.add_argument(
            option,
            action="append",
            default=[],
            metavar="NAME=PATH",
            help=f"{what}; may be given again",
        )
    given = parser.parse_args()
    sources, pythons = (
        {name: path for name, _, path in (one.partition("=") for one in pairs)}
        for pairs in (given.source, given.python)
    )
    for name in (*given.names, *sources, *pythons):
        if name not in STACKS:
            parser.error(f"{name!r} is no stack: choose from {', '.join(STACKS)}")
    folder = given.environments.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    at, failed = commit(), False
    for name in given.names or STACKS:
        place = Place(folder, given.keep, pythons.get(name, sys.executable))
        source = Path(sources[name]) if name in sources else None
        row, why = attempt(name, place, source)
        if why:
            failed = True
            print(f"{name} {row.version} FAILED: {why}".replace("  ", " "), file=sys.stderr)
        else:
            print(f"{name} {row.version}: {row.ran}", flush=True)
        # At once: a later one may be interrupted.
        write([replace(row, begun=begun, commit=at)], given.record)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
