"""`torl sandbox`: what isolation this machine gives, run a file, serve over HTTP, measure."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from torl.serving import prepare_to_serve, serve
from torl_env.http_options import ServeOptions
from torl_env.sandbox import Execution, Limits, LocalSandbox, Status
from torl_env.sandbox.local.check import checks, examine, verdict


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Print which layers of isolation hold here and what that means; exit 1 if one is missing."""

    json: bool = False
    """Print the server's report as JSON."""
    off: tuple[str, ...] = ()
    """Layers to leave out, to see what would remain."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Run a Python file in the sandbox; the exit code is the program's."""

    file: Annotated[str, tyro.conf.Positional]
    """A path, or `-` for standard input."""
    json: bool = False
    """Print the whole execution as JSON instead of its output."""
    limits: Annotated[Limits, tyro.conf.arg(name="")] = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeCommand(ServeOptions):
    """Offer the sandbox over HTTP: Sandbox Fusion's form (POST /run_code) and live sessions."""

    concurrency: int = 64
    """Programs at once."""
    strict: bool = False
    """Do not start where a layer of isolation is missing."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Measure this machine: calls per second and latency of the sandbox and of baselines."""

    seconds: float = 2.0
    """For each figure and round."""
    rounds: int = 1
    """Everything is measured so often, in turn, and the median counts."""
    only: tuple[str, ...] = ()
    """Baselines to measure, such as `Sandbox Fusion`; all by default."""
    json: bool = False
    url: str | None = None
    """Also measure a Sandbox Fusion server at this URL."""
    gem: str | None = None
    """Also measure GEM's tool: an interpreter that has gem-llm installed."""
    sandlock: str | None = None
    """Also measure sandlock: an interpreter that has it installed."""


SandboxOptions = (
    Annotated[CheckOptions, tyro.conf.subcommand("check")]
    | Annotated[RunOptions, tyro.conf.subcommand("run")]
    | Annotated[ServeCommand, tyro.conf.subcommand("serve")]
    | Annotated[BenchOptions, tyro.conf.subcommand("bench")]
)
"""For tyro: one subcommand each."""


def main(options: CheckOptions | RunOptions | ServeCommand | BenchOptions) -> int:
    """Do what was asked; returns the exit code."""
    return _COMMANDS[type(options)](options)


def check(options: CheckOptions) -> int:
    """Print the layers that hold; 1 where one is missing."""
    import warnings

    with warnings.catch_warnings():
        # The warning names this very command.
        warnings.simplefilter("ignore", RuntimeWarning)
        with LocalSandbox(off=options.off) as sandbox:
            report = examine(sandbox)
    found = checks(report)
    if options.json:
        print(report.to_json())
    else:
        for one in found:
            mark = "holds  " if one.holds else "MISSING"
            print(f"{mark} {one.layer:13} {one.meaning} ({one.detail})")
        print(verdict(found))
    return 0 if all(one.holds for one in found) else 1


def run(options: RunOptions) -> int:
    """Run one file and pass on its output and exit code."""
    code = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
    with LocalSandbox(options.limits) as sandbox:
        result = sandbox.run(code)
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        show(result)
    return exit_code(result)


def show(result: Execution) -> None:
    """Print what a program printed, where it printed it."""
    sys.stdout.write(result.stdout)
    sys.stdout.flush()
    sys.stderr.write(result.stderr)
    if result.status not in (Status.OK, Status.ERROR, Status.SYNTAX_ERROR):
        print(f"torl: {result.status}: {result.error}", file=sys.stderr)


def exit_code(result: Execution) -> int:
    """As a shell would give it."""
    if result.status is Status.TIMEOUT:
        return 124
    return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code


def serve_forever(options: ServeCommand) -> int:
    """Serve until interrupted."""
    prepare_to_serve()
    from torl_env.sandbox.backends.fusion_server import SandboxServer

    with LocalSandbox(
        options.limits,
        concurrency=options.concurrency,
        strict=options.strict,
        sessions=options.sessions,
    ) as sandbox:
        server = SandboxServer(sandbox, options)
        place = f"{server.url}{options.path_prefix}"
        serve(
            server,
            f"serving on {place} (POST /run_code, POST /sessions, GET /v1/ping)",
            prepare=sandbox.warm,
        )
    return 0


def bench(options: BenchOptions) -> int:
    """Run the benchmark and print its table."""
    from benchmarks.performance.baselines import OURS, baselines
    from benchmarks.performance.sandbox import Figure, measure_all, table
    from benchmarks.performance.sessions import measure_sessions

    def progress(figure: Figure) -> None:
        print(
            f"{figure.baseline}, {figure.workload}, {figure.concurrency} at once: "
            f"{figure.per_second:.1f}/s",
            file=sys.stderr,
            flush=True,
        )

    chosen = baselines(options.url, options.gem, options.sandlock)
    if unknown := set(options.only) - set(chosen):
        raise ValueError(f"--only: unknown {sorted(unknown)}: expected some of {list(chosen)}")
    if options.only:
        chosen = {name: chosen[name] for name in chosen if name in {OURS, *options.only}}
    figures = measure_all(options.seconds, chosen, rounds=options.rounds, seen=progress)
    sessions = measure_sessions()
    if options.json:
        print(json.dumps({"calls": [asdict(figure) for figure in figures], "sessions": sessions}))
    else:
        print(table(figures))
        for name, value in sessions.items():
            print(f"{name:56} {value:8.2f}")
    return 0


_COMMANDS: Mapping[type, Callable[[Any], int]] = {
    CheckOptions: check,
    RunOptions: run,
    ServeCommand: serve_forever,
    BenchOptions: bench,
}
