"""`torl`: one command with a subcommand for each thing a person does."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, get_args


class Command(NamedTuple):
    """Where a subcommand lives; its module is imported only when it is used."""

    module: str
    options: str
    """Name of its options: a dataclass, or a union of them for a command with words of its own."""
    summary: str


COMMANDS: Mapping[str, Command] = {
    "train": Command(
        "torl.commands.train", "TrainOptions", "train a model with GRPO, plot and evaluate it"
    ),
    "eval": Command(
        "torl.commands.eval", "EvalOptions", "held-out accuracy of any model on any problems"
    ),
    "play": Command("torl.commands.play", "PlayOptions", "be the policy yourself, in the terminal"),
    "report": Command("torl.commands.report", "ReportOptions", "one HTML page of one or more runs"),
    "watch": Command("torl.commands.watch", "WatchOptions", "follow a running training"),
    "compare": Command(
        "torl.commands.compare", "CompareOptions", "which differences of two runs are real"
    ),
    "analyse": Command(
        "torl.commands.analyse", "AnalyseOptions", "behaviour behind the numbers, with cases"
    ),
    "regrade": Command(
        "torl.commands.regrade", "RegradeOptions", "grade records again, without a model"
    ),
    "leaderboard": Command(
        "torl.commands.leaderboard", "LeaderboardOptions", "a table over evaluations"
    ),
    "data": Command(
        "torl.commands.data", "DataOptions", "problems: list, show, check, build a training set"
    ),
    "traces": Command(
        "torl.commands.traces",
        "TracesOptions",
        "what to imitate: rejection sampling, TIRGen, from rollouts",
    ),
    "grade": Command(
        "torl.commands.grade", "GradeOptions", "explain a verdict, or measure a grader"
    ),
    "serve": Command(
        "torl.commands.serve", "ServeOptions", "episodes for other programs, OpenEnv's form"
    ),
    "sandbox": Command(
        "torl.commands.sandbox",
        "SandboxOptions",
        "what isolates programs here; check, run, serve, bench",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in {"-h", "--help"}:
        print(_usage())
        return 0 if words else 2
    name, *rest = words
    if name not in COMMANDS:
        print(f"torl: unknown command {name!r}\n{_usage()}", file=sys.stderr)
        return 2
    # A thread that spins at a barrier takes the core that the slower one needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _check_agents()
    from torl.console import guarded

    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    return guarded(lambda words: module.main(_parsed(module, command.options, name, words)), rest)


def _parsed(module: Any, kind: str, name: str, words: Sequence[str]) -> Any:
    """The options of a command; a field that takes an object is given by name here."""
    import tyro

    from torl.environment import lengthened
    from torl.naming import object_fields

    options = getattr(module, kind)
    # A command with words of its own has a union of annotated dataclasses.
    kinds = [get_args(part)[0] if get_args(part) else part for part in get_args(options)]
    own = {item.name for one in kinds or [options] for item in fields(one)}
    if "env" in own:
        words = lengthened(words, own)
    start = {"default": module.defaults(words)} if hasattr(module, "defaults") else {}
    with object_fields:
        return tyro.cli(options, prog=f"torl {name}", args=words, **start)


def _usage() -> str:
    lines = ["usage: torl COMMAND [OPTIONS]; `torl COMMAND --help` shows the options", ""]
    lines += [f"  {name:11} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(lines)


def _check_agents() -> None:
    """Stop early when another distribution's top-level `agents` shadows ours."""
    if importlib.util.find_spec("agents") and importlib.util.find_spec("agents.core") is None:
        import agents

        place = getattr(agents, "__file__", None) or list(agents.__path__)
        sys.exit(
            f"torl: the package `agents` found at {place} is not torl-gym's. "
            "`openai-agents` installs the same name: use separate virtual environments"
        )


if __name__ == "__main__":
    sys.exit(main())
