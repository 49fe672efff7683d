"""`python -m benchmarks.stacks [NAME ...]`: install stacks as they are today, run them, write down.

Each gets a virtual environment of its own with its newest release and the wheels of this tree; a
release that breaks an adapter fails here with its reason. `--keep` uses environments that exist.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report.tables import Table
from benchmarks.stacks.result import Result, read

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORD = ROOT / "runs" / "records" / "stacks.json"
PAGE = ROOT / "docs" / "stacks.md"


@dataclass(frozen=True)
class Stack:
    """What to install and which check to run."""

    name: str
    packages: tuple[str, ...]
    first: tuple[str, ...] = ()
    """Installed before, so that what the packages depend on is there in the version wanted."""
    agents: bool = True
    """Install torl-gym too; without it nothing of ours is called `agents`."""

    source: bool = False
    """It is on no registry: its checkout is named with `--source NAME=PATH`."""

    @property
    def check(self) -> Path:
        """The program that runs inside."""
        return HERE / f"run_{self.name}.py"


TORCH = ("torch==2.13.0",)
"""Before a stack, or it would pull a build for another accelerator."""
TESTS = "pytest", "hypothesis", "scipy", "requests"
NEMO_GYM = (
    *("openai<=2.7.2", "anthropic<=0.109.2", "mcp<2", "fastapi", "uvicorn", "uvloop", "aiohttp"),
    *("hydra-core", "omegaconf", "itsdangerous", "python-multipart", "orjson", "devtools", "tqdm"),
    *("yappi", "pydot", "ray[default]", "datasets", "wandb", "mlflow-skinny", "rich", "requests"),
)
"""What of NeMo-Gym's own list its servers import; its pyproject asks for a newer Python."""
STACKS = {
    one.name: one
    for one in (
        Stack(
            "verl", ("verl", "cachetools", "uvicorn", "fastapi", "transformers>=5.5.3,<5.11"), TORCH
        ),
        Stack("skyrl", ("skyrl-gym",), TORCH, agents=False),
        Stack("trl", ("trl", "datasets"), TORCH),
        Stack("verifiers", ("verifiers", "openai-agents"), agents=False),
        Stack("openenv", ("openenv", "uvicorn", "starlette", "websockets"), agents=False),
        Stack("trl_releases", ("trl", "datasets", *TESTS), TORCH),
        Stack("tinker", ("tinker", "tinker-cookbook"), TORCH),
        Stack("slime", ("transformers", "httpx", "numpy"), TORCH, source=True),
        Stack("nemo_gym", NEMO_GYM, agents=False, source=True),
        Stack(
            "prime_rl",
            ("verifiers", "prime-pydantic-config", "tomli-w"),
            agents=False,
            source=True,
        ),
        Stack("lm_eval", ("lm-eval", "transformers"), TORCH, agents=False),
        Stack("inspect", ("inspect-ai", "openai"), agents=False),
    )
}


def environment(stack: Stack, folder: Path, *, keep: bool) -> Path:
    """The interpreter of the stack's environment, made where it is not kept."""
    python = folder / stack.name / "bin" / "python"
    if not (keep and python.exists()):
        _ran([sys.executable, "-m", "venv", "--clear", str(folder / stack.name)])
        for packages in (stack.first, stack.packages):
            if packages:
                _pip(python, *packages)
    wheels = folder / "wheels"
    _ran([sys.executable, str(ROOT / ".ci" / "wheels.py"), str(wheels)])
    names = ("torl_env", "torl_gym") if stack.agents else ("torl_env",)
    ours = [str(path) for name in names for path in wheels.glob(f"{name}-*.whl")]
    if not keep:
        _pip(python, *ours)
    _pip(python, "--no-deps", "--force-reinstall", *ours)
    return python


def _pip(python: Path, *arguments: str) -> None:
    # This interpreter's pip, since an environment may have none.
    _ran([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *arguments])


def _ran(
    command: list[str], *, cwd: Path = ROOT, path: Path | None = None, limit: float = 1800.0
) -> str:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        # An environment may have no pip, and a check may need one.
        env=variables
        | {"STACKS_PIP": sys.executable}
        | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise RuntimeError(f"{' '.join(command[:6])} ... ended with {done.returncode}:\n{tail}")
    return done.stdout


def installed_version(stack: Stack, folder: Path) -> str:
    """Version of what a stack is named for in its environment, empty where it is not there."""
    python = folder / stack.name / "bin" / "python"
    if stack.source or not python.exists():
        return ""
    package = stack.packages[0].partition("=")[0].partition("<")[0].partition(">")[0]
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    told = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def run(stack: Stack, folder: Path, *, keep: bool, source: Path | None = None) -> Result:
    """Install and check one stack.

    Raises:
        RuntimeError: It cannot be installed, or the adapter fails with it.
    """
    python = environment(stack, folder, keep=keep)
    # From a folder without our packages: what is tested is what was installed. Where torl-gym is
    # not, the check still needs `benchmarks`, and nothing else of this tree.
    path = folder / "checks"
    path.mkdir(exist_ok=True)
    if not (path / "benchmarks").exists():
        (path / "benchmarks").symlink_to(ROOT / "benchmarks")
    place = [str(source)] if source else []
    return read(_ran([str(python), str(stack.check), *place], cwd=folder, path=path, limit=3600.0))


def table(results: list[Result]) -> Table:
    """What ran, one row a stack."""
    header = (
        "stack",
        "version",
        "what ran",
        "episodes",
        "sampled ids",
        "steps",
        "ids and masks as ours",
        "what did not, and why",
    )
    rows = tuple(
        (
            one.stack,
            one.version,
            one.ran,
            str(one.episodes),
            "text" if one.tokens is None else str(one.tokens),
            str(one.steps),
            {None: "no ids", True: "yes", False: "NO"}[one.ids_equal],
            one.not_run,
        )
        for one in sorted(results, key=lambda one: one.stack.lower())
    )
    return Table("", header, rows)


def write(results: list[Result], record: Path) -> None:
    """Add to the record what ran now; lay the table beside it, and ours on the page."""
    known = json.loads(record.read_text()) if record.exists() else []
    kept = {row["stack"]: Result(**row) for row in known} | {one.stack: one for one in results}
    record.write_text(json.dumps([asdict(one) for one in kept.values()], indent=1) + "\n")
    shown = table(list(kept.values())).markdown()
    record.with_suffix(".md").write_text(shown)
    if record == RECORD:
        before, _, rest = PAGE.read_text().partition("| stack | version |")
        _, _, after = rest.partition("\n\n")
        PAGE.write_text(f"{before}{shown}\n{after}")


def main() -> int:
    """Run what is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(STACKS)}; default: all"
    )
    parser.add_argument("--environments", type=Path, default=Path("out/stacks"))
    parser.add_argument("--keep", action="store_true", help="use environments that exist")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="checkout of a stack that is on no registry; may be given again",
    )
    given = parser.parse_args()
    sources = {name: Path(path) for name, _, path in (one.partition("=") for one in given.source)}
    folder = given.environments.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in given.names or [one for one in STACKS if not STACKS[one].source or one in sources]:
        if name not in STACKS:
            parser.error(f"{name!r} is no stack: choose from {', '.join(STACKS)}")
        source = sources.get(name)
        if STACKS[name].source and source is None:
            parser.error(f"{name} is on no registry: give its checkout, --source {name}=PATH")
        try:
            result = run(STACKS[name], folder, keep=given.keep, source=source)
            print(f"{name} {result.version}: {result.ran}", flush=True)
            # At once: a later one may be interrupted.
            write([result], given.record)
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            failed.append(name)
            found = installed_version(STACKS[name], folder)
            print(f"{name} {found} FAILED: {error}".replace("  ", " "), file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
