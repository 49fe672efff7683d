"""`torl eval`: held-out accuracy of any model on any problems, with intervals and records."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agents.core.models.loading import DEFAULT_MODEL
from agents.core.policies.openai_client import ServerError
from agents.core.run.provenance import commit, versions
from agents.core.types import Sampling, Trajectory
from benchmarks.heldout import Header, Summary, fingerprint, summary_path
from benchmarks.heldout.code_suites import GRADER, Task, grading, load_tasks
from benchmarks.heldout.evaluate import Collect, evaluate, start
from benchmarks.heldout.records import grader_name, weights_hash
from benchmarks.heldout.suites import CODE, code_file, names, open_suite
from benchmarks.report.leaderboard import leaderboard
from benchmarks.report.tables import details, results
from torl.console import CommandError, print_table, progress, say
from torl.evaluation.models import answering
from torl.wiring import Collecting
from torl_env.problems import load
from torl_env.problems.types import Problem
from torl_env.sandbox import open_sandbox


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """Evaluate a model; the same command takes an interrupted evaluation up again."""

    model: str = DEFAULT_MODEL
    """Folder of a checkpoint, hub id, `smollm2` for the embedded default, or the address of a
    server with OpenAI's interface (http://host:8000/v1) that serves one model."""
    server: str = ""
    """Address of a server that serves several: --model is then the name it knows one by. The key
    is that of $OPENAI_API_KEY."""
    tokenizer: str | None = None
    """Folder or hub id whose tokenizer counts the tokens of a server's text; without one, four
    characters count as a token."""
    agent: str | None = None
    """`module:Class` of your own in place of a model: called with these options, it is or makes
    `collect(problems, k, seed)`, which yields trajectories, or a policy to play with."""
    problems: str = "procedural:easy"
    """A file (.jsonl, .json, .parquet, .csv), a hub set (math500, aime24, ...) or procedural:..."""
    suite: str | None = None
    """Benchmarks in place of --problems: aime24,aime25,amc23,math500,olympiadbench,minerva,gsm8k,
    procedural,humanevalplus,mbppplus, or all. Their counts are checked."""
    data: Path | None = None
    """Folder with NAME.jsonl files of the suites; default: $TORL_DATA, else the hub is asked."""
    split: str | None = None
    """Split of the source; for procedural problems `heldout`, never the one trained on."""
    count: int | None = None
    """Only the first so many problems."""
    k: int = 1
    """Answers to each problem (avg@k, pass@k, maj@k)."""
    temperature: float | None = None
    """Default: 0 (greedy, as ToRL evaluates) for k = 1, else 0.6 (THOR)."""
    top_p: float = 1.0
    max_tokens: int = 512
    """Of one response, tool output included; ToRL: 3072."""
    tool_budget: int = 1
    """C of ToRL: programs that may run in one response; 0 evaluates without the tool."""
    prompt: str = "chat"
    """`chat` (the tokenizer's template) or `torl` (ToRL's template for base models)."""
    seed: int = 0
    device: str | None = None
    """`cpu`, `cuda`, ...; default: an accelerator where there is one."""
    policy: Literal["transformers", "vllm"] = "transformers"
    """What samples from the weights: transformers, or vLLM with an engine of its own."""
    rows: int = 32
    """Responses generated at once."""
    out: Path | None = None
    """Records (.jsonl), or a folder for suites; summaries lie beside them. Default: in out/eval."""


@dataclass(frozen=True, slots=True)
class Job:
    """One set of problems to evaluate on."""

    name: str
    problems: Sequence[Problem]
    out: Path
    tasks: Sequence[Task] = ()
    """For a code suite: what programs are tested with."""


def main(options: EvalOptions) -> int:
    """Evaluate, print the tables and say where the records are.

    Raises:
        CommandError: Options contradict each other.
    """
    sampling = _sampling(options)
    jobs = _suites(options) if options.suite else [_single(options)]
    collect = answering(options, sampling)
    summaries = {}
    for job in jobs:
        named = replace(options, problems=job.name)
        if job.tasks:
            with open_sandbox() as sandbox:
                tested = grading(collect, job.tasks, sandbox)
                found = measure(named, job.problems, job.out, tested, GRADER, watched=collect)
        else:
            found = measure(named, job.problems, job.out, collect)
        summaries[job.out.stem] = found
    print_table(results(summaries))
    if len(summaries) > 1:
        print_table(leaderboard(list(summaries.values())).table)
    for summary in summaries.values():
        for table in details(summary):
            print_table(replace(table, title=f"{summary.header.problems}: {table.title}"))
        if summary.unscorable:
            say(
                f"{summary.header.problems}: {summary.unscorable} of {summary.answers} answers "
                f"were lost to a fault of the machine or an undecided grade; they count neither "
                f"as right nor as wrong"
            )
    for job in jobs:
        print(f"records {job.out}\nsummary {summary_path(job.out)}")
    return 0


def slug(name: str) -> str:
    """A name as part of a file name.

    >>> slug("runs/demo/checkpoint-16"), slug("procedural:easy")
    ('runs-demo-checkpoint-16', 'procedural-easy')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "unnamed"


def measure(
    options: EvalOptions,
    problems: Sequence[Problem],
    out: Path,
    collect: Collect | None = None,
    grader: str | None = None,
    watched: Collect | None = None,
) -> Summary:
    """Evaluate on these problems into the records at `out`.

    Args:
        options: What to evaluate and how; `problems`, `split` and `count` are only put on record.
        problems: The problems.
        out: Records; those that are there already are not made again.
        collect: Writes the answers; by default the model that the options name, loaded here.
        grader: What gives the verdicts; by default the grader of `rewards`.
        watched: What tells of single answers, where that is not `collect` itself.
    """
    sampling = _sampling(options)
    header = _header(options, sampling, problems)
    if grader:
        header = replace(header, grader=grader)
    if collect is None:
        collect = answering(options, sampling)
    done = start(out, header)
    if done:
        say(f"{out} holds {len(done)} answers already; going on from there")
    with progress(
        f"evaluating {options.problems}", len(problems) * options.k, len(done), "answer"
    ) as advance:
        told = _tell(watched or collect, set(done), advance)
        try:
            return evaluate(collect, problems, header, out, None if told else advance)
        except ServerError as error:
            raise CommandError(
                f"{error} What was answered is in {out}; the same command goes on from there"
            ) from error


def _tell(collect: Collect, done: set[tuple[str, int]], advance: Callable[[int], None]) -> bool:
    """Move the bar when an episode ends, not when its whole batch does; False if none is told of.

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


def _sampling(options: EvalOptions) -> Sampling:
    for name in ("k", "rows"):
        if getattr(options, name) < 1:
            raise CommandError(f"--{name}: expected at least 1, got {getattr(options, name)}")
    if options.tool_budget < 0:
        raise CommandError(f"--tool-budget: expected at least 0, got {options.tool_budget}")
    temperature = options.temperature
    if temperature is None:
        temperature = 0.0 if options.k == 1 else 0.6
    if temperature == 0 and options.k > 1:
        raise CommandError(
            f"--k {options.k} at temperature 0 would write the same answer {options.k} times; "
            f"set --temperature above 0 or --k 1"
        )
    return Sampling(temperature=temperature, top_p=options.top_p, max_tokens=options.max_tokens)


def _single(options: EvalOptions) -> Job:
    problems = _problems(options)
    who = slug(options.agent or options.model)
    out = options.out or Path("out/eval") / f"{who}--{slug(options.problems)}.jsonl"
    if out.suffix != ".jsonl":
        raise CommandError(f"--out: expected a file name that ends in .jsonl, got {out}")
    return Job(options.problems, problems, out)


def _suites(options: EvalOptions) -> list[Job]:
    folder = options.out or Path("out/eval") / slug(options.agent or options.model)
    if folder.suffix == ".jsonl":
        raise CommandError(f"--out: expected a folder for suites, got {folder}")
    jobs = []
    for name in names(options.suite or ""):
        if name in CODE:
            jobs.append(_code(options, name, folder))
            continue
        opened = open_suite(name, options.data)
        for warning in opened.warnings:
            say(f"warning: {warning}")
        problems = opened.problems[: _limit(options.count, len(opened.problems), name)]
        jobs.append(Job(name, problems, folder / f"{name}.jsonl"))
    return jobs


def _code(options: EvalOptions, name: str, folder: Path) -> Job:
    place = code_file(name, options.data)
    tasks = load_tasks(place)
    tasks = tasks[: _limit(options.count, len(tasks), name)]
    problems = [task.problem for task in tasks]
    return Job(place.stem, problems, folder / f"{place.stem}.jsonl", tasks)


def _problems(options: EvalOptions) -> list[Problem]:
    split = options.split
    if split is None and options.problems.startswith("procedural"):
        split = "heldout"
    source = load(options.problems, split)
    return list(source.head(_limit(options.count, len(source), options.problems)))


def _limit(count: int | None, size: int, name: str) -> int:
    if count is None:
        return size
    if not 1 <= count <= size:
        raise CommandError(f"--count: expected 1 to {size} for {name}, got {count}")
    return count


def _header(options: EvalOptions, sampling: Sampling, problems: Sequence[Problem]) -> Header:
    return Header(
        model=options.agent or options.model,
        problems=options.problems,
        fingerprint=fingerprint(problems),
        count=len(problems),
        k=options.k,
        seed=options.seed,
        grader=grader_name(),
        settings={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "tool_budget": options.tool_budget,
            "prompt": options.prompt,
            "rows": options.rows,
            "weights": weights_hash(Path(options.model)),
            **({"weights_of": options.model} if options.agent else {}),
            **({"server": options.server} if options.server else {}),
            **({"policy": options.policy} if options.policy != "transformers" else {}),
            **({"tokenizer": options.tokenizer} if options.tokenizer else {}),
        },
        versions=versions(),
        commit=commit(),
    )
