"""`torl`: one command with a subcommand for each thing a person does."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, get_args

from rewards.suggestion import did_you_mean


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
    "doctor": Command(
        "torl.commands.doctor", "DoctorOptions", "what will work on this machine, and how fast"
    ),
    "completion": Command(
        "torl.commands.completion", "CompletionOptions", "completion for bash, zsh or fish"
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return the exit code, see `torl.console.ExitCode`."""
    words = sys.argv[1:] if arguments is None else arguments
    if words in (["--version"], ["-V"]):
        print(f"torl {version()}")
        return 0
    if not words or words[0] in {"-h", "--help"}:
        print(_usage())
        return 0 if words else 2
    name, *rest = words
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        print(f"torl: unknown command {name!r}.{hint}\n{_usage()}", file=sys.stderr)
        return 2
    _check_agents()
    from torl.console import guarded

    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    return guarded(lambda words: module.main(parse(name, words)), rest)


def version() -> str:
    """Of the installed distribution; the one place where it stands is pyproject.toml."""
    from importlib.metadata import version as installed

    return installed("torl-gym")


def kinds_of(options: Any) -> list[type]:
    """The dataclasses of a command: one, or one for each of its words."""
    # A command with words of its own has a union of annotated dataclasses.
    kinds = [get_args(part)[0] if get_args(part) else part for part in get_args(options)]
    return kinds or [options]


def parse(name: str, words: Sequence[str]) -> Any:
    """The options of a command; a field that takes an object is given by name here.

    Raises:
        SystemExit: With code 2 and a message on stderr, where the words are none of its options.
    """
    import tyro

    from torl.environment import lengthened
    from torl.naming import object_fields

    module = importlib.import_module(COMMANDS[name].module)
    options = getattr(module, COMMANDS[name].options)
    own = {item.name for one in kinds_of(options) for item in fields(one)}
    if "env" in own:
        words = lengthened(words, own)
    known = module.defaults(words) if hasattr(module, "defaults") else None
    start = {} if known is None else {"default": known}
    with object_fields:
        # `--over-budget notice` as in Python, and not by the name of the member, NOTICE.
        # And `--overlap` or `--no-overlap` where the default, `None`, leaves it to the plan.
        how = (tyro.conf.EnumChoicesFromValues, tyro.conf.DisallowNone)
        return tyro.cli(options, prog=f"torl {name}", args=words, config=how, **start)


def _usage() -> str:
    lines = [
        "usage: torl COMMAND [OPTIONS]; `torl COMMAND --help` shows the options, "
        "`torl --version` the version",
        "",
    ]
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
