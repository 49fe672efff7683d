"""One evaluation: problems, what answers them, records; for `torl eval` and `torl train`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from agents.core.policies.openai_client import ServerError
from agents.core.run.provenance import commit, versions
from agents.core.types import Trajectory
from benchmarks.heldout import Header, Summary, fingerprint, summary_path
from benchmarks.heldout.code_suites import GRADER, Task, grading, load_tasks
from benchmarks.heldout.evaluate import IN_FLIGHT, Collect, start
from benchmarks.heldout.evaluate import evaluate as collect_answers
from benchmarks.heldout.records import OWN_ENVIRONMENT, grader_name, weights_hash
from benchmarks.heldout.suites import CODE, SUITES, code_file, names, open_suite
from benchmarks.report.leaderboard import leaderboard
from benchmarks.report.tables import Table, details, results
from torl.console import CommandError, in_notebook, print_table, progress, say
from torl.environment import made, stored
from torl.evaluation.models import answering, is_address, the_only_model
from torl.evaluation.options import EvalOptions, defaults_for, sampling_of
from torl.wiring import Collecting, heldout_seeds, text_env_of
from torl_env.problem_sampling import open_problems
from torl_env.problems.types import Problem
from torl_env.sandbox import open_sandbox


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found."""

    summaries: Mapping[str, Summary]
    """By name of the records."""
    records: Sequence[Path]
    """Files with every answer; the summary of each lies beside it."""

    def table(self) -> Table:
        """Show accuracy and behaviour of each set of problems, with intervals; and return it."""
        found = results(self.summaries)
        if not in_notebook():
            print_table(found)
        return found

    def show(self) -> None:
        """Print all tables, and where the records are."""
        print_table(results(self.summaries))
        summaries = list(self.summaries.values())
        if len(summaries) > 1:
            board = leaderboard(summaries)
            print_table(board.table)
        for summary in summaries:
            for table in details(summary):
                print_table(replace(table, title=f"{summary.header.problems}: {table.title}"))
            if summary.unscorable:
                say(
                    f"{summary.header.problems}: {summary.unscorable} of {summary.answers} answers "
                    f"were lost to an infrastructure error or an undecided grade; they count "
                    f"neither as right nor as wrong"
                )
        for out in self.records:
            print(f"records {out}\nsummary {summary_path(out)}")


@dataclass(frozen=True, slots=True)
class _Part:
    """One set of problems to evaluate on."""

    name: str
    problems: Sequence[Problem]
    out: Path
    of: int
    """Problems of the whole set."""
    tasks: Sequence[Task] = ()
    """For a code suite: what programs are tested with."""


def evaluate(model: Any, problems: Any = None, **options: Any) -> Evaluation:
    """Evaluate a model: the same as `torl eval`.

    Args:
        model: What `torl.train` returned, a folder of a run or of weights, a hub id, `smollm2`, or
            a server's address.
        problems: A file, a hub set, `procedural:...`, a list or source of problems, or a suite of
            `torl eval --suite` by its name; by default those that the run of the model held out.
        **options: Fields of `EvalOptions` and of `torl_env.EnvConfig`.

    Raises:
        CommandError: No such option, or options contradict each other.

    Example:
        ```python
        torl.evaluate("http://host:8000/v1", "math500", tool_budget=0).table()
        ```
    """
    given = dict(options)
    if isinstance(problems, str) and set(problems.split(",")) <= {*SUITES, *CODE}:
        given["suite"] = problems
    elif problems is not None:
        given = {"split": None, **given, "problems": problems}
    return run(options_for(model, given))


def options_for(model: Any, given: Mapping[str, Any]) -> EvalOptions:
    """The options of a Python call: what is given, and else the settings of the model's run."""
    name = str(getattr(model, "path", model))
    if hasattr(model, "eval_defaults"):
        # The run itself holds the very objects of its environment.
        start: EvalOptions = model.eval_defaults()
    else:
        env = given.get("env")
        objects = dict(env) if isinstance(env, Mapping) else {}
        start = defaults_for(name, text_env=env if isinstance(env, gym.Env) else None, **objects)
    return made(EvalOptions, {**given, "model": name}, start)


def run(options: EvalOptions) -> Evaluation:
    """Evaluate on everything that the options name.

    Raises:
        CommandError: Options contradict each other.
    """
    sampling = sampling_of(options)
    parts = _suites(options) if options.suite else [single(options)]
    collect = answering(options, sampling)
    summaries = {}
    for part in parts:
        if part.tasks:
            with open_sandbox(options.env.sandbox) as sandbox:
                tested = grading(collect, part.tasks, sandbox)
                found = measure(
                    *(options, part.problems, part.out, part.name, tested),
                    of=part.of,
                    grader=GRADER,
                    watched=collect,
                )
        else:
            found = measure(options, part.problems, part.out, part.name, collect, of=part.of)
        summaries[part.out.stem] = found
    return Evaluation(summaries, [part.out for part in parts])


def measure(
    options: EvalOptions,
    problems: Sequence[Problem],
    out: Path,
    name: str,
    collect: Collect | None = None,
    *,
    of: int | None = None,
    grader: str | None = None,
    watched: Collect | None = None,
) -> Summary:
    """Evaluate on these problems into the records at `out`.

    Args:
        options: What to evaluate and how; their problems do not matter.
        problems: The problems.
        out: Records; those that are there already are not made again.
        name: Of the problems, for the record.
        collect: Writes the answers; by default the model that the options name, loaded here.
        of: Problems of the whole set that these are the first of.
        grader: What gives the verdicts; by default that of the environment.
        watched: What tells of single answers, where that is not `collect` itself.

    Raises:
        CommandError: A server gave up, or gave no text in any answer.
    """
    header = _header(options, problems, name, len(problems) if of is None else of)
    if grader:
        header = replace(header, grader=grader)
    done = start(out, header)
    if done:
        say(f"{out} holds {len(done)} answers already; going on from there")
    if collect is None:
        collect = answering(options, sampling_of(options))
    with progress(f"evaluating {name}", len(problems) * options.k, len(done), "answer") as advance:
        reported = move_bar_of(watched or collect, set(done), advance)
        try:
            found = collect_answers(
                *(collect, problems, header, out, None if reported else advance),
                in_flight=max(IN_FLIGHT, options.rows),
            )
        except ServerError as error:
            raise CommandError(
                f"{error} What was answered is in {out}; the same command goes on from there"
            ) from error
    served = bool(options.server) or is_address(options.model)
    _speak_of_silence(found, out, served)
    return found


def _speak_of_silence(found: Summary, out: Path, served: bool) -> None:
    """A server that gives no text must not pass for a model that knows nothing.

    Weights that are loaded here may well end every answer at once.
    """
    if served and found.empty == found.answers:
        raise CommandError(
            f"{found.empty} of {found.answers} answers were empty, so that nothing was measured: "
            f"look at what the server gives (a reasoning model needs a larger --max-tokens; see "
            f"--extra-body and --prompt); delete the records in {out} to ask again"
        )
    if found.empty:
        say(f"warning: {found.empty} of {found.answers} answers were empty; they count as wrong")


def slug(name: str) -> str:
    """A name as part of a file name.

    >>> slug("runs/demo/checkpoint-16"), slug("procedural:easy")
    ('runs-demo-checkpoint-16', 'procedural-easy')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "unnamed"


def move_bar_of(
    collect: Collect, done: set[tuple[str, int]], advance: Callable[[int], None]
) -> bool:
    """Move the bar when an episode ends, not when its whole batch does; False if none is reported.

    Args:
        collect: May have an `on_end` to be set.
        done: Problems and samples that are on record already.
        advance: Moves the bar.
    """
    if not isinstance(collect, Collecting) or not collect.tells:
        return False

    def on_end(trajectory: Trajectory) -> None:
        key = (trajectory.problem_id, trajectory.sample)
        if key not in done:
            done.add(key)
            advance(1)

    collect.on_end = on_end
    return True


SEEDS = 128
"""Held-out seeds of an environment of the user's own, where no count is given."""


def single(options: EvalOptions) -> _Part:
    """The problems that are named without a suite: of a generated source the held-out ones."""
    own = text_env_of(options.text_env)
    problems, split = options.env.problems, options.env.split
    if own is not None:
        problems, split = heldout_seeds(own, options.count or SEEDS), None
    if isinstance(problems, str) and problems.startswith("procedural") and split is None:
        split = "heldout"
    source = open_problems(problems, split)
    name = problems if isinstance(problems, str) else source.name
    out = (
        options.out
        or Path("out/eval") / f"{slug(options.agent or options.model)}--{slug(name)}.jsonl"
    )
    if out.suffix != ".jsonl":
        raise CommandError(f"--out: expected a file name that ends in .jsonl, got {out}")
    chosen = list(source.head(_limit(options.count, len(source), name)))
    return _Part(name, chosen, out, len(source))


def _suites(options: EvalOptions) -> list[_Part]:
    folder = options.out or Path("out/eval") / slug(options.agent or options.model)
    if folder.suffix == ".jsonl":
        raise CommandError(f"--out: expected a folder for suites, got {folder}")
    parts = []
    for name in names(options.suite or ""):
        if name in CODE:
            parts.append(_code(options, name, folder))
            continue
        opened = open_suite(name, options.data)
        for warning in opened.warnings:
            say(f"warning: {warning}")
        size = len(opened.problems)
        problems = opened.problems[: _limit(options.count, size, name)]
        parts.append(_Part(name, problems, folder / f"{name}.jsonl", size))
    return parts


def _code(options: EvalOptions, name: str, folder: Path) -> _Part:
    place = code_file(name, options.data)
    tasks = load_tasks(place)
    size = len(tasks)
    tasks = tasks[: _limit(options.count, size, name)]
    problems = [task.problem for task in tasks]
    return _Part(place.stem, problems, folder / f"{place.stem}.jsonl", size, tasks)


def _limit(count: int | None, size: int, name: str) -> int:
    if count is None:
        return size
    if not 1 <= count <= size:
        raise CommandError(f"--count: expected 1 to {size} for {name}, got {count}")
    return count


def _grader(options: EvalOptions, env: Mapping[str, Any]) -> str:
    own = text_env_of(options.text_env)
    if own is not None:
        return OWN_ENVIRONMENT + own.problems.name
    return grader_name() if options.env.grader is None else str(env["grader"])


def _served(options: EvalOptions) -> bool:
    """Whether the model is whatever an address serves."""
    return is_address(options.model) and not (options.server or options.agent)


def _header(options: EvalOptions, problems: Sequence[Problem], name: str, of: int) -> Header:
    sampling, env = sampling_of(options), stored(options.env)
    # The problems stand in fields of their own, by their content.
    for field in ("problems", "split"):
        del env[field]
    return Header(
        model=options.agent or options.model,
        problems=name,
        fingerprint=fingerprint(problems),
        count=len(problems),
        k=options.k,
        seed=options.seed,
        grader=_grader(options, env),
        of=of,
        settings={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "tool_budget": options.env.tool_budget,
            "prompt": options.prompt,
            "rows": options.rows,
            "weights": weights_hash(Path(options.model).expanduser()),
            **({"weights_of": options.model} if options.agent else {}),
            **({"server": options.server} if options.server else {}),
            # An address is no model: another one may be served there tomorrow.
            **({"served": the_only_model(options.model)} if _served(options) else {}),
            **({"policy": options.policy} if options.policy != "transformers" else {}),
            **({"tokenizer": options.tokenizer} if options.tokenizer else {}),
            **({"extra_body": options.extra_body} if options.extra_body else {}),
        },
        environment=env,
        versions=versions(),
        commit=commit(),
    )
